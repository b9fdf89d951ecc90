/**
 * The browser's side of Notifier: one connection that comes back by itself and misses nothing.
 *
 *     const notifier = new Notifier({ getToken: () => fetch("/my-token").then((answer) => answer.text()) });
 *     notifier.on("notification", (notification, { channel, replay }) => show(notification));
 *     notifier.on("lost", ({ channels }) => loadAnew(channels));
 *     notifier.connect();
 *
 * docs/protocol.md has the wire protocol.
 */

const SUBPROTOCOL = "notifier.v1";
const CURSOR_KEY = "notifier.cursor";
const EVENTS = ["notification", "removed", "lost", "state", "error"];
const WAITING = ["reconnecting", "offline", "unauthorized"];

const TOKEN_REFUSED = 4001;
const OVERLOADED = 4004;
const STAY_AWAY = [1002, 1007, 1009]; // it would happen again

const REMEMBERED = 2_000; // ids: a resumed stream repeats two seconds

// All times are in milliseconds.
const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;
const STABLE_AFTER = 30_000; // else who is accepted and dropped at once would try every second
const ANSWER_WITHIN = 30_000; // getToken, the handshake and the welcome, each
const EXPIRES_SOON = 5_000;
const LONGEST_TIMER = 2 ** 31 - 1; // a longer one would fire at once

/**
 * Events, for `on(event, callback)`:
 *
 * - `notification` (notification, {channel, cursor, replay}): each id once, in order per channel
 * - `removed` ({id, channel}): it was recalled, take it away; may come for one that was never shown
 * - `lost` ({channels}): something is gone for good, load your state anew
 * - `state` ({current, previous, reason, retryInMs})
 * - `error` (problem): the service's, with `code`, `title`, `detail`, perhaps `topic`; or what getToken threw
 *
 * States: `idle` until `connect()`, `connecting`, `connected`; `reconnecting`, `offline` and `unauthorized`
 * wait for the next try; `closed`: the service wants us to stay away, and we do until `connect()`.
 */
export class Notifier {
  #url;
  #getToken;
  #WebSocket;
  #random;
  #storage;
  #listeners = Object.fromEntries(EVENTS.map((event) => [event, new Set()]));
  #state = "idle";
  #cursor;
  #token;
  #seen = new Set();
  #topics = new Map(); // name -> {topic, since}; `since` only until the service has said `ok` to it
  #link; // the connection or the attempt at one: {socket, id, topics, asked, comeBackIn}
  #failures = 0;
  #lastRef = 0;
  #silence = ANSWER_WITHIN;
  #timers = {};
  #page; // ends our listening to the page

  /**
   * - `url`: the stream's path, or its URL with http(s) or ws(s)
   * - `getToken`: resolves to a token whenever a new one is needed; not given where a cookie says who it is
   * - `topics`: to join from the start
   * - `storage`: for example sessionStorage, keeps the cursor, so that a page that was reloaded resumes too
   * - `WebSocket`, `random`: for tests
   */
  constructor({ url = "/v1/stream", getToken, topics = [], storage, WebSocket, random = Math.random } = {}) {
    refuseApiKey(getToken);
    this.#url = streamUrl(url, globalThis.location?.href);
    this.#getToken = getToken;
    this.#WebSocket = WebSocket ?? globalThis.WebSocket;
    this.#random = random;
    this.#storage = storage;
    this.#cursor = storage?.getItem(CURSOR_KEY) ?? undefined;
    for (const topic of topics) this.join(topic);
  }

  get state() {
    return this.#state;
  }

  /** The place to resume from. */
  get cursor() {
    return this.#cursor;
  }

  /** The id that the service's logs know this connection by; undefined where there is none. */
  get connection() {
    return this.#link?.id;
  }

  /** Calls back on each such event; returns a function that ends it. */
  on(event, callback) {
    if (!EVENTS.includes(event)) throw new TypeError(`no event is called ${event}`);
    this.#listeners[event].add(callback);
    return () => this.#listeners[event].delete(callback);
  }

  /** Connects and stays so. While it waits for the next try, this is the next try. */
  connect() {
    if (this.#state === "idle" || this.#state === "closed") {
      this.#watchPage();
      this.#open();
    } else {
      this.#hurry();
    }
  }

  /** Closes the connection. `connect()` resumes where it was. */
  disconnect() {
    this.#stop("idle");
  }

