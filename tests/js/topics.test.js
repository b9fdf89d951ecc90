import assert from "node:assert/strict";
import test from "node:test";
import { FakeService, settled, stopClock } from "./fake_service.js";

async function reconnect(service, tick) {
  service.close(1006);
  await tick(1_000);
  await service.accept();
}

test("a topic joined while connected is subscribed at once", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders");
  const [{ topic, since }] = service.socket.heard("subscribe");
  assert.deepEqual([topic, since], ["orders", undefined]);
});

test("a topic joined before connecting is in the hello", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.join("orders");
  notifier.connect();
  await service.accept();
  assert.deepEqual(service.socket.heard("hello")[0].topics, ["orders"]);
  assert.deepEqual(service.socket.heard("subscribe"), []);
});

test("topics joined and left between hello and welcome are sent after the welcome", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client({ topics: ["orders"] });
  notifier.connect();
  await settled();
  service.socket.onopen({});
  notifier.leave("orders");
  notifier.join("invoices");
  assert.equal(service.socket.sent.length, 1);
  service.welcome();
  const asked = service.socket.heard("subscribe").map(({ topic, since }) => [topic, since]);
  assert.deepEqual(asked, [["invoices", undefined], ["invoices", "1000-0"]]); // the page begins at its welcome
  assert.deepEqual(service.socket.heard("unsubscribe").map(({ topic }) => topic), ["orders"]);
});

test("joined topics are remembered over reconnects, left ones are not", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected({ topics: ["orders", "invoices"] });
  notifier.leave("orders");
  assert.deepEqual(service.socket.heard("unsubscribe").map(({ topic }) => topic), ["orders"]);
  await reconnect(service, tick);
  assert.deepEqual(service.socket.heard("hello")[0].topics, ["invoices"]);
});

test("a past that has arrived may be requested once more, from the same cursor", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  for (let count = 1; count <= 2; count++) {
    notifier.join("orders", { since: "5-0" });
    const asked = service.socket.heard("subscribe");
    assert.deepEqual(asked.map(({ since }) => since), Array(count).fill("5-0"));
    service.say({ type: "ok", ref: asked.at(-1).ref, topics: ["orders"] });
  }
});

test("joining twice subscribes once, leaving a topic that was not joined sends nothing", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders");
  notifier.join("orders");
  notifier.leave("invoices");
  assert.equal(service.socket.heard("subscribe").length, 1);
  assert.equal(service.socket.heard("unsubscribe").length, 0);
});

test("a subscription with since that had no ok is repeated with the same since, for its past comes first", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders", { since: "500-0" });
  service.notify("a", "600-0", { channel: "topic:orders", replay: true });
  await reconnect(service, tick);
  assert.deepEqual(service.socket.heard("hello")[0].topics, []);
  const [{ topic, since }] = service.socket.heard("subscribe");
  assert.deepEqual([topic, since], ["orders", "500-0"]);
});

test("after its ok a topic resumes with the others", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders", { since: "500-0" });
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  await reconnect(service, tick);
  assert.deepEqual(service.socket.heard("hello")[0].topics, ["orders"]);
  assert.deepEqual(service.socket.heard("subscribe"), []);
});

test("the ok of an earlier join does not count for a later one", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders", { since: "500-0" });
  notifier.leave("orders");
  notifier.join("orders", { since: "300-0" });
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  await reconnect(service, tick);
  assert.equal(service.socket.heard("subscribe")[0].since, "300-0");
});

test("the replay of one topic does not move the cursor past missing entries of other channels", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.join("orders", { since: "500-0" });
  service.notify("a", "9000-0", { channel: "topic:orders", replay: true });
  assert.equal(notifier.cursor, "1000-0");
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  service.notify("b", "9001-0", { channel: "topic:orders" });
  assert.equal(notifier.cursor, "9001-0");
});

test("the page is notified of a topic's losses while the connection is open", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected({ topics: ["orders"] });
  service.say({ type: "lost", channels: ["topic:orders", "topic:left", "all"] });
  assert.deepEqual(of("lost"), [[{ channels: ["topic:orders", "all"] }]]);
});

test("a refused topic is an error that names it", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected();
  notifier.join("secrets");
  const problem = { code: "forbidden", title: "Not granted", status: 403 };
  service.say({ type: "error", ref: service.socket.heard("subscribe")[0].ref, problem });
  assert.deepEqual(of("error"), [[{ ...problem, topic: "secrets" }]]);
  assert.equal(notifier.state, "connected");
});

for (const name of ["", " ", "a b", "a\nb", "a\u200bb", "\ud800", ".", "..", "a*", "{a}", "x".repeat(129), 5, 5n, null, ["a"]]) {
  test(`${typeof name} ${JSON.stringify(`${name}`)} is not a name of a topic`, () => {
    const service = new FakeService();
    const { notifier } = service.client();
    assert.throws(() => notifier.join(name), TypeError);
    assert.throws(() => service.client({ topics: ["orders", name] }), TypeError);
  });
}

test("names of all languages, of 128 characters, are names of topics", async (t) => {
  stopClock(t);
  const topics = ["طلبات", "注文", "a.b", "...", "room:1/2", "😀".repeat(128)];
  const service = new FakeService();
  await service.connected({ topics });
  assert.deepEqual(service.socket.heard("hello")[0].topics, topics);
});

test("a topic's past begins at a cursor, and nothing else", () => {
  const { notifier } = new FakeService().client();
  for (const since of [5, 5n, "yesterday", "1-0 ", {}]) assert.throws(() => notifier.join("orders", { since }), TypeError);
});

test("topics that are one too many are requested later, so that a hello is never rejected for them", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const topics = Array.from({ length: 101 }, (_, number) => `topic-${number}`);
  const { of, notifier } = await service.connected({ topics });
  assert.equal(service.socket.heard("hello")[0].topics.length, 100);
  const refuse = ({ ref }) => service.say({ type: "error", ref, problem: { code: "too_many_subscriptions", title: "Too many" } });
  service.socket.heard("subscribe").forEach(refuse);
  assert.equal(of("error").at(-1)[0].topic, "topic-100");
  notifier.leave("topic-0");
  notifier.leave("topic-1");
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c2" });
  assert.ok(!service.socket.heard("hello")[0].topics.includes("topic-100")); // the service may have a lower limit
  const { ref, topic } = service.socket.heard("subscribe").at(-1);
  assert.equal(topic, "topic-100");
  service.say({ type: "ok", ref, topics });
  service.notify("a", "2000-0", { channel: "topic:topic-100" });
  assert.equal(of("notification").length, 1);
});
