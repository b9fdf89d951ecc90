import assert from "node:assert/strict";
import test from "node:test";
import { FakeBrowser, tokenOf } from "./fake_browser.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

/** Answers the latest publication. */
function answer(service, members) {
  const { ref } = service.socket.heard("publish").at(-1);
  service.say({ type: "ok", ref, topics: [], id: "n1", cursor: "2000-0", ...members });
}

test("publish() resolves to the notification's id and cursor", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  const done = notifier.publish("orders", { title: "Hi", data: { n: 1 } });
  const [{ topic, notification }] = service.socket.heard("publish");
  assert.deepEqual([topic, notification], ["orders", { title: "Hi", data: { n: 1 } }]);
  answer(service);
  assert.deepEqual(await done, { id: "n1", cursor: "2000-0" });
});

test("publish() rejects with the problem, and that is not an error event", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected({ topics: ["orders"] });
  const done = notifier.publish("orders", {});
  const [{ ref }] = service.socket.heard("publish");
  const problem = { code: "rate_limited", title: "Too many", status: 429, detail: "Wait.", retry_after: 2, topic: "orders" };
  service.say({ type: "error", ref, problem });
  await assert.rejects(done, { name: "Error", message: "Wait.", code: "rate_limited", status: 429, retry_after: 2 });
  assert.deepEqual(of("error"), []);
});

test("a publication without an answer is sent again with the same key after a reconnect, and resolves once", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  const done = notifier.publish("orders", { title: "Hi" });
  const [first] = service.socket.heard("publish");
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c2" });
  assert.deepEqual(service.socket.heard("publish"), [first]);
  answer(service);
  answer(service);
  assert.equal((await done).id, "n1");
  service.close(1006);
  await tick(1_000);
  await service.accept({ connection: "c3" });
  assert.deepEqual(service.socket.heard("publish"), []);
});

test("a publication before the connection is open is sent with it", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  const done = notifier.publish("orders", { title: "Hi" });
  notifier.connect();
  await service.accept();
  answer(service);
  assert.equal((await done).id, "n1");
});

test("after 30 seconds without an answer publish() rejects", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  const done = notifier.publish("orders", { title: "Hi" });
  const rejected = assert.rejects(done, { code: "timeout" });
  await tick(30_000);
  await rejected;
  notifier.connect();
  await service.accept();
  assert.deepEqual(service.socket.heard("publish"), []);
});

test("each publication has a key of its own", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  for (let number = 0; number < 3; number++) notifier.publish("orders", {}).catch(() => {});
  assert.equal(new Set(service.socket.heard("publish").map((frame) => frame.idempotency_key)).size, 3);
});

test("a tab receives its own notification, unless echo is false", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, titles } = await service.connected({ topics: ["orders"] });
  const channel = "topic:orders";
  const loud = notifier.publish("orders", { title: "n1" });
  service.notify("n1", "2000-0", { channel });
  answer(service);
  await loud;
  assert.deepEqual(titles(), ["n1"]);
  const quiet = notifier.publish("orders", { title: "n2" }, { echo: false });
  service.notify("n2", "2001-0", { channel });
  service.notify("n3", "2002-0", { channel });
  service.notify("n4", "2003-0");
  assert.deepEqual(titles(), ["n1", "n4"]);
  answer(service, { id: "n2", cursor: "2001-0" });
  await quiet;
  assert.deepEqual(titles(), ["n1", "n4", "n3"]);
  service.notify("n2", "2001-0", { channel, replay: true });
  assert.deepEqual(titles(), ["n1", "n4", "n3"]);
});

test("without echo, an answer that comes first keeps the notification away too", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, titles } = await service.connected({ topics: ["orders"] });
  const quiet = notifier.publish("orders", { title: "n1" }, { echo: false });
  answer(service);
  await quiet;
  service.notify("n1", "2000-0", { channel: "topic:orders" });
  assert.deepEqual(titles(), []);
});

test("notifications that wait for the answer of a silent publication are delivered if that is rejected", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, titles } = await service.connected({ topics: ["orders"] });
  const quiet = notifier.publish("orders", { title: "n1" }, { echo: false });
  service.notify("n9", "2000-0", { channel: "topic:orders" });
  service.say({ type: "error", ref: service.socket.heard("publish")[0].ref, problem: { code: "forbidden", title: "No" } });
  await assert.rejects(quiet, { code: "forbidden" });
  assert.deepEqual(titles(), ["n9"]);
  await settled();
});

