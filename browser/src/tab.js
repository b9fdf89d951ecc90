import { isBefore, isHistory, isMissed, remember } from "./cursor.js";
import { tryTo } from "./storage.js";
import { createStream, hears, newId, topicOf } from "./stream.js";

const CURSOR_KEY = "notifier.cursor";
const EVENTS = ["notification", "removed", "lost", "replayed", "counts", "inbox", "state", "snapshot", "error"];
const REMEMBERED = 10_000; // ids: a resumed stream repeats two seconds, and of a topic all that is owed
const PUBLISH_WITHIN = 30_000; // ms

/** One tab's part: it takes from the stream what is for its page, once. Returns a Notifier, as `new` does with it. */
export function createTab({ url = "/v1/stream", topics: wanted = [], storage, ...options } = {}) {
  const id = newId();
  const address = new URL(url, globalThis.location?.href).href.replace(/^ws/, "http");
  const { tell, ...controls } = createStream({ ...options, id, url: address }, hear);
  const listeners = Object.fromEntries(EVENTS.map((event) => [event, new Set()])); // of {callback, perBrowser}
  const topics = new Map(wanted.map((topic) => [topic])); // name -> since, where its past is owed
  const seen = new Set();
  const published = new Map(); // ref -> {frame, echo, timer, resolve, reject}
  let held = []; // notifications that may be our own, where we want no echo
  let snapshot = {};
  let inbox; // what frames told of it, the last of each
  let connection;
  let cursor = tryTo(() => storage?.getItem(CURSOR_KEY)) ?? undefined;
  let kept = cursor; // in the storage
  let isBehind; // the stream is ahead of us, and will go back
  let isAhead; // the stream repeats for other tabs what we have had
  let isChosen; // to do what is to be done once per browser
  let replayed = 0;
  let lost = [];

  // What the page asks for

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
    if (!since && topics.has(topic)) return;
    topics.set(topic, since);
    declare();
  }

  function leave(topic) {
    if (topics.delete(topic)) declare();
  }

  function publish(topic, notification, { echo = true } = {}) {
    const ref = newId();
    const frame = { type: "publish", ref, idempotency_key: ref, topic, notification };
    return new Promise((resolve, reject) => {
      const problem = { code: "timeout", title: "no answer" };
      const timer = setTimeout(() => answered({ ref, problem }), PUBLISH_WITHIN);
      published.set(ref, { frame, echo, timer, resolve, reject });
      send(frame);
    });
  }

  // What the stream tells

  function hear(message) {
    const { type, id, channel, channels, at } = message;
    if (type === "stream") return enter(message);
    if (message.counts) learn(message);
    if (isBehind) return; // it will come again
    if (channel && isWanted(message)) {
      if (type === "removed") emit(type, { id, channel });
      else take(message);
    }
    if (channels) tellLost(channels.filter((channel) => hears(topics, channel, inbox)));
    if (type === "joined") joined(message);
    if (type === "ping" && message.cursor) tellReplayed();
    answered(message);
    if (isBefore(cursor, at)) keepCursor(at);
  }

  function enter(message) {
    const { at, top, newest, topics: told } = message;
    const isNew = connection !== message.connection;
    isBehind = isBefore(cursor, at) || (isNew && isMissed(newest, cursor));
    // A tab without a cursor begins now, whatever the stream repeats for others.
    if (!cursor && top) keepCursor(isBefore(top, at) ? at : top);
    // Of the topics that it does not name, our cursor says nothing from here on.
    if (isNew && told && !isBehind) {
      for (const [topic, since] of topics) {
        if (!told.has(topic)) topics.set(topic, since ?? cursor);
      }
    }
    isAhead = isBefore(at, cursor);
    declare();
    connection = message.connection;
    const waiting = [...published.values()]; // what callbacks publish is sent at once
    // Who comes while the stream opens another connection in silence has yet to be told where it begins.
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

  /** Tells the stream what this tab wants of it. */
  function declare() {
    const once = [...listeners.notification].some(({ perBrowser }) => perBrowser);
    tell({ type: "tab", tab: id, topics: [...topics], since: cursor, behind: isBehind, once });
  }

  function send(frame) {
    if (snapshot.connected) tell(frame);
  }

  /** Whether it is for this tab, and no repetition for another one. */
  function isWanted({ channel, cursor: place, replay, owed }) {
    const since = topics.get(topicOf(channel)) ?? cursor;
    return hears(topics, channel, inbox) && !(replay && (owed || isAhead) && isHistory(place, since));
  }

  function take(message) {
    const isMuted = ({ echo, frame }) => !echo && frame.topic === topicOf(message.channel);
    if ([...published.values()].some(isMuted)) held.push(message);
    else if (remember(seen, message.notification.id, REMEMBERED)) deliver(message);
  }

  function deliver({ notification, channel, cursor, replay = false, chosen }) {
    if (replay) replayed++;
    isChosen = chosen === id;
    emit("notification", notification, { channel, cursor, replay });
  }

  function joined({ topic, since, tabs }) {
    const owed = topics.get(topic);
    if (!owed || !tabs.includes(id) || isBefore(owed, since)) return;
    topics.set(topic, undefined);
    declare(); // else to ask for the same past once more would be no news
    tellReplayed();
  }

  function tellLost(channels) {
    if (!channels.length) return;
    lost.push(...channels);
    emit("lost", { channels });
  }

  function tellReplayed() {
    if (replayed || lost.length) emit("replayed", { count: replayed, lost });
    replayed = 0;
    lost = [];
  }

  function answered({ ref, id, cursor, problem }) {
    if (!ref && problem) tellError(problem);
    if (!published.has(ref)) return; // another tab has asked for it
    const { echo, timer, resolve, reject } = published.get(ref);
    clearTimeout(timer);
    published.delete(ref);
    if (id && !echo) remember(seen, id, REMEMBERED);
    held.splice(0).forEach(take);
    if (problem) reject(Object.assign(new Error(problem.detail ?? problem.title), problem));
    else resolve({ id, cursor });
  }

  function tellError(problem) {
    if (!problem.topic || topics.has(problem.topic)) emit("error", problem);
  }

  function keepCursor(place) {
    cursor = place;
    // A reloaded page begins at what is kept, so that must not pass by what is owed to this one.
    if ([...topics.values()].some((owed) => parseInt(owed) >= parseInt(kept))) return;
    kept = place;
    tryTo(() => storage?.setItem(CURSOR_KEY, place));
  }

  /** A callback that throws must not keep the others, or the next notification, from theirs. */
  function emit(event, ...details) {
    if (event === "error" && !listeners.error.size) console.error("Notifier:", ...details);
    for (const { callback, perBrowser } of [...listeners[event]]) {
      if (perBrowser && !isChosen) continue;
      try {
        callback(...details);
      } catch (error) {
        console.error("Notifier:", error);
      }
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
    get cursor() {
      return cursor;
    },
    get connection() {
      return connection;
    },
  };
}
