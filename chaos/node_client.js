/**
 * Runs the browser's library under Node for the fault-injection harness. Tabs of one group share a connection.
 *
 * node node_client.js URL, then a JSON line per command on standard input:
 *     {"do": "start", "client", "token", "topics", "transports", "group"}
 *     {"do": "join", "client", "topic", "since"}   {"do": "leave", "client", "topic"}
 *     {"do": "cut" | "close" | "back", "client"}   {"do": "publish", "client", "topic", "key", "how"}
 * Prints a JSON line per callback: {"client", "event", "details", "cursor", "connection"}, and the outcomes of
 * publications: {"client", "event": "published" | "refused", "details": [key, answer]}.
 *
 * Also prints what connections request of the past of topics, {"client", "event": "asked", "details": [topic, since, number]},
 * and that a topic's past has been delivered to all tabs of the group, as far as it was requested up to a number:
 * {"client", "event": "complete", "details": [topic, number]}.
 */
import { createInterface } from "node:readline";
import { WebSocket as WsWebSocket } from "ws";
import { Notifier } from "../notifier/http/static/notifier.js";
import { createLocks } from "./node_locks.js";

const HURRY = 0.15; // of the library's own patience: a run is short
const TOO_LONG = 100_000; // characters
const MOMENT = 500; // ms until all tabs have taken a message
const url = process.argv[2];
const clients = new Map();
const owners = new Map(); // token -> client
const members = new Map(); // group -> one of its clients
let asked = 0;

Object.defineProperty(globalThis, "navigator", { value: { locks: createLocks(), onLine: true }, configurable: true });

/** Observes when a tab announces to the others of its group that the past of a topic is complete. */
globalThis.BroadcastChannel = class extends BroadcastChannel {
  postMessage(message) {
    super.postMessage(message);
    if (message.type !== "joined") return;
    const [, , group] = JSON.parse(this.name);
    const line = { client: members.get(group), event: "complete", details: [message.topic, asked] };
    setTimeout(() => print(line), MOMENT);
  }
};

const { fetch } = globalThis;
globalThis.fetch = (address, options) => {
  const client = owners.get(options.headers.Authorization?.replace("Bearer ", ""));
  for (const topic of new URL(address).searchParams.getAll("topic")) noteAsked(client, ...topic.split(" "));
  return fetch(address, options);
};

function noteAsked(client, topic, since) {
  if (since) print({ client, event: "asked", details: [topic, since, ++asked] });
}

function start({ client, token, topics, transports, group }) {
  let socket;
  owners.set(token, client);
  members.set(group, client);
  class Socket extends WsWebSocket {
    constructor(...details) {
      super(...details);
      socket = this;
      this.on("error", () => {}); // a browser's socket tells it by `close` too
    }

    send(text) {
      const { type, topic, since } = JSON.parse(text);
      if (type === "subscribe") noteAsked(client, topic, since);
      super.send(text);
    }
  }
  const random = () => HURRY * Math.random();
  const options = { WebSocket: Socket, transports, random, name: group };
  const notifier = new Notifier({ url, topics, getToken: async () => token, ...options });
  for (const event of ["notification", "lost", "state", "error"]) {
    notifier.on(event, (...details) => {
      const { cursor, connection } = notifier;
      print({ client, event, details, cursor, connection });
    });
  }
  clients.set(client, { notifier, cut: () => socket?.terminate() });
  notifier.connect();
}

const values = {
  good: (key) => ({ key }),
  bigint: (key) => ({ key, count: 5n }),
  circular: (key) => {
    const value = { key };
    return Object.assign(value, { value });
  },
  throws: (key) => ({
    key,
    toJSON() {
      throw new Error("no JSON");
    },
  }),
  long: (key) => ({ key, text: "x".repeat(TOO_LONG) }),
};

async function publish({ client, topic, key, how }) {
  try {
    const answer = await clients.get(client).notifier.publish(topic, { type: "chat.said", data: values[how](key) });
    print({ client, event: "published", details: [key, answer] });
  } catch ({ code, status, message }) {
    print({ client, event: "refused", details: [key, { code, status, message }] });
  }
}

function print(line) {
  console.log(JSON.stringify(line));
}

const commands = {
  start,
  publish,
  join: ({ client, topic, since }) => clients.get(client).notifier.join(topic, { since }),
  leave: ({ client, topic }) => clients.get(client).notifier.leave(topic),
  cut: ({ client }) => clients.get(client).cut(),
  close: ({ client }) => clients.get(client).notifier.disconnect(),
  back: ({ client }) => clients.get(client).notifier.connect(),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0));
