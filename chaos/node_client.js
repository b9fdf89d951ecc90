/**
 * Runs the browser's library under Node for the fault-injection harness.
 *
 * node node_client.js URL, then a JSON line per command on standard input:
 *     {"do": "start", "client", "token", "topics"}   {"do": "join", "client", "topic", "since"}
 *     {"do": "leave", "client", "topic"}   {"do": "cut" | "close" | "back", "client"}
 * Prints a JSON line per callback: {"client", "event", "details", "cursor", "connection"}.
 */
import { createInterface } from "node:readline";
import { WebSocket as WsWebSocket } from "ws";
import { Notifier } from "../notifier/http/static/notifier.js";

const HURRY = 0.15; // of the library's own patience: a run is short
const url = process.argv[2];
const clients = new Map();

function start({ client, token, topics }) {
  let socket;
  class Socket extends WsWebSocket {
    constructor(...details) {
      super(...details);
      socket = this;
      this.on("error", () => {}); // a browser's socket tells it by `close` too
    }
  }
  const random = () => HURRY * Math.random();
  const options = { WebSocket: Socket, transports: ["websocket"], shared: false, random }; // a socket to cut for each
  const notifier = new Notifier({ url, topics, getToken: async () => token, ...options });
  for (const event of ["notification", "lost", "state", "error"]) {
    notifier.on(event, (...details) => {
      const { cursor, connection } = notifier;
      console.log(JSON.stringify({ client, event, details, cursor, connection }));
    });
  }
  clients.set(client, { notifier, cut: () => socket?.terminate() });
  notifier.connect();
}

const commands = {
  start,
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
