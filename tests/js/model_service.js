/** A model of the service with a log that it replays, as far as the library can distinguish it from the real one. */

import { FakeHttp } from "./fake_http.js";
import { FakeService, settled } from "./fake_service.js";

const OVERLAP = 2_000; // ms, as the service's
const GROUP = 1_000; // ms of entries that may be sent channel by channel
const HEARTBEAT = 25; // seconds
export const LONGEST = 500; // bytes of a message

/** Sends one frame at a time, over whatever transport the client asks for, so that a test may stop between any two. */
export class ModelService extends FakeService {
  published = []; // {id, ms, topic, isTrimmed}
  #answers = new Map(); // idempotency key -> what its publication was answered
  #floors = new Map(); // topic, or undefined for the user's channel -> ms of the last entry that was trimmed
  #ms = 1_000;
  #random;
  #http;
  #requests = 0; // how many of them have been read
  #connection; // the latest
  #count = 0;

  /** Makes it the service of this test. `random(limit)` returns a whole number below the limit. */
  constructor(t, random) {
    super();
    this.#random = random;
    this.#http = new FakeHttp(t);
  }

  get cursor() {
    return `${this.#ms}-0`;
  }

  publish(topic) {
    this.#ms += 1 + this.#random(3_000);
    this.published.push({ id: `n${this.published.length}`, ms: this.#ms, topic });
  }

  /** Publishes for a client, once for each idempotency key; returns the fields of the answer. */
  publishFor({ idempotency_key: key, topic }) {
    if (!this.#answers.has(key)) {
      this.publish(topic);
      this.#answers.set(key, { id: this.published.at(-1).id, cursor: this.cursor });
    }
    return this.#answers.get(key);
  }

  /** Removes the oldest entries of a channel from its log. */
  trim(topic) {
    const log = this.log(topic);
    for (const entry of log.slice(0, 1 + this.#random(log.length))) {
      entry.isTrimmed = true;
      this.#floors.set(topic, entry.ms);
    }
  }

  log(topic) {
    return this.published.filter((entry) => entry.topic === topic && !entry.isTrimmed);
  }

  floor(topic) {
    return this.#floors.get(topic) ?? 0;
  }

  /** Reads what clients have sent, and sends at most so many frames. */
  async serve(most = Infinity) {
    await settled();
    for (let left = most; left > 0; left--) {
      await this.#accept();
      if (!(await this.#connection?.step())) break;
    }
    await settled();
  }

  /** Sends a heartbeat. */
  async ping() {
    await this.#connection?.ping();
  }

  /** Sends what no client can read. */
  async mumble() {
    if (this.#connection?.isWelcome && !this.#connection.isOver) await this.#connection.mumble();
  }

  /** Ends the latest connection: it breaks, or is closed with a reason. */
  async break() {
    await this.#connection?.break();
  }

  async #accept() {
    const { socket } = this;
    if (socket && !socket.isKnown) {
      socket.isKnown = true;
      this.#begin(new WebSocketConnection(this, this.#random, this.#count, socket));
    }
    for (const request of this.#http.requests.slice(this.#requests)) {
      this.#requests++;
      const kind = request.accept ? EventConnection : PollConnection;
      if (request.options.method === "POST") await this.#take(request);
      else this.#begin(new kind(this, this.#random, this.#count, request));
    }
    this.#connection?.read();
  }

  async #take(request) {
    const { body } = request.options;
    const frame = JSON.parse(body);
    if (body.length > LONGEST) await request.answer({ code: "body_too_large", title: "Too long" }, 413);
    else if (frame.type === "publish") await request.answer({ type: "ok", ref: frame.ref, ...this.publishFor(frame) });
    else await request.empty();
  }

  #begin(connection) {
    this.#count++;
    this.#connection = connection;
  }
}

class Connection {
  isResumed = false;
  isWelcome = false;
  isLive = false;
  #positions = new Map(); // topic, or undefined for the user's channel -> ms of the last entry sent
  #since = new Map(); // the same -> ms after which a client may have lost something
  #confirmations = []; // refs
  #service;
  #random;
  #number;
  #first; // entries from this one on were published while the log was read

  constructor(service, random, number) {
    this.#service = service;
    this.#random = random;
    this.#number = number;
  }

  hello(since, topics) {
    for (const topic of [undefined, ...topics]) this.#resume(topic, since);
  }

  subscribe(topic, since, ref) {
    this.#resume(topic, since);
    this.#confirmations.push(ref);
    this.isLive = false;
  }

  unsubscribe(topic) {
    this.#positions.delete(topic);
    this.#since.delete(topic);
  }

  /** Sends what is next; resolves to whether there was something. */
  async step() {
    if (this.isOver) return false;
    const entry = this.#next();
    const lost = this.#lost();
    if (!this.isWelcome) await this.#welcome(lost);
    else if (lost.length) await this.send({ type: "lost", channels: lost });
    else if (entry) await this.#deliver(entry);
    else if (!this.isLive) await this.#caughtUp();
    else return false;
    return true;
  }

  async ping() {
    const isComplete = this.isLive && !this.#next();
    if (!this.isOver && this.isWelcome) await this.sendPing(isComplete ? this.#service.cursor : undefined);
  }

  /** A replay is in order. Live entries of about the same time are sent channel by channel. */
  #next() {
    const next = [...this.#positions].flatMap(([topic, position]) => {
      return this.#service.log(topic).find(({ ms }) => ms > position) ?? [];
    });
    next.sort((first, second) => first.ms - second.ms);
    const [first, ...others] = next;
    const near = this.isLive ? others.filter(({ ms }) => ms < first.ms + GROUP) : [];
    return [first, ...near][this.#random(1 + near.length)];
  }

  /** Returns the channels of which something is gone that was not sent, once. */
  #lost() {
    const topics = [...this.#positions.keys()].filter((topic) => {
      return this.#service.floor(topic) > Math.max(this.#positions.get(topic), this.#since.get(topic));
    });
    for (const topic of topics) this.#since.set(topic, this.#service.floor(topic));
    return topics.map(channelOf);
  }

  /** A notification that was published while the log was read may come from there, or live. */
  async #deliver({ id, ms, topic }) {
    const index = Number(id.slice(1));
    const replay = !this.isLive && (index < this.#first || !this.#random(2));
    this.#positions.set(topic, ms);
    const notification = { id, title: id, severity: "info", created_at: "2025-11-20T17:00:00Z" };
    const more = { notification, ...(replay && { replay }) };
    await this.send({ type: "notification", cursor: `${ms}-0`, channel: channelOf(topic), ...more });
  }

  async #welcome(lost) {
    this.isWelcome = true;
    const { cursor } = this.#service;
    const more = { topics: this.#topics(), cursor, heartbeat: HEARTBEAT, lost };
    await this.send({ type: "welcome", connection: `c${this.#number}`, ...more });
  }

  async #caughtUp() {
    this.isLive = true;
    for (const ref of this.#confirmations.splice(0)) await this.send({ type: "ok", ref, topics: this.#topics() });
    await this.goLive(this.#service.cursor);
  }

  async goLive(cursor) {
    if (this.isResumed) await this.sendPing(cursor);
  }

  async sendPing(cursor) {
    await this.send({ type: "ping", cursor });
  }

  #topics() {
    return [...this.#positions.keys()].filter(Boolean);
  }

  #resume(topic, since) {
    const now = parseInt(this.#service.cursor);
    const position = this.#positions.get(topic) ?? now;
    this.#positions.set(topic, since ? Math.min(position, parseInt(since) - OVERLAP) : position);
    this.#since.set(topic, Math.min(this.#since.get(topic) ?? now, since ? parseInt(since) : now));
    this.isResumed ||= Boolean(since);
    this.#first = this.#service.published.length;
  }
}

export function channelOf(topic) {
  return topic ? `topic:${topic}` : "user:alice";
}

class WebSocketConnection extends Connection {
  #socket;
  #read = 0; // frames of the client
  #service;

  constructor(service, random, number, socket) {
    super(service, random, number);
    this.#service = service;
    this.#socket = socket;
    if (!this.isOver) socket.onopen({});
  }

  get isOver() {
    return this.#socket.isBroken || this.#socket.closedWith !== undefined;
  }

  read() {
    while (!this.isOver && this.#read < this.#socket.sent.length) this.#take(this.#socket.sent[this.#read++]);
  }

  send(frame) {
    if (!this.isOver) this.#socket.onmessage({ data: JSON.stringify(frame) });
  }

  mumble() {
    this.#socket.onmessage({ data: '{"type":' });
  }

  break(code = 1006) {
    if (this.isOver) return;
    this.#socket.isBroken = true;
    this.#socket.onclose({ code, reason: "" });
  }

  #take(frame) {
    const { type, ref, topic, topics, since } = frame;
    if (JSON.stringify(frame).length > LONGEST) this.break(1009);
    else if (type === "publish") this.send({ type: "ok", ref, ...this.#service.publishFor(frame) });
    else if (type === "hello") this.hello(since, topics);
    else if (type === "subscribe") this.subscribe(topic, since, ref);
    else if (type === "unsubscribe") this.unsubscribe(topic);
  }
}

/** A connection that an HTTP request asks for. A topic's own cursor counts where it is earlier than `since`. */
class HttpConnection extends Connection {
  request;
  isOver = false;

  constructor(service, random, number, request) {
    super(service, random, number);
    this.request = request;
    request.signal.addEventListener("abort", () => (this.isOver = true));
    const since = request.query.get("since") ?? undefined;
    const topics = request.query.getAll("topic").map((topic) => topic.split(" "));
    this.hello(since, topics.filter(([, own]) => !own).map(([topic]) => topic));
    for (const [topic, own] of topics) {
      if (own) this.subscribe(topic, parseInt(since) < parseInt(own) ? since : own, topic);
    }
  }

  read() {}
}

class EventConnection extends HttpConnection {
  #hasBegun = false;

  async send(frame) {
    if (!this.#hasBegun) await this.request.stream();
    this.#hasBegun = true;
    if (!this.isOver) await this.request.event(frame);
  }

  async mumble() {
    await this.request.text('data: {"type":\n\n');
  }

  async sendPing(cursor) {
    await this.request.text(cursor ? `: ping\nid: ${cursor}\n\n` : ": ping\n\n");
  }

  async break() {
    if (this.isOver) return;
    this.isOver = true;
    if (this.#hasBegun) await this.request.end();
    else this.request.fail();
    await settled();
  }
}

class PollConnection extends HttpConnection {
  #frames = [{ type: "ping" }];
  #isPatient = this.request.query.get("wait") !== "0" && this.request.query.has("since");
  #hasNews = false;

  async send(frame) {
    this.#frames.push(frame);
    if (parseInt(frame.cursor) > parseInt(this.request.query.get("since"))) this.#hasNews ||= frame.type !== "welcome";
    if (this.isLive && frame.type === "notification") await this.#end({ type: "ping" });
  }

  mumble() {
    this.#frames.push(null);
  }

  async goLive(cursor) {
    if (!this.#isPatient || this.#hasNews) await this.sendPing(cursor);
  }

  async sendPing(cursor) {
    if (this.isLive) await this.#end({ type: "ping", cursor });
  }

  async break() {
    if (this.isOver) return;
    if (this.#frames.length % 2) return this.#end({ type: "close", code: 1012, reason: "" });
    this.isOver = true;
    this.request.fail();
    await settled();
  }

  async #end(frame) {
    if (this.isOver) return;
    this.isOver = true;
    await this.request.frames(...this.#frames, frame);
  }
}
