import { joinGroup } from "./group.js";
import { createInterests } from "./interests.js";
import { createLink } from "./link.js";
import { watchPage } from "./page.js";
import { Position } from "./position.js";
import { backoff, comesBack } from "./retry.js";
import { createSkipped } from "./skipped.js";
import { safely } from "./storage.js";
import { createTimers, createWatchdog } from "./timers.js";
import { RefusedToken, createTokens } from "./token.js";
import { createTransportChoice } from "./transport-choice.js";

const GROUP = "notifier.v2"; // changes with the messages between tabs: tabs of different versions must not share

// Close codes.
const SILENT = 4000;
const TOKEN_REFUSED = 4001;
const OVERLOADED = [4004, 4005]; // the service is, or its user's limit is exceeded

// All times are in milliseconds.
const STABLE_AFTER = 30_000; // until then a connection that breaks counts as one more failure
const TOKEN_WITHIN = 30_000; // for getToken
const NUDGE_AFTER = 1_000; // for a leader that should have retried

/**
 * The stream of one tab. Tabs that can share a connection form a group, in which one tab leads: its stream connects,
 * reconnects, and passes everything on to all tabs.
 *
 * It calls `receive(message)` with the frames of the service, and with
 * - `stream` ({snapshot, connection, top, topics, newest, inbox}): the state. `topics` are those that `at` covers, `top`
 *   the cursor at which the connection began, `newest` the newest entry that it delivered, `inbox` the merged
 *   fields of frames with `counts`. The tab answers with its interests, as the leader may be a new one.
 * - `joined` ({topic, since, tabs}): the past of a topic has been delivered to the tabs that asked for it
 *
 * Each has `at`: the cursor up to which everything has been delivered. `past` of a notification is the cursor after which
 * its topic's past is still being delivered. `again`: it preceded the membership that a frame names, and was skipped. It
 * concerns "all" tabs, or those whose replay begins after it ("before").
 *
 * It takes from its tab by `post(message)`
 * - `tab` ({tab, topics, since, behind, once}): everything that the tab wants. If it is `behind`, the stream goes back to
 *   `since`
 * - `publish`: a frame for the service
 * - `who`: asks for the state, and for a retry without a pause
 *
 * `options` are those of Notifier, with the `id` of the tab and an http `url`.
 */
