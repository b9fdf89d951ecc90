/** The service, as the client sees it: WebSockets that are dialled, what comes over them, what goes back. */

import { Notifier } from "../../browser/src/notifier.js";
import { FakeClock } from "./fake_clock.js";

export class FakeService {
  dialled = []; // every WebSocket so far, the latest last
  tokensGiven = 0;

  constructor() {
    const service = this;
    this.WebSocket = class extends FakeWebSocket {
      constructor(...address) {
        super(...address);
        service.dialled.push(this);
      }
    };
    this.getToken = async () => `token-${++this.tokensGiven}`;
  }

  get socket() {
    return this.dialled.at(-1);
  }

  /** A Notifier of this service that writes down its events as [name, ...arguments]. */
  client(options = {}) {
    const { WebSocket, getToken } = this;
    const url = "ws://127.0.0.1/v1/stream";
    const transports = ["websocket"];
    const notifier = new Notifier({ url, WebSocket, getToken, transports, random: () => 0.5, ...options });
    const events = [];
    for (const name of ["notification", "removed", "lost", "replayed", "counts", "inbox", "state", "error"]) {
      notifier.on(name, (...details) => events.push([name, ...details]));
    }
    const of = (wanted) => events.filter(([name]) => name === wanted).map(([, ...details]) => details);
    const titles = () => of("notification").map(([{ title }]) => title);
    return { notifier, events, of, titles };
  }

  /** As client(), and connected. */
  async connected(options) {
    const client = this.client(options);
    client.notifier.connect();
    await this.accept();
    return client;
  }

  /** Accepts the WebSocket that the client dials now, and welcomes it. */
  async accept(welcome) {
    await settled();
    this.socket.onopen({});
    this.welcome(welcome);
  }

  welcome(members) {
    const usual = { connection: "c1", topics: [], cursor: "1000-0", heartbeat: 25, lost: [] };
    this.say({ type: "welcome", ...usual, ...members });
  }

  say(frame) {
    this.socket.onmessage({ data: JSON.stringify(frame) });
  }

  notify(id, cursor, members) {
    const notification = { id, title: id, severity: "info", created_at: "2025-11-20T17:00:00Z" };
    this.say({ type: "notification", cursor, channel: "user:alice", notification, ...members });
  }

  /** Answers the latest subscription: its past has been sent. */
  confirm() {
    const { ref, topic } = this.socket.heard("subscribe").at(-1);
    this.say({ type: "ok", ref, topics: [topic] });
  }

  close(code, reason = "") {
    this.socket.onclose({ code, reason });
  }
}

class FakeWebSocket {
  sent = [];
  closedWith = undefined;

  constructor(url, subprotocol) {
    Object.assign(this, { url, subprotocol });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closedWith = code;
  }

  /** The frames of this type that the client sent. */
  heard(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** Resolves once everything has run that does not wait for a timer. */
export function settled() {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Stops the clock of a test until it calls tick() with milliseconds; tick.sleepUntil() sets it and runs no timers. */
export function stopClock(t) {
  const clock = new FakeClock(t);
  async function tick(ms) {
    clock.tick(ms);
    await settled();
  }
  tick.sleepUntil = (now) => (clock.now = now);
  return tick;
}
