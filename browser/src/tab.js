import { compareCursors, isBefore, isCursor, isHistory, isMissed, remember } from "./cursor.js";
import { checkTopic, isWanted, topicOf } from "./interests.js";
import { safely, tryTo } from "./storage.js";
import { createStream } from "./stream.js";

const CURSOR_KEY = "notifier.cursor";
const EVENTS = ["notification", "removed", "lost", "replayed", "counts", "inbox", "state", "snapshot", "error"];
const REMEMBERED = 10_000; // ids: a resumed stream repeats two seconds, and the past of a topic
const PUBLISH_WITHIN = 30_000; // ms

/** The Notifier of one page: it takes from the stream what this page wants, once. `new` returns it, too. */
export function createTab({ url = "/v1/stream", topics: wanted = [], storage, ...options } = {}) {
  const id = newId();
  const address = new URL(url, globalThis.location?.href).href.replace(/^ws/, "http");
  const { post, ...controls } = createStream({ ...options, id, url: address }, receive);
  const listeners = Object.fromEntries(EVENTS.map((event) => [event, new Set()])); // of {callback, perBrowser}
  const topics = new Map(wanted.map((topic) => [checkTopic(topic)])); // name -> cursor, while its past has not been delivered
  const seen = new Set();
  const published = new Map(); // ref -> {frame, echo, timer, resolve, reject}
  let held = []; // notifications that may be this tab's own, which it does not want
  let early = []; // notifications of topics whose past has not been delivered
  let snapshot = {};
  let inbox; // what frames said of it, the last of each
  let connection;
  const stored = tryTo(() => storage?.getItem(CURSOR_KEY));
  let cursor = isCursor(stored) ? stored : undefined;
  let kept = cursor; // in the storage
  let isBehind; // the stream is ahead of this tab, and will go back
  let isAhead; // the stream repeats for other tabs what this tab has received
  let isChosen; // to run callbacks that run once per browser
  let replayed = 0;
  let lost = [];

  // Called by the page

  function on(event, callback, { perBrowser } = {}) {
    if (!listeners[event]) throw new TypeError(`no event ${event}`);
    const listener = { callback, perBrowser };
    const change = (how) => {
      listeners[event][how](listener);
      if (perBrowser) declare();
    };
    change("add");
    return () => change("delete");
  }

  function join(topic, { since } = {}) {
    if (since && !isCursor(since)) throw new TypeError(`no cursor: ${since}`);
    if (!since && topics.has(topic)) return;
    const past = topics.get(topic);
    topics.set(checkTopic(topic), isBefore(past, since) ? past : since);
    declare();
  }

  function leave(topic) {
    takeEarly(topic);
    if (topics.delete(topic)) declare();
  }

  function publish(topic, notification, { echo = true } = {}) {
    const ref = newId();
    const whole = { type: "publish", ref, idempotency_key: ref, topic, notification };
    return new Promise((resolve, reject) => {
      checkTopic(topic);
      // Here, and not in the tab that leads: the JSON is the same from every tab, and what has none fails alone.
      const frame = JSON.parse(JSON.stringify(whole));
      const problem = { code: "timeout", title: "no answer" };
      const timer = setTimeout(() => answered({ ref, problem }), PUBLISH_WITHIN);
      published.set(ref, { frame, echo, timer, resolve, reject });
      send(frame);
    });
  }

  // Called by the stream

  function receive(message) {
    const { type, id, channel, channels, at } = message;
    if (type === "stream") return update(message);
    if (message.counts) learn(message);
    if (isBehind) return; // it will be repeated
    if (channel && isForThisTab(message)) {
      if (type === "removed") remove({ id, channel });
      else if (topics.get(topicOf(channel))) early.push(message);
      else take(message);
    }
    if (channels) reportLost(channels.filter((channel) => isWanted(topics, channel, inbox)));
    if (type === "joined") joined(message);
    if (type === "ping" && message.cursor) reportReplayed();
    answered(message);
    if (isBefore(cursor, at)) moveTo(at);
  }

  function update(message) {
    const { at, top, newest, topics: covered } = message;
    const isNew = connection !== message.connection;
    isBehind = isBefore(cursor, at) || (isNew && isMissed(newest, cursor));
    // A tab without a cursor begins now, whatever the stream repeats for others.
    if (!cursor && top) moveTo(isBefore(top, at) ? at : top);
    // This tab's cursor no longer covers topics that the stream's does not cover.
    if (isNew && covered && !isBehind) {
      for (const [topic, since] of topics) {
        if (!covered.has(topic)) topics.set(topic, since ?? cursor);
      }
    }
    isAhead = isBefore(at, cursor);
    declare();
    connection = message.connection;
    const waiting = [...published.values()]; // before callbacks publish more, which is sent at once
    // While a connection is replaced, the state is "connected". A tab that comes then is not: it has no cursor yet.
    if (connection || !message.snapshot.connected) show(message.snapshot);
    if (!isNew) return;
    if (message.inbox) learn(message.inbox);
    for (const { frame } of waiting) send(frame);
  }

  function learn(frame) {
    inbox = { ...inbox, ...frame };
    emit("counts", frame.counts);
    emit("inbox", frame);
  }

  function show(current) {
    const previous = snapshot;
    if (JSON.stringify(current) === JSON.stringify(previous)) return;
    const { state, reason, retryInMs } = (snapshot = Object.freeze(current));
    if (state !== previous.state) emit("state", { current: state, previous: previous.state, reason, retryInMs });
    emit("snapshot");
  }

  /** Sends the stream everything that this tab wants. */
  function declare() {
    const once = [...listeners.notification].some(({ perBrowser }) => perBrowser);
    post({ type: "tab", tab: id, topics: [...topics], since: cursor, behind: isBehind, once });
  }

  function send(frame) {
    if (snapshot.connected) post(frame);
  }

  /** Whether this tab wants a notification, and it is not repeated for another tab only, or will be replayed. */
  function isForThisTab({ channel, cursor: place, replay, past, again }) {
    const isOld = isHistory(place, topics.get(topicOf(channel)) ?? cursor);
    const isDue = again ? again === "all" || isOld : !(isOld && replay && (past || isAhead));
    return isDue && isWanted(topics, channel, inbox);
  }

  function remove(removed) {
    early = early.filter(({ notification }) => notification.id !== removed.id);
    emit("removed", removed);
  }

  function take(message) {
    const mayBe = ({ echo, frame }) => !echo && frame.topic === topicOf(message.channel);
    if ([...published.values()].some(mayBe)) held.push(message);
    else if (remember(seen, message.notification.id, REMEMBERED)) deliver(message);
  }

  function deliver({ notification, channel, cursor, replay = false, chosen }) {
    if (replay) replayed++;
    isChosen = chosen === id;
    emit("notification", notification, { channel, cursor, replay });
  }

  /**
   * Delivers the past of a topic in order. Live notifications may have arrived before it, and what is replayed for other
   * tabs before it or within it.
   */
  function joined({ topic, since, tabs }) {
    const past = topics.get(topic);
    if (!past || !tabs.includes(id) || isBefore(past, since)) return;
    topics.set(topic, undefined);
    declare(); // otherwise a later request for the same past would look like this one
    const all = takeEarly(topic).sort((first, second) => compareCursors(first.cursor, second.cursor));
    for (const message of all) if (isWanted(topics, message.channel, inbox)) take(message);
    moveTo(cursor);
    reportReplayed();
  }

  function takeEarly(topic) {
    const isIts = ({ channel }) => topicOf(channel) === topic;
    const found = early.filter(isIts);
    early = early.filter((message) => !isIts(message));
    return found;
  }

  function reportLost(channels) {
    if (!channels.length) return;
    lost.push(...channels);
    emit("lost", { channels });
  }

  function reportReplayed() {
    if (replayed || lost.length) emit("replayed", { count: replayed, lost });
    replayed = 0;
    lost = [];
  }

  function answered({ ref, id, cursor, problem }) {
    if (!ref && problem) reportError(problem);
    if (!published.has(ref)) return; // the answer is another tab's
    const { echo, timer, resolve, reject } = published.get(ref);
    clearTimeout(timer);
    published.delete(ref);
    if (id && !echo) remember(seen, id, REMEMBERED);
    held.splice(0).forEach(take);
    if (problem) reject(Object.assign(new Error(problem.detail ?? problem.title), problem));
    else resolve({ id, cursor });
  }

  function reportError(problem) {
    if (!problem.topic || topics.has(problem.topic)) emit("error", problem);
  }

  function moveTo(place) {
    cursor = place;
    // A reloaded page begins at the stored cursor, so that must not pass a past that has not been delivered.
    if ([...topics.values()].some((past) => parseInt(past) >= parseInt(kept))) return;
    kept = place;
    tryTo(() => storage?.setItem(CURSOR_KEY, place));
  }

  /** Calls the listeners. One that throws does not keep other listeners, or later notifications, from being called. */
  function emit(event, ...details) {
    if (event === "error" && !listeners.error.size) console.error("Notifier:", ...details);
    for (const { callback, perBrowser } of [...listeners[event]]) {
      if (perBrowser && !isChosen) continue;
      safely(() => callback(...details));
    }
  }

  show({ state: "idle", connected: false });
  return {
    ...controls,
    url: address,
    on,
    join,
    leave,
    publish,
    subscribe: (callback) => on("snapshot", callback),
    getSnapshot: () => snapshot,
    get inbox() {
      return inbox;
    },
    get state() {
      return snapshot.state;
    },
    // Where this page resumes if it leaves topics, or is reloaded: it does not pass a past that has not been delivered.
    get cursor() {
      return kept;
    },
    get connection() {
      return connection;
    },
  };
}

/** Returns an id that nothing else of this user has: 52 random bits. There is nothing to gain by guessing it. */
function newId() {
  return `${Math.random()}`;
}