export function createStream(options, receive) {
  const { id, url, name, getToken, shared = true, transports, random = Math.random } = options;
  const tokens = createTokens(getToken);
  const interests = createInterests();
  const position = new Position();
  const choice = createTransportChoice(transports);
  const limits = {};
  const skipped = createSkipped();
  const timers = createTimers();
  const watchdog = createWatchdog(timers, () => closed(SILENT, link.id ? "heartbeat lost" : "no answer"));
  let state; // {state, connected, reason, retryInMs}
  let group;
  let leads = false;
  let link; // also while a token is fetched for it
  let failures = 0;
  let unwatch; // the page

  // Between tabs

  function lead() {
    leads = true;
    position.clear();
    interests.clear();
    choice.recall();
    open();
  }

  function post(message) {
    safely(() => (leads ? handle(message) : group?.post(message)));
  }

  function handle(message) {
    if (message.type === "tab") declare(message);
    else if (message.type === "who") {
      retryNow();
      announce();
    } else link?.send(message);
  }

  function receiveFromGroup(message) {
    const { type, snapshot } = message;
    if (type === "stream") {
      group.hasLeader = true;
      const { state, reason, retryInMs } = snapshot;
      if (state === "closed") return stop(state, reason);
      // The leader may be in a hidden tab, where timers run late.
      if (retryInMs && !leads) timers.after(retryInMs + NUDGE_AFTER, retryNow);
    } else if (!("at" in message)) return leads && handle(message); // only leaders send `at`
    // Before a state, a message may be the last one of an earlier leader, and not continue where this tab is.
    if (!leads && group.hasLeader) receive(message);
  }

  function declare(message) {
    const { tab, since, behind } = message;
    const isKnown = interests.knows(tab);
    const hasGreeted = link?.covered;
    // Without a cursor, entries published while the request is on its way would be missing.
    const late = isKnown || !hasGreeted ? undefined : since;
    if (since && (behind || !hasGreeted) && position.goBack(since) && hasGreeted) reopen();
    interests.declare(message, late).forEach((subscription) => link?.subscribe(subscription));
    if (!isKnown) group.whenGone(tab, () => (interests.forget(tab), unsubscribeUnwanted()));
    unsubscribeUnwanted();
  }

  function unsubscribeUnwanted() {
    for (const topic of interests.prune()) link?.unsubscribe(topic);
  }

  function broadcast(message) {
    message.at = position.cursor;
    if (leads) safely(() => group?.post(message));
    safely(() => receive(message));
  }

  function announce() {
    const { id: connection, transport, top, covered, inbox } = link ?? {};
    const snapshot = { ...state, transport };
    broadcast({ type: "stream", snapshot, connection, top, topics: covered, newest: position.newest, inbox });
  }

  function enter(name, reason, retryInMs) {
    state = { state: name, connected: name === "connected", reason, retryInMs };
    announce();
  }

  // Opening a connection

  /** Replaces the connection. `quietly`: the state stays "connected", because the old connection worked. */
  async function open(quietly) {
    drop();
    const stream = { broadcast, welcomed, reopen, closed, failed };
    const kept = { options, tokens, interests, skipped, position, limits, timers, watchdog, random };
    const attempt = (link = createLink({ ...kept, ...stream }));
    watchdog.allow(TOKEN_WITHIN);
    if (!quietly) enter("connecting");
    try {
      await tokens.fresh();
    } catch (error) {
      if (attempt === link) noToken(error);
      return;
    }
    if (attempt !== link) return;
    if (leads) return link.dial(choice.current());
    drop();
    const { user, issuer } = tokens;
    const scope = shared && (name ?? user) && JSON.stringify([GROUP, url, name, user, issuer]);
    group = joinGroup(scope, id, lead, receiveFromGroup);
  }

  function reopen() {
    open(true);
  }

  function noToken(error) {
    leave();
    if (error instanceof RefusedToken) stop("closed", error.message);
    else retry("unauthorized", `${error?.message ?? error}`);
    failed(error);
  }

  function failed(error) {
    receive({ type: "error", problem: error });
  }

  function welcomed() {
    timers.after(STABLE_AFTER, () => (failures = 0));
    choice.keep();
    if (choice.triesIn() < Infinity) timers.after(choice.triesIn(), tryFirst);
    enter("connected");
  }

  /** Tries the first transport again. Not reopen(), of which a link has a timer of its own. */
  function tryFirst() {
    reopen();
  }

  // Losing it, and reconnecting

  function closed(code, text = "") {
    const lost = link;
    if (!lost.transport) {
      tokens.abandon();
      leave(); // getToken did not answer; another tab's may
    }
    const reason = `${code} ${text}`.trim();
    drop();
    if (code === TOKEN_REFUSED) tokens.discard();
    if (OVERLOADED.includes(code)) failures += 3;
    // After a failed trial the state is still "connected", because the transport before it works.
    if (choice.fallsBack(lost, code)) open(state.connected);
    else if (!comesBack(code)) {
      group?.post({ type: "stream", snapshot: { state: "closed", reason } });
      stop("closed", reason);
    } else if (code === TOKEN_REFUSED && !lost.id) retry("unauthorized", reason);
    else retry(globalThis.navigator?.onLine === false ? "offline" : "reconnecting", reason, lost.comeBackIn);
  }

  /** Retries also when the browser says that it is offline: browsers have been wrong about it. */
  function retry(name, reason, retryInMs = backoff(failures++, random)) {
    timers.after(retryInMs, open);
    enter(name, reason, retryInMs);
  }

  /** Ends a pause, or asks the leader to do so. */
  function retryNow() {
    if (group && !leads) group.post({ type: "who" });
    else if (!link) open();
    else watchdog.look();
  }

  function stop(name, reason) {
    unwatch?.();
    unwatch = undefined;
    rest(name, reason);
  }

  function rest(name, reason) {
    leave();
    drop();
    enter(name, reason);
  }

  function leave() {
    group?.quit();
    group = undefined;
    leads = false;
  }

  function drop() {
    timers.stop();
    position.begin();
    const lost = link;
    link = undefined;
    lost?.close();
  }

  function connect() {
    unwatch ??= watchPage({
      wake: retryNow,
      sleep: () => rest("reconnecting", "asleep"), // a frozen page must not hold the connection of other tabs
      offline: () => link?.id && closed(SILENT), // the connection is dead, and silence would show that late
    });
    retryNow();
  }

  return { connect, disconnect: () => stop("idle"), post, token: tokens.fresh };
}
