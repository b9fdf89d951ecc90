import { topicOf } from "./interests.js";
import { poll, sse, websocket } from "./transports.js";

const TRANSPORTS = { websocket, sse, poll };

// Close codes.
const TOO_LONG = 1009;
const RESTARTS = 1012;

const MOST_TOPICS = 100; // of a greeting: the default of NOTIFIER_MAX_SUBSCRIPTIONS
const EXCEEDS = "too_many_subscriptions";
const LONGEST_QUERY = 6_000; // bytes of its topics: a request line has at most 8,190

// All times are in milliseconds.
const ANSWER_WITHIN = 30_000; // the welcome and the next poll, each
const OPEN_WITHIN = 10_000; // the first byte: some proxies never answer a WebSocket
const STREAM_WITHIN = 5_000; // the same for Server-Sent Events, which some proxies hold back
const ACKNOWLEDGE_WITHIN = 2_000; // one answer for many notifications, and not from all clients at once

/**
 * The leader's connection to the service, or the attempt to open one. It reads frames, moves the position, and passes
 * everything on by `broadcast(message)`.
 *
 * It calls `welcomed()` once, before anything else is broadcast; `reopen()` where another connection is needed;
 * `closed(code, reason)` when it ends; `failed(error)` when no new token could be fetched. After close() it calls
 * nothing. `limits` is kept from one connection to the next: `tooLong` bytes are more than the service takes.
 */