  /** Joins a topic, now and after each reconnect; with `since`, what it had since that cursor comes first. */
  join(topic, { since } = {}) {
    if (this.#topics.has(topic) && !since) return;
    const membership = { topic, since };
    this.#topics.set(topic, membership);
    if (this.#state === "connected") this.#subscribe(membership);
  }

  leave(topic) {
    if (this.#topics.delete(topic) && this.#state === "connected") this.#unsubscribe(topic);
  }

  // Opening

  async #open() {
    this.#drop();
    const link = (this.#link = { asked: new Map() });
    this.#silence = ANSWER_WITHIN;
    this.#heard();
    this.#enter("connecting");
    try {
      await this.#needToken();
    } catch (error) {
      if (link === this.#link) this.#noToken(error);
      return;
    }
    if (link === this.#link) this.#dial(link);
  }

  async #needToken() {
    if (!this.#getToken || (this.#token && !expiresSoon(this.#token, Date.now()))) return;
    const token = await this.#getToken();
    refuseApiKey(token);
    if (!token) throw new Error("getToken gave no token");
    this.#token = token;
  }

  #noToken(error) {
    this.#drop();
    if (error instanceof ApiKeyError) this.#stop("closed", error.message);
    else this.#retry("unauthorized", error?.message ?? String(error));
    this.#emit("error", error);
  }

  #dial(link) {
    const current = (handle) => (event) => link === this.#link && handle(event);
    const socket = new this.#WebSocket(this.#url, SUBPROTOCOL);
    link.socket = socket;
    socket.onopen = current(() => this.#hello(link));
    socket.onmessage = current(({ data }) => {
      this.#heard();
      this.#receive(JSON.parse(data), link);
    });
    socket.onclose = current(({ code, reason }) => this.#closed(code, reason));
  }

  // A topic that is owed its past is subscribed after the welcome: `hello` has one `since` for all.
  #hello(link) {
    link.topics = [...this.#topics.values()].filter(({ since }) => !since);
    const topics = link.topics.map(({ topic }) => topic);
    this.#send({ type: "hello", token: this.#token, since: this.#cursor, topics });
  }

  // Receiving

  #receive(frame, link) {
    switch (frame.type) {
      case "welcome":
        return this.#welcome(frame, link);
      case "notification":
        return this.#deliver(frame);
      case "removed":
        this.#advance(frame);
        return this.#emit("removed", { id: frame.id, channel: frame.channel });
      case "lost":
        return this.#tellLost(frame.channels);
      case "ok":
        return this.#ok(frame, link);
      case "error":
        return this.#emit("error", { ...frame.problem, topic: link.asked.get(frame.ref)?.topic });
      case "expiring":
        return this.#refreshToken(link);
      case "ping":
        return this.#reached(frame.cursor);
      case "drain":
        link.comeBackIn = frame.retry_after_ms;
    }
  }

  #welcome({ connection, cursor, heartbeat, lost }, link) {
    link.id = connection;
    // With a cursor of our own the replay is yet to come, and may be cut.
    if (!this.#cursor) this.#keepCursor(cursor);
    this.#silence = 2 * 1000 * heartbeat;
    this.#heard();
    this.#after("stable", STABLE_AFTER, () => (this.#failures = 0));
    this.#updateTopics(link.topics);
    this.#enter("connected");
    this.#tellLost(lost);
  }

  /** Tells the service what was joined and left while it read our hello. */
  #updateTopics(told) {
    for (const membership of this.#topics.values()) {
      if (!told.includes(membership)) this.#subscribe(membership);
    }
    for (const { topic } of told) {
      if (!this.#topics.has(topic)) this.#unsubscribe(topic);
    }
  }

  #deliver(frame) {
    const { notification, channel, cursor, replay = false } = frame;
    this.#advance(frame);
    if (remember(this.#seen, notification.id, REMEMBERED)) {
      this.#emit("notification", notification, { channel, cursor, replay });
    }
  }

  // A topic's own replay may run ahead of the other channels' one, so it does not count until its `ok`.
  #advance({ channel, cursor }) {
    const owed = channel.startsWith("topic:") && this.#topics.get(channel.slice("topic:".length))?.since;
    if (!owed) this.#reached(cursor);
  }

  #reached(cursor) {
    if (cursor && (!this.#cursor || compareCursors(cursor, this.#cursor) > 0)) this.#keepCursor(cursor);
  }

  #keepCursor(cursor) {
    this.#cursor = cursor;
    try {
      this.#storage?.setItem(CURSOR_KEY, cursor);
    } catch {
      // Full or forbidden: then a reloaded page starts from now.
    }
  }

  #ok({ ref }, link) {
    const membership = link.asked.get(ref);
    if (membership) membership.since = undefined;
    link.asked.delete(ref);
  }

  #tellLost(channels) {
    if (channels?.length) this.#emit("lost", { channels });
  }

  async #refreshToken(link) {
    this.#token = undefined;
    try {
      await this.#needToken();
    } catch (error) {
      this.#emit("error", error); // the old token is good for a while yet, and 4001 will ask again
      return;
    }
    if (link === this.#link) this.#send({ type: "auth", token: this.#token });
  }

  // Sending

  #subscribe(membership) {
    const ref = String(++this.#lastRef);
    this.#link.asked.set(ref, membership);
    this.#send({ type: "subscribe", ref, ...membership });
  }

  #unsubscribe(topic) {
    this.#send({ type: "unsubscribe", topic });
  }

