import assert from "node:assert/strict";
import test from "node:test";
import { createInterests } from "../../browser/src/interests.js";
import { createLink } from "../../browser/src/link.js";
import { Position } from "../../browser/src/position.js";
import { createSkipped } from "../../browser/src/skipped.js";
import { createTimers, createWatchdog } from "../../browser/src/timers.js";
import { createTokens } from "../../browser/src/token.js";
import { FakeHttp, welcome } from "./fake_http.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

/** A link that is dialled, and what it called. */
function dial(t, { transport = "websocket", topics = [], since, getToken } = {}) {
  const tick = stopClock(t);
  const service = new FakeService();
  const interests = createInterests();
  const position = new Position();
  const timers = createTimers();
  const calls = [];
  const note = (name) => (...details) => calls.push([name, ...details]);
  const link = createLink({
    options: { url: "http://127.0.0.1/v1/stream", WebSocket: service.WebSocket },
    tokens: createTokens(getToken),
    interests,
    position,
    skipped: createSkipped(),
    limits: {},
    timers,
    watchdog: createWatchdog(timers, note("expired")),
    random: () => 0.5,
    broadcast: (message) => note(message.type)(message),
    ...Object.fromEntries(["welcomed", "reopen", "closed", "failed"].map((name) => [name, note(name)])),
  });
  interests.declare({ tab: "a", topics });
  position.startAt(since);
  const http = new FakeHttp(t);
  link.dial(transport);
  t.after(() => timers.stop());
  return { tick, service, http, interests, position, link, calls, names: () => calls.map(([name]) => name) };
}

function accept({ service }, members) {
  service.socket.onopen({});
  service.welcome(members);
}

test("a hello names the topics whose past is delivered, a past is requested after the welcome", (t) => {
  const all = dial(t, { topics: [["orders"], ["invoices", "5-0"]], since: "9-0" });
  accept(all);
  const [hello, request] = all.service.socket.sent;
  assert.deepEqual([hello.since, hello.topics], ["9-0", ["orders"]]);
  assert.deepEqual([request.type, request.topic, request.since], ["subscribe", "invoices", "5-0"]);
  assert.deepEqual([...all.link.covered], ["orders"]);
});

test("over HTTP the request names everything, and anything else takes another connection", async (t) => {
  const all = dial(t, { transport: "sse", topics: [["orders"], ["invoices", "5-0"]], since: "9-0" });
  assert.deepEqual(all.http.latest.query.getAll("topic"), ["orders", "invoices 5-0"]);
  await all.http.latest.stream();
  await all.http.latest.event(welcome());
  assert.deepEqual([...all.link.covered], ["orders", "invoices"]);
  all.link.unsubscribe("orders");
  assert.deepEqual([...all.link.covered], ["invoices"]);
  await all.tick(0);
  assert.equal(all.names().at(-1), "reopen");
});

test("the welcome is announced before anything else", (t) => {
  const all = dial(t);
  accept(all, { lost: ["all"] });
  assert.deepEqual(all.names(), ["welcomed", "lost"]);
  assert.deepEqual([all.link.id, all.link.top, all.position.cursor], ["c1", "1000-0", "1000-0"]);
  assert.ok(all.position.goBack("9000-0"));
});

test("a topic's past does not move the cursor until it is confirmed", (t) => {
  const all = dial(t, { topics: [["orders", "5-0"]], since: "1000-0" });
  accept(all);
  all.service.notify("a", "2000-0", { channel: "topic:orders" });
  assert.equal(all.position.cursor, "1000-0");
  assert.equal(all.calls.at(-1)[1].past, "5-0");
  all.service.say({ type: "ok", ref: all.service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  assert.deepEqual(all.calls.at(-1)[1], { type: "joined", topic: "orders", since: "5-0", tabs: ["a"] });
  all.service.notify("b", "3000-0", { channel: "topic:orders" });
  assert.equal(all.position.cursor, "3000-0");
});

test("over HTTP a complete ping confirms a topic's past, and an ok frame does not", async (t) => {
  const all = dial(t, { transport: "sse", topics: [["1", "5-0"]], since: "1000-0" });
  await all.http.latest.stream();
  await all.http.latest.event(welcome());
  await all.http.latest.event({ type: "ok", ref: "1", topics: ["1"] });
  await all.http.latest.text(": ping\n\n");
  assert.ok(!all.names().includes("joined"));
  await all.http.latest.text(": ping\nid: 2000-0\n\n");
  assert.ok(all.names().includes("joined"));
  assert.equal(all.position.cursor, "2000-0");
});

test("a refused subscription is an error with its topic, and has no past", (t) => {
  const all = dial(t, { topics: [["secrets", "5-0"]] });
  accept(all);
  all.service.say({ type: "error", ref: all.service.socket.heard("subscribe")[0].ref, problem: { code: "forbidden" } });
  assert.deepEqual(all.calls.at(-2)[1], { type: "error", problem: { code: "forbidden", topic: "secrets" } });
  assert.equal(all.names().at(-1), "joined");
});

test("pings before the welcome are ignored", (t) => {
  const all = dial(t, { since: "1000-0" });
  all.service.socket.onopen({});
  all.service.say({ type: "ping", cursor: "9000-0" });
  assert.deepEqual([all.names(), all.position.cursor], [[], "1000-0"]);
});

test("many notifications are acknowledged once", async (t) => {
  const all = dial(t);
  accept(all);
  for (const cursor of ["2000-0", "2001-0"]) all.service.notify(cursor, cursor);
  await all.tick(1_000);
  assert.deepEqual(all.service.socket.heard("ack"), [{ type: "ack", cursor: "2001-0", since: "1000-0" }]);
});

test("frames of tabs are sent after the welcome only", (t) => {
  const all = dial(t);
  all.service.socket.onopen({});
  all.link.send({ type: "publish", ref: "1" });
  all.service.welcome();
  all.link.send({ type: "publish", ref: "2" });
  assert.deepEqual(all.service.socket.heard("publish").map(({ ref }) => ref), ["2"]);
});

test("a token is renewed before it expires; without one the old one stays", async (t) => {
  const answers = ["second", undefined];
  const all = dial(t, { getToken: async () => answers.shift() });
  accept(all);
  all.service.say({ type: "expiring", in: 60 });
  await settled();
  assert.deepEqual(all.service.socket.heard("auth"), [{ type: "auth", token: "second" }]);
  all.service.say({ type: "expiring", in: 60 });
  await settled();
  assert.equal(all.calls.at(-1)[0], "failed");
});

test("a closed link calls nothing", (t) => {
  const all = dial(t);
  accept(all);
  const before = all.calls.length;
  all.link.close();
  all.service.notify("a", "2000-0");
  all.service.close(1006);
  assert.equal(all.service.socket.closedWith, 1000);
  assert.equal(all.calls.length, before);
});