export function createLink({ options, tokens, interests, skipped, position, limits, timers, watchdog, random, ...stream }) {
  const { broadcast, welcomed, reopen, closed, failed } = stream;
  const requests = new Map(); // ref -> the subscription that it requested
  const published = new Map(); // ref of a publication that was not answered -> its length in bytes
  // The state that the stream reads: {id, transport, isAlive, top, covered, inbox, comeBackIn}. `isAlive` is true after
  // the first byte. `top` is the cursor at which the connection began, `covered` are the topics that the position's
  // cursor covers, known from the greeting on, and `inbox` has the merged fields of frames with `counts`.
  const link = {};
  let isOver;
  let handle; // of the transport: {send, close}
  let greeted; // topic -> the subscription that it was opened with
  let rejected; // subscriptions for which the greeting had no room
  let lastRef = 0;

  const handlers = {
    welcome,
    notification: deliver,
    removed: deliver,
    lost,
    ok: answered,
    error: answered,
    ping,
    expiring: renewToken,
    drain,
    close: ({ code, reason }) => over(code, reason),
  };

  // Opening and closing

  function dial(name) {
    const unlessOver = (handle) => (...details) => isOver || handle(...details);
    link.transport = name;
    watchdog.allow(name === "sse" ? STREAM_WITHIN : OPEN_WITHIN);
    handle = TRANSPORTS[name]({
      ...options,
      token: () => tokens.current,
      reached: () => position.cursor,
      greet: unlessOver(greet),
      alive: unlessOver(alive),
      take: unlessOver(take),
      over: unlessOver(over),
    });
  }

  /**
   * A hello has one `since` for all topics, so a past is requested later: entries before the cursor would come last.
   * So are topics beyond the limit: in a greeting they would end the stream of all tabs. Over HTTP they are rejected.
   */
  function greet() {
    const all = interests.all();
    const asked = all.filter(overWebSocket() ? ({ since, exceeds }) => !since && !exceeds : fits()).slice(0, MOST_TOPICS);
    greeted = new Map(asked.map((subscription) => [subscription.topic, subscription]));
    rejected = overWebSocket() ? [] : all.filter(({ topic }) => !greeted.has(topic));
    link.covered = new Set([...asked, ...rejected].map(({ topic }) => topic));
    return { since: position.cursor, topics: greeted };
  }

  function fits() {
    let room = LONGEST_QUERY;
    return ({ topic, since }) => (room -= encodeURIComponent(`topic=${topic} ${since}`).length) > 0;
  }

  /** A message that is too long ends the connection. It was the longest publication, which fails alone. */
  function over(code, reason) {
    const [longest] = code === TOO_LONG ? [...published].sort(([, first], [, second]) => second - first) : [];
    if (!longest) return closed(code, reason);
    limits.tooLong = longest[1];
    rejectPublication(longest[0]);
    reopen();
  }

  function close() {
    isOver = true;
    handle?.close();
  }

  function overWebSocket() {
    return link.transport === "websocket";
  }

  // Receiving

  function alive() {
    watchdog.reset();
    if (link.isAlive) return;
    link.isAlive = true;
    watchdog.allow(ANSWER_WITHIN);
  }

  /** Takes a frame, or the JSON of one. One that cannot be read is skipped, and reported to the pages. */
  function take(received) {
    alive();
    try {
      const frame = typeof received === "string" ? JSON.parse(received) : received;
      if (frame.counts) link.inbox = { ...link.inbox, ...frame };
      (handlers[frame.type] ?? broadcast)(frame);
      if (frame.memberships) repeat(frame);
    } catch (error) {
      broadcast({ type: "error", problem: { code: "unreadable_frame", title: "A frame was skipped.", detail: `${error}` } });
    }
  }

  function welcome(frame) {
    if (!link.id) {
      link.id = frame.connection;
      link.top = frame.cursor;
      position.startAt(frame.cursor);
      watchdog.allow(2 * 1000 * frame.heartbeat);
      updateSubscriptions();
      welcomed();
    } else broadcast(frame);
    lost({ type: "lost", channels: frame.lost });
  }

  /** Requests what the greeting left out, and what tabs joined and left in the meantime. */
  function updateSubscriptions() {
    for (const subscription of interests.all()) {
      if (rejected.includes(subscription)) reject(subscription, { code: EXCEEDS, title: "The connection has too many topics." });
      else if (greeted.get(subscription.topic) !== subscription) subscribe(subscription);
    }
    for (const topic of greeted.keys()) {
      if (!interests.wants(topic)) unsubscribe(topic);
    }
  }

  function lost(frame) {
    if (frame.channels.length) position.lose();
    broadcast(frame);
  }

  /** The past of a topic may be ahead of other channels, so it moves the cursor only when all of it was delivered. */
  function deliver(frame) {
    const past = interests.pastOf(topicOf(frame.channel));
    if (!past) position.reach(frame.cursor);
    position.deliver(frame.cursor);
    if (!timers.has(acknowledge)) timers.after(random() * ACKNOWLEDGE_WITHIN, acknowledge);
    const message = { ...frame, past, chosen: interests.chosen(frame.channel, link.inbox) };
    const topic = topicOf(frame.channel);
    if (topic && !link.inbox?.memberships?.includes(topic)) skipped.add(message);
    broadcast(message);
  }

  /**
   * Entries of a new membership may arrive before the frame that names it. Tabs have skipped them, or drop them now. After
   * a welcome, the replay has the later ones.
   */
  function repeat({ type, memberships }) {
    for (const message of skipped.take(memberships)) {
      const chosen = message.chosen ?? interests.chosen(message.channel, link.inbox);
      broadcast({ ...message, chosen, again: type === "welcome" ? "before" : "all" });
    }
  }

  function ping(frame) {
    // The answer to a poll begins with a ping. Before the welcome, tabs do not know whether they are behind its cursor.
    if (!link.id) return;
    position.reach(frame.cursor);
    if (frame.cursor && !overWebSocket()) greeted.forEach(settle);
    broadcast(frame);
  }

  function drain(frame) {
    link.comeBackIn = frame.retry_after_ms;
    if (!overWebSocket()) closed(RESTARTS);
  }

  function answered(frame) {
    const { ref, problem } = frame;
    const subscription = requests.get(ref);
    published.delete(ref);
    if (!subscription) return broadcast(frame); // it is for a tab's publication
    requests.delete(ref);
    if (problem) reject(subscription, problem);
    else settle(subscription);
  }

  /** A topic that is rejected has no past. */
  function reject(subscription, problem) {
    subscription.exceeds = problem.code === EXCEEDS;
    broadcast({ type: "error", problem: { ...problem, topic: subscription.topic } });
    settle(subscription);
  }

  function settle(subscription) {
    const joined = interests.settle(subscription);
    if (joined) broadcast({ type: "joined", ...joined });
  }

  async function renewToken() {
    const before = tokens.current;
    try {
      await tokens.renew();
      if (!isOver && tokens.current !== before) ask({ type: "auth", token: tokens.current });
    } catch (error) {
      failed(error); // the old token is still valid, and close code 4001 asks again
    }
  }

  // Sending

  /** Sends a frame of a tab. Before the welcome it is dropped: the tab repeats it afterwards. */
  function send(frame) {
    if (!link.id) return;
    const { length } = new TextEncoder().encode(JSON.stringify(frame));
    if (length >= limits.tooLong) return rejectPublication(frame.ref);
    published.set(frame.ref, length);
    handle.send(frame);
  }

  function rejectPublication(ref) {
    broadcast({ type: "error", ref, problem: { code: "body_too_large", title: "The notification is too long." } });
  }

  function acknowledge() {
    handle.send({ type: "ack", ...position.acknowledge() });
  }

  function subscribe(subscription) {
    const { topic, since } = subscription;
    ask({ type: "subscribe", ref: `${++lastRef}`, topic, since }, subscription);
  }

  function unsubscribe(topic) {
    ask({ type: "unsubscribe", topic });
  }

  /** Over HTTP every request for something else is a new connection. */
  function ask(frame, subscription) {
    if (!link.id) return; // the greeting, or updateSubscriptions(), includes it
    link.covered.delete(frame.topic);
    if (!overWebSocket()) return timers.after(0, reopen);
    if (subscription) requests.set(frame.ref, subscription);
    handle.send(frame);
  }

  return Object.assign(link, { dial, close, send, subscribe, unsubscribe });
}