  #send(frame) {
    this.#link.socket.send(JSON.stringify(frame));
  }

  // Losing the connection, and coming back

  #heard() {
    this.#after("silence", this.#silence, () =>
      this.#closed(4000, this.#state === "connected" ? "heartbeat lost" : "no answer"),
    );
  }

  #closed(code, text) {
    const { id: welcomed, comeBackIn } = this.#link;
    const reason = `${code} ${text}`.trim();
    this.#drop();
    if (code === TOKEN_REFUSED) this.#token = undefined;
    if (code === OVERLOADED) this.#failures = Math.max(this.#failures, 3);
    if (!comesBack(code)) this.#stop("closed", reason);
    else if (code === TOKEN_REFUSED && !welcomed) this.#retry("unauthorized", reason);
    else this.#retry(isOffline() ? "offline" : "reconnecting", reason, comeBackIn);
  }

  // Offline we try all the same: browsers have been wrong about it.
  #retry(state, reason, retryInMs = backoff(this.#failures++, this.#random)) {
    this.#after("retry", retryInMs, () => this.#open());
    this.#enter(state, { reason, retryInMs });
  }

  #hurry() {
    if (WAITING.includes(this.#state)) this.#open();
  }

  #stop(state, reason) {
    this.#drop();
    this.#page?.abort();
    this.#enter(state, { reason });
  }

  /** From here on nothing that the old connection or attempt does counts. */
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#link?.socket;
    this.#link = undefined;
    socket?.close(1000);
  }

  // In a hidden tab timers run late.
  #watchPage() {
    const { document } = globalThis;
    this.#page = new AbortController();
    const { signal } = this.#page;
    globalThis.addEventListener?.("online", () => this.#hurry(), { signal });
    globalThis.addEventListener?.("pageshow", () => this.#hurry(), { signal });
    document?.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
  }

  #after(name, ms, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, Math.min(ms, LONGEST_TIMER));
  }

  // Telling the page

  #enter(current, { reason, retryInMs } = {}) {
    const previous = this.#state;
    this.#state = current;
    if (current !== previous) this.#emit("state", { current, previous, reason, retryInMs });
  }

  /** A callback that throws must not keep the others, or the next notification, from theirs. */
  #emit(event, ...details) {
    const listeners = [...this.#listeners[event]];
    if (event === "error" && !listeners.length) console.error("Notifier:", ...details);
    for (const callback of listeners) {
      try {
        callback(...details);
      } catch (error) {
        console.error("Notifier: a callback failed:", error);
      }
    }
  }
}

class ApiKeyError extends TypeError {}

function refuseApiKey(token) {
  if (String(token).startsWith("nk_")) {
    throw new ApiKeyError("an API key would let every visitor publish: give the user a token");
  }
}

function isOffline() {
  return globalThis.navigator?.onLine === false;
}

/** The stream's address as WebSocket wants it. */
export function streamUrl(url, base) {
  const address = new URL(url, base);
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

/** Negative, zero or positive as in sort(). As text, "9-0" would come after "10-0". */
export function compareCursors(first, second) {
  const [ms, sequence] = first.split("-").map(Number);
  const [otherMs, otherSequence] = second.split("-").map(Number);
  return ms - otherMs || sequence - otherSequence;
}

/** Adds the id, says whether it is new, and forgets the oldest beyond the limit. */
export function remember(seen, id, limit) {
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > limit) seen.delete(seen.values().next().value);
  return true;
}

/** Full jitter: thousands who lost the same service come back spread out evenly. */
export function backoff(failures, random) {
  return random() * Math.min(LAST_RETRY, FIRST_RETRY * 2 ** failures);
}

/** Whether a client comes back after this close code. */
export function comesBack(code) {
  return code < 4500 && !STAY_AWAY.includes(code);
}

/** Whether a JWT is no longer worth sending. What we cannot read we leave to the service. */
export function expiresSoon(token, now) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(payload)).exp * 1000 < now + EXPIRES_SOON;
  } catch {
    return false;
  }
}