test("a publication in the callback of connected is sent once", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.on("state", ({ current }) => current === "connected" && notifier.publish("orders", {}));
  notifier.connect();
  await service.accept();
  assert.equal(service.socket.heard("publish").length, 1);
  service.say({ type: "ok", ref: service.socket.heard("publish")[0].ref, id: "a", cursor: "2000-0" });
});

const cyclic = {};
cyclic.self = cyclic;

/** Arguments that have no JSON, or no place in a frame: [description, arguments of publish()]. */
const UNPUBLISHABLE = [
  ["a BigInt", ["room", { data: 5n }]],
  ["a cycle", ["room", { data: cyclic }]],
  ["a toJSON() that throws", ["room", { toJSON: () => assert.fail("no JSON") }]],
  ["a topic that is a number", [5, { title: "a" }]],
  ["an empty topic", ["", { title: "a" }]],
  ["a topic with a line break", ["a\nb", { title: "a" }]],
  ["the topic ..", ["..", { title: "a" }]],
];

for (const [what, details] of UNPUBLISHABLE) {
  for (const leads of [true, false]) {
    test(`${what} is rejected alone, and never sent: in a tab that ${leads ? "leads" : "follows"}`, async (t) => {
      const tick = stopClock(t);
      new FakeBrowser(t);
      const service = new FakeService();
      const options = { getToken: async () => tokenOf("alice"), topics: ["room"] };
      const tabs = [await service.connected(options), service.client(options)];
      tabs[1].notifier.connect();
      await settled();
      await assert.rejects(tabs[leads ? 0 : 1].notifier.publish(...details));
      service.close(1006);
      await tick(500);
      await service.accept({ connection: "c2", lost: ["topic:room"] });
      await settled();
      for (const { of, notifier } of tabs) {
        assert.deepEqual(of("lost"), [[{ channels: ["topic:room"] }]]);
        assert.equal(notifier.connection, "c2");
      }
      assert.deepEqual(service.socket.heard("publish"), []);
    });
  }
}

test("the JSON of a publication is that of its tab, whichever tab leads", async (t) => {
  stopClock(t);
  new FakeBrowser(t);
  const service = new FakeService();
  const options = { getToken: async () => tokenOf("alice") };
  const tabs = [await service.connected(options), service.client(options)];
  tabs[1].notifier.connect();
  await settled();
  const price = { amount: 5, toJSON: () => "5 EUR" };
  const proxy = new Proxy({ list: [1], left: undefined, run() {} }, {}); // as of Vue: no structured clone of it exists
  const data = { price, proxy, link: new URL("https://a.example/x"), at: new Date(0), map: new Map([[1, 2]]) };
  for (const { notifier } of tabs) notifier.publish("room", { title: "a", data }).catch(() => {});
  data.price = "changed later";
  await settled();
  const expected = { price: "5 EUR", proxy: { list: [1] }, link: "https://a.example/x", at: "1970-01-01T00:00:00.000Z", map: {} };
  const sent = service.socket.heard("publish").map(({ notification }) => notification.data);
  assert.deepEqual(sent, [expected, expected]);
});

test("a notification that is too long for the service is rejected alone, and the stream goes on", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, events } = await service.connected();
  const long = notifier.publish("room", { body: "語".repeat(40_000) });
  const short = notifier.publish("room", { body: "x".repeat(50_000) }); // fewer bytes, and more characters
  service.close(1009, "message too big");
  await assert.rejects(long, { code: "body_too_large" });
  assert.equal(notifier.state, "connected"); // the service is well, so the next connection needs no pause
  await service.accept({ connection: "c2", lost: ["all"] });
  assert.equal(service.socket.heard("publish").length, 1);
  answer(service);
  assert.equal((await short).id, "n1");
  assert.deepEqual(events.at(-1), ["lost", { channels: ["all"] }]);
  await assert.rejects(notifier.publish("room", { body: "x".repeat(200_000) }), { code: "body_too_large" }); // not sent
  assert.equal(service.socket.heard("publish").length, 1);
});

test("a message that is too long and no publication ends the stream", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  const done = notifier.publish("room", { title: "a" });
  answer(service);
  await done;
  service.close(1009, "message too big");
  assert.equal(notifier.state, "closed");
});
