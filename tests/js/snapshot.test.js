import assert from "node:assert/strict";
import test from "node:test";
import { FakeService, stopClock } from "./fake_service.js";

test("the snapshot is frozen, and the same object while nothing changes", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  const idle = notifier.getSnapshot();
  assert.equal(idle, notifier.getSnapshot());
  assert.deepEqual({ ...idle }, { state: "idle", connected: false });
  notifier.connect();
  await service.accept();
  const connected = notifier.getSnapshot();
  assert.equal(connected.connected, true);
  assert.equal(connected.transport, "websocket");
  service.notify("a", "2000-0");
  notifier.connect();
  assert.equal(notifier.getSnapshot(), connected);
  assert.ok(Object.isFrozen(connected));
  service.close(1006, "gone");
  const { state, reason, retryInMs } = notifier.getSnapshot();
  assert.deepEqual([state, reason, retryInMs], ["reconnecting", "1006 gone", 500]);
  await tick(0);
});

test("a subscriber is called when the snapshot is another, until it ends that", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  const { subscribe, getSnapshot } = notifier; // as React calls them
  const states = [];
  const end = subscribe(() => states.push(getSnapshot().state));
  notifier.connect();
  await service.accept();
  service.notify("a", "2000-0");
  end();
  notifier.disconnect();
  assert.deepEqual(states, ["connecting", "connected"]);
});

test("after a replay one event contains the number of notifications", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { of, events } = await service.connected();
  service.notify("a", "2000-0");
  service.say({ type: "ping", cursor: "2000-0" });
  assert.deepEqual(of("replayed"), []);
  service.close(1006);
  await tick(500);
  await service.accept({ lost: ["all"] });
  service.notify("a", "2000-0", { replay: true });
  service.notify("b", "2001-0", { replay: true });
  service.notify("c", "2002-0", { replay: true });
  service.say({ type: "ping" });
  assert.deepEqual(of("replayed"), []);
  service.say({ type: "ping", cursor: "2002-0" });
  service.say({ type: "ping", cursor: "2003-0" });
  assert.deepEqual(of("replayed"), [[{ count: 2, lost: ["all"] }]]);
  assert.deepEqual(events.at(-1)[0], "replayed");
});

test("counts are passed on, whatever frame brings them", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client();
  notifier.connect();
  await service.accept({ counts: { unread: 3 } });
  service.say({ type: "counts", counts: { unread: 2 } });
  assert.deepEqual(of("counts"), [[{ unread: 3 }], [{ unread: 2 }]]);
});
