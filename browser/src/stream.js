import { isBefore, isMissed } from "./cursor.js";
import { joinGroup } from "./group.js";
import { backoff, comesBack } from "./retry.js";
import { RefusedToken, expiresSoon, refuseApiKey, userOf } from "./token.js";
import { tryTo } from "./storage.js";
import { poll, sse, websocket } from "./transports.js";

const TRANSPORTS = { websocket, sse, poll };
const TRANSPORT_KEY = "notifier.transport";

const BROKEN = 1006;
const RESTARTS = 1012;
const SILENT = 4000;
const TOKEN_REFUSED = 4001;
const OVERLOADED = 4004;

// All times are in milliseconds.
const STABLE_AFTER = 30_000; // else who is accepted and dropped at once would try every second
const ANSWER_WITHIN = 30_000; // getToken, the welcome and the next poll, each
const OPEN_WITHIN = 10_000; // the first sign of life: some proxies leave a WebSocket without an answer
const STREAM_WITHIN = 5_000; // the same of Server-Sent Events: some proxies keep them
const LOOK_EVERY = 5_000; // at the clock: timers stand still while the machine sleeps
const TRY_AGAIN_AFTER = 4 * 3_600_000; // what did not get through
const NUDGE_AFTER = 1_000;
const ACKNOWLEDGE_WITHIN = 2_000; // so that many have one answer, and not all clients give theirs at once
const LONGEST_TIMER = 2 ** 31 - 1; // a longer one would fire at once

/**
 * The connection: one for all tabs where they can share it, held by the tab that leads. It comes back by itself.
 *
 * It tells each tab, by `hear(message)`, the service's frames, and
 * - `stream`: how it is, `inbox`, what frames told of it, and `topics`, those of which `at` speaks, too; the tab then says
 *   what it wants, as there may be another leader
 * - `joined` ({topic, since, tabs}): all that the topic had since then has been told, to the tabs that asked for it
 * each with `at`: the cursor up to which everything has been told. It hears by `tell(message)` from each tab:
 * - `tab` ({tab, topics, since, behind, once}): what this tab wants; the stream goes back to `since` if it is `behind`
 * - `publish`: a frame for the service
 * - `who`: wants to know how it is, and that it waits no longer
 *
 * `options` are those of Notifier, with the `id` of this tab and the `url` with http.
 */
