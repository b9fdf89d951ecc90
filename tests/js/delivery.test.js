import assert from "node:assert/strict";
import test from "node:test";
import { fakeStorage } from "./fake_browser.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

/** Breaks the connection, and welcomes the one that follows; returns the hello of that one. */
async function reconnect(service, tick, welcome) {
  service.close(1006);
  await tick(1_000);
  await service.accept(welcome);
  return service.socket.heard("hello")[0];
}

test("a notification comes with its channel, its cursor and whether it is a replay", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  service.notify("a", "2000-0");
  service.notify("b", "2000-1", { channel: "all", replay: true });
  const [first, second] = of("notification");
  assert.equal(first[0].title, "a");
  assert.deepEqual(first[1], { channel: "user:alice", cursor: "2000-0", replay: false });
  assert.deepEqual(second[1], { channel: "all", cursor: "2000-1", replay: true });
});

test("the client resumes from the highest cursor that it received", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.notify("a", "9999-2");
  service.notify("b", "10000-10");
  service.notify("c", "10000-9");
  assert.equal(notifier.cursor, "10000-10");
  assert.equal((await reconnect(service, tick)).since, "10000-10");
});

test("a recall moves the cursor too", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected();
  service.say({ type: "removed", cursor: "3000-0", channel: "user:alice", id: "a" });
  assert.deepEqual(of("removed"), [[{ id: "a", channel: "user:alice" }]]);
  assert.equal(notifier.cursor, "3000-0");
});

test("a client that received nothing resumes from its first welcome", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  assert.equal((await reconnect(service, tick, { cursor: "5000-0" })).since, "1000-0");
  assert.equal((await reconnect(service, tick)).since, "1000-0");
});

test("a replay that was cut is resumed from what came, not from the welcome", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  await reconnect(service, tick, { cursor: "5000-0" });
  service.notify("a", "2000-0", { replay: true });
  assert.equal((await reconnect(service, tick)).since, "2000-0");
});

test("disconnect() and connect() resume", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.notify("a", "2000-0");
  notifier.disconnect();
  notifier.connect();
  await service.accept();
  assert.equal(service.socket.heard("hello")[0].since, "2000-0");
});

test("with a storage a new page resumes where the old one was", async (t) => {
  stopClock(t);
  const storage = fakeStorage();
  const before = new FakeService();
  await before.connected({ storage });
  before.notify("a", "2000-0");
  const after = new FakeService();
  await after.connected({ storage });
  assert.equal(after.socket.heard("hello")[0].since, "2000-0");
});

test("a storage that is full stops nothing", async (t) => {
  stopClock(t);
  const storage = fakeStorage();
  storage.setItem = () => {
    throw new Error("full");
  };
  const service = new FakeService();
  const { titles, notifier } = await service.connected({ storage });
  service.notify("a", "2000-0");
  assert.deepEqual(titles(), ["a"]);
  assert.equal(notifier.cursor, "2000-0");
});

test("the overlap of a resumed stream is delivered once", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { titles } = await service.connected();
  service.notify("a", "2000-0");
  service.notify("b", "2001-0");
  await reconnect(service, tick);
  for (const [id, cursor] of [["a", "2000-0"], ["b", "2001-0"], ["c", "2002-0"]]) {
    service.notify(id, cursor, { replay: true });
  }
  assert.deepEqual(titles(), ["a", "b", "c"]);
});

test("a notification to two of the client's channels is delivered once", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { titles } = await service.connected();
  service.notify("a", "2000-0");
  service.notify("a", "2000-1", { channel: "all" });
  assert.deepEqual(titles(), ["a"]);
});

test("an older cursor does not keep a new notification from delivery", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { titles } = await service.connected();
  service.notify("late", "900-0");
  assert.deepEqual(titles(), ["late"]);
});

test("the page is notified of lost channels after its state event", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { of, events } = await service.connected();
  assert.deepEqual(of("lost"), []);
  await reconnect(service, tick, { lost: ["user:alice", "all"] });
  assert.deepEqual(of("lost"), [[{ channels: ["user:alice", "all"] }]]);
  assert.deepEqual(events.slice(-2).map(([name]) => name), ["state", "lost"]);
});

test("a callback that throws does not keep others from theirs, nor the next notification", async (t) => {
  stopClock(t);
  const log = t.mock.method(console, "error", () => {}).mock;
  const service = new FakeService();
  const { notifier } = await service.connected();
  const delivered = [];
  notifier.on("notification", () => {
    throw new Error("a fault of the page");
  });
  notifier.on("notification", ({ id }) => delivered.push(id));
  service.notify("a", "2000-0");
  service.notify("b", "2001-0");
  assert.deepEqual(delivered, ["a", "b"]);
  assert.equal(log.calls.length, 2);
  assert.equal(log.calls[0].arguments[1].message, "a fault of the page");
});

test("a callback may disconnect in the middle of anything", async (t) => {
  const tick = stopClock(t);
  for (const when of ["connecting", "connected", "reconnecting"]) {
    const service = new FakeService();
    const { notifier } = service.client({ topics: ["orders"] });
    notifier.on("state", ({ current }) => current === when && notifier.disconnect());
    notifier.connect();
    await settled();
    if (service.socket) await service.accept();
    if (when === "reconnecting") service.close(1006);
    await tick(2 ** 31);
    assert.equal(notifier.state, "idle");
    assert.equal(service.dialled.length, when === "connecting" ? 0 : 1);
  }
});

test("on() returns what ends it", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  const delivered = [];
  const off = notifier.on("notification", ({ id }) => delivered.push(id));
  service.notify("a", "2000-0");
  off();
  service.notify("b", "2001-0");
  assert.deepEqual(delivered, ["a"]);
});

test("a storage that cannot be read stops nothing", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const getItem = () => {
    throw new Error("forbidden");
  };
  const { notifier } = await service.connected({ storage: { getItem, setItem() {} } });
  assert.equal(notifier.cursor, "1000-0");
});

test("an invalid stored cursor is ignored", async (t) => {
  stopClock(t);
  for (const stored of ["", "yesterday", "5", "1-0\n", {}, Promise.resolve("5-0"), 5, null]) {
    const service = new FakeService();
    const { notifier } = await service.connected({ storage: { getItem: () => stored, setItem() {} } });
    assert.equal(service.socket.heard("hello")[0].since, undefined);
    assert.equal(notifier.cursor, "1000-0");
  }
});
