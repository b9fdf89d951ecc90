import assert from "node:assert/strict";
import test from "node:test";
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

test("publish() rejects with the problem, and that is no error event", async (t) => {
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

test("what had no answer is repeated under the same key after a reconnect, and resolves once", async (t) => {
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

test("what is published before the connection is there is sent with it", async (t) => {
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

test("a tab hears its own notification, unless it wants no echo", async (t) => {
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

test("what waits for the answer of a silent publication comes if that is refused", async (t) => {
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

test("what is published in the callback of connected is sent once", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.on("state", ({ current }) => current === "connected" && notifier.publish("orders", {}));
  notifier.connect();
  await service.accept();
  assert.equal(service.socket.heard("publish").length, 1);
  service.say({ type: "ok", ref: service.socket.heard("publish")[0].ref, id: "a", cursor: "2000-0" });
});