export function createStream(options, hear) {
  const {
    id,
    url,
    name,
    getToken,
    shared = true,
    transports = Object.keys(TRANSPORTS),
    random = Math.random,
  } = options;
  refuseApiKey(getToken);
  const tabs = new Map(); // id -> {topics: Map of name -> since, once}
  const topics = new Map(); // name -> {topic, since}; `since` only while its past is owed
  const asked = new Map(); // ref -> the membership that it asked for
  const timers = new Map(); // what is to be done -> its timer
  let state; // {state, connected, reason, retryInMs}
  let token;
  let user; // whom all tokens are for, where they can be read
  let group;
  let leads = false;
  let cursor;
  let link; // the connection or the attempt: {line, id, top, transport, told, newest, inbox, alive, comeBackIn}
  let next = 0; // the transport to try
  let works = 0; // the one that got through, as far as we know
  let refused = 0; // WebSockets in a row
  let failures = 0;
  let lastRef = 0;
  let silence; // how long there may be
  let aliveAt;
  let page; // ends our listening to the page

  const takers = {
    welcome,
    notification: deliver,
    removed: deliver,
    lost,
    ok: answered,
    error: answered,
    ping,
    expiring: renewToken,
    drain,
    close: ({ code, reason }) => closed(code, reason),
  };

  // The tabs

  function lead() {
    leads = true;
    cursor = undefined; // the tabs will say
    tabs.clear();
    topics.clear();
    recallTransport();
    open();
  }

  function tell(message) {
    if (leads) answer(message);
    else group?.say(message);
  }

  function answer(message) {
    if (message.type === "tab") meet(message);
    else if (message.type === "who") {
      hurry();
      tellState();
    } else if (link?.id) link.line.send(message);
  }

  function overhear(message) {
    const { type, snapshot } = message;
    if (type === "stream") {
      group.heard = true;
      const { state, reason, retryInMs } = snapshot;
      if (state === "closed") return stop(state, reason);
      // The leader may be in a hidden tab, where timers run late.
      if (retryInMs && !leads) after(retryInMs + NUDGE_AFTER, hurry);
    } else if (!("at" in message)) return leads && answer(message); // no leader said it
    // Neither the last words of the leader before us, nor those of one who may not be the next for this tab.
    if (!leads && group.heard) hear(message);
  }

  function meet({ tab, topics: wanted, since, behind, once }) {
    const known = tabs.get(tab)?.topics;
    tabs.set(tab, { topics: new Map(wanted), once });
    if (!known) group.whenGone(tab, () => (tabs.delete(tab), leaveUnwanted()));
    const late = known || !link?.told ? undefined : since; // else what came meanwhile would come first
    if (since && (behind || !link?.told)) goBack(since);
    for (const [topic, owed] of wanted) {
      if (!topics.has(topic) || (owed && owed !== known?.get(topic))) join(topic, owed ?? late);
    }
    leaveUnwanted();
  }

  function goBack(since) {
    const isEarlier = !cursor || isBefore(since, cursor);
    if (isEarlier) cursor = since;
    if (link?.told && (isEarlier || isMissed(link.newest, since))) reopen();
  }

  function join(topic, since) {
    const owed = topics.get(topic)?.since;
    const membership = { topic, since: isBefore(owed, since) ? owed : (since ?? owed) };
    topics.set(topic, membership);
    subscribe(membership);
  }

  function leaveUnwanted() {
    for (const topic of topics.keys()) {
      if ([...tabs.values()].some((tab) => tab.topics.has(topic))) continue;
      topics.delete(topic);
      ask({ type: "unsubscribe", topic });
    }
  }

  function say(message) {
    message.at = cursor;
    if (leads) group?.say(message);
    hear(message);
  }

  function tellState() {
    const { id: connection, transport, top, told, newest, inbox } = link ?? {};
    const snapshot = { ...state, transport };
    say({ type: "stream", snapshot, connection, top, topics: told, newest, inbox });
  }

  function enter(name, reason, retryInMs) {
    state = { state: name, connected: name === "connected", reason, retryInMs };
    tellState();
  }

  // Opening

  /** Opens a connection in place of the present one; quietly where the present one was good. */
  async function open(quietly) {
    drop();
    const attempt = (link = {});
    allow(ANSWER_WITHIN);
    if (!quietly) enter("connecting");
    try {
      await freshToken();
    } catch (error) {
      if (attempt === link) noToken(error);
      return;
    }
    if (attempt !== link) return;
    if (leads) return dial(attempt);
    drop();
    const scope = shared && (name ?? user) && JSON.stringify(["notifier.v1", url, name, user]);
    group = joinGroup(scope, id, lead, overhear);
  }

  function reopen() {
    open(true);
  }

  /** Resolves to a token that is good for a while, or to another one; to none where a cookie says who it is. */
  async function freshToken(anew) {
    if (getToken && (anew || !token || expiresSoon(token))) await fetchToken();
    return token;
  }

  async function fetchToken() {
    const fresh = await getToken();
    refuseApiKey(fresh);
    if (!fresh) throw new Error("no token");
    const owner = userOf(fresh);
    if (user && user !== owner) throw new RefusedToken("another user's token");
    [token, user] = [fresh, owner];
  }

  function noToken(error) {
    leave();
    if (error instanceof RefusedToken) stop("closed", error.message);
    else retry("unauthorized", `${error?.message ?? error}`);
    hear({ type: "error", problem: error });
  }

  function dial(attempt) {
    const transport = (attempt.transport = transports[next]);
    const current = (handle) => (...details) => attempt === link && handle(...details);
    allow(transport === "sse" ? STREAM_WITHIN : OPEN_WITHIN);
    attempt.line = TRANSPORTS[transport]({
      ...options,
      token: () => token,
      place: () => cursor,
      greet: current(greet),
      alive: current(alive),
      take: current(take),
      over: current(closed),
    });
  }

  /** A WebSocket's greeting has one `since` for all: what is owed more is asked for later, or it would come last. */
  function greet() {
    link.told = new Map([...topics].filter(([, { since }]) => !since || !overWebSocket()));
    return { since: cursor, topics: link.told };
  }

  // Receiving

  function take(frame) {
    alive();
    if (frame.counts) link.inbox = { ...link.inbox, ...frame };
    (takers[frame.type] ?? say)(frame);
  }

  function welcome(frame) {
    if (!link.id) {
      link.id = frame.connection;
      link.top = frame.cursor;
      // With a cursor of our own the replay is yet to come, and may be cut.
      cursor ??= frame.cursor;
      allow(2 * 1000 * frame.heartbeat);
      after(STABLE_AFTER, () => (failures = 0));
      keepTransport();
      updateTopics(link.told);
      enter("connected");
    } else say(frame);
    lost({ type: "lost", channels: frame.lost });
  }

  function lost(frame) {
    if (frame.channels.length) link.newest = "Infinity-0"; // whoever comes back now is to be told, too
    say(frame);
  }

  /** Tells the service what the greeting left out, and what was joined and left while it was read. */
  function updateTopics(told) {
    for (const [topic, membership] of topics) {
      if (told.get(topic) !== membership) subscribe(membership);
    }
    for (const topic of told.keys()) {
      if (!topics.has(topic)) ask({ type: "unsubscribe", topic });
    }
  }

  // A topic's own replay may run ahead of the other channels' one, so it does not count until all of it has come.
  function deliver(frame) {
    const owed = topics.get(topicOf(frame.channel))?.since;
    if (!owed) reached(frame);
    if (!isBefore(frame.cursor, link.newest)) link.newest = frame.cursor;
    if (!timers.has(acknowledge)) after(random() * ACKNOWLEDGE_WITHIN, acknowledge);
    // What is to be done once per browser is done in this tab rather than in another.
    const chosen = [...tabs].find(([, tab]) => tab.once && hears(tab.topics, frame.channel, link.inbox))?.[0];
    say({ ...frame, owed, chosen });
  }

  function ping(frame) {
    if (!link.id) return; // the answer to a poll begins with one; tabs do not know yet whether they are behind
    reached(frame);
    if (frame.cursor && !overWebSocket()) link.told.forEach(settle);
    say(frame);
  }

  function drain(frame) {
    link.comeBackIn = frame.retry_after_ms;
    if (!overWebSocket()) closed(RESTARTS);
  }

  function reached(frame) {
    if (isBefore(cursor, frame.cursor)) cursor = frame.cursor;
  }

  function answered(frame) {
    const { ref, problem } = frame;
    const membership = asked.get(ref);
    if (!membership) say(frame); // what a tab has asked for
    else {
      if (problem) say({ type: "error", problem: { ...problem, topic: membership.topic } });
      settle(membership); // of a topic that is refused nothing is owed
    }
  }

  function settle(membership) {
    const { topic, since } = membership;
    membership.since = undefined;
    // Who has joined anew in the meantime has not had all of it.
    if (!since || topics.get(topic) !== membership) return;
    // What a tab has asked for since then is on its way to us.
    const asking = [...tabs].filter(([, tab]) => tab.topics.get(topic)).map(([id]) => id);
    say({ type: "joined", topic, since, tabs: asking });
  }

  async function renewToken() {
    const [attempt, before] = [link, token];
    try {
      await fetchToken();
      if (attempt === link && token !== before) ask({ type: "auth", token });
    } catch (error) {
      hear({ type: "error", problem: error }); // the old one is good for a while yet, and 4001 will ask again
    }
  }

  // Sending

  function acknowledge() {
    timers.delete(acknowledge);
    link.line.send({ type: "ack", cursor });
  }

  function subscribe(membership) {
    const { topic, since } = membership;
    const ref = String(++lastRef);
    asked.set(ref, membership);
    ask({ type: "subscribe", ref, topic, since });
  }

  /** Over HTTP, to ask for something else is to ask anew. */
  function ask(frame) {
    if (!link?.id) return; // the greeting, or what follows the welcome, will say it
    link.told.delete(frame.topic); // the cursor no longer speaks of it
    if (overWebSocket()) link.line.send(frame);
    else after(0, reopen);
  }

  function overWebSocket() {
    return link.transport === "websocket";
  }

  // Losing the connection, and coming back

  function alive() {
    aliveAt = Date.now();
    if (link.alive) return;
    link.alive = true;
    allow(ANSWER_WITHIN);
  }

  function allow(ms) {
    silence = ms;
    aliveAt = Date.now();
    watch();
  }

  function watch() {
    const passed = Math.abs(Date.now() - aliveAt); // somebody may have set the clock back
    if (passed >= silence) closed(SILENT, link.id ? "heartbeat lost" : "no answer");
    else after(Math.min(silence - passed, LOOK_EVERY), watch);
  }

  function closed(code, text = "") {
    const lost = link;
    if (!lost.transport) leave(); // there was no token yet, and another tab may have better luck
    const reason = `${code} ${text}`.trim();
    drop();
    if (code === TOKEN_REFUSED) token = undefined;
    if (code === OVERLOADED) failures += 3;
    if (!comesBack(code)) {
      group?.say({ type: "stream", snapshot: { state: "closed", reason } });
      stop("closed", reason);
    } else if (fallsBack(lost, code)) open();
    else if (code === TOKEN_REFUSED && !lost.id) retry("unauthorized", reason);
    else retry(globalThis.navigator?.onLine === false ? "offline" : "reconnecting", reason, lost.comeBackIn);
  }

  /**
   * Chooses the next transport, and says whether to try it at once. WebSockets may be blocked where two failed in a
   * row, Server-Sent Events where no byte came. If the service is down the next one fails as well, and nothing is kept.
   */
  function fallsBack({ id, transport, alive }, code) {
    if (id || !transport) return;
    const isRefused = () => (code === BROKEN || code === SILENT) && ++refused % 2 === 0;
    const isBlocked = transport === "websocket" ? isRefused() : code === SILENT && !alive;
    const fallsBack = isBlocked && transports[next + 1];
    next = fallsBack ? next + 1 : works;
    return fallsBack;
  }

  function keepTransport() {
    refused = 0;
    if (next === works) return;
    works = next;
    tryTo(() => localStorage.setItem(TRANSPORT_KEY, `${transports[next]} ${Date.now() + TRY_AGAIN_AFTER}`));
  }

  function recallTransport() {
    const [transport, until] = tryTo(() => localStorage.getItem(TRANSPORT_KEY).split(" ")) ?? [];
    next = works = Math.max(0, until > Date.now() && transports.indexOf(transport));
  }

  // Offline we try all the same: browsers have been wrong about it.
  function retry(name, reason, retryInMs = backoff(failures++, random)) {
    after(retryInMs, open);
    enter(name, reason, retryInMs);
  }

  /** Waits no longer, or lets the leader do so. */
  function hurry() {
    if (group && !leads) group.say({ type: "who" });
    else if (!link) open();
    else watch();
  }

  function stop(name, reason) {
    page?.abort();
    page = undefined;
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

  /** From here on nothing that the old connection or attempt does counts. */
  function drop() {
    timers.forEach(clearTimeout);
    timers.clear();
    const line = link?.line;
    link = undefined;
    line?.close();
  }

  function connect() {
    if (!page) watchPage();
    hurry();
  }

  function watchPage() {
    page = new AbortController();
    const visibilitychange = () => document.hidden || hurry(); // in a hidden tab timers run late
    // The connection is dead with its network, also if there soon is another one, and silence would tell us late.
    const offline = () => link?.id && closed(SILENT);
    // A page that stands still must not hold the connection that others share.
    const sleep = () => rest("reconnecting", "asleep");
    const options = { signal: page.signal, capture: true };
    const callbacks = { offline, online: hurry, pageshow: hurry, resume: hurry, visibilitychange, pagehide: sleep, freeze: sleep };
    for (const event in callbacks) globalThis.addEventListener?.(event, callbacks[event], options);
  }

  function after(ms, action) {
    clearTimeout(timers.get(action));
    timers.set(action, setTimeout(action, Math.min(ms, LONGEST_TIMER)));
  }

  return { connect, disconnect: () => stop("idle"), tell, token: freshToken };
}

/** Whether who joined these topics hears the channel. A member of a topic need not join it. */
export function hears(topics, channel, inbox) {
  const topic = topicOf(channel);
  return !topic || topics.has(topic) || inbox?.memberships?.includes(topic);
}

/** The topic whose channel it is. */
export function topicOf(channel) {
  return /^topic:(.*)/.exec(channel)?.[1];
}

/** Something that nothing else of this user has: 52 bits. Nobody would gain by guessing it. */
export function newId() {
  return `${Math.random()}`;
}
