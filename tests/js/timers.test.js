import assert from "node:assert/strict";
import test from "node:test";
import { createTimers, createWatchdog } from "../../browser/src/timers.js";
import { stopClock } from "./fake_service.js";

test("an action has one timer, and the last call counts", async (t) => {
  const tick = stopClock(t);
  const timers = createTimers();
  let calls = 0;
  const action = () => calls++;
  timers.after(1_000, action);
  timers.after(2_000, action);
  assert.ok(timers.has(action));
  await tick(1_000);
  assert.equal(calls, 0);
  await tick(1_000);
  assert.equal(calls, 1);
  assert.ok(!timers.has(action));
});

test("stopped timers do not fire", async (t) => {
  const tick = stopClock(t);
  const timers = createTimers();
  timers.after(1_000, () => assert.fail());
  timers.stop();
  await tick(1_000);
});

test("a timer longer than browsers can take does not fire at once", async (t) => {
  const tick = stopClock(t);
  const timers = createTimers();
  const action = () => assert.fail();
  timers.after(2 ** 40, action);
  await tick(60_000);
  assert.ok(timers.has(action));
  timers.stop();
});

test("the watchdog expires after the silence that is allowed", async (t) => {
  const tick = stopClock(t);
  let expired = 0;
  const watchdog = createWatchdog(createTimers(), () => expired++);
  watchdog.allow(12_000);
  await tick(5_000);
  watchdog.reset();
  await tick(5_000);
  await tick(5_000);
  assert.equal(expired, 0);
  await tick(2_000);
  assert.equal(expired, 1);
});

test("it looks at the clock, because timers stop while the machine sleeps", async (t) => {
  const tick = stopClock(t);
  let expired = 0;
  const watchdog = createWatchdog(createTimers(), () => expired++);
  watchdog.allow(12_000);
  tick.sleepUntil(60_000);
  assert.equal(expired, 0);
  watchdog.look();
  assert.equal(expired, 1);
});

test("a clock that was set back counts as silence, too", async (t) => {
  const tick = stopClock(t);
  let expired = 0;
  tick.sleepUntil(100_000);
  const watchdog = createWatchdog(createTimers(), () => expired++);
  watchdog.allow(12_000);
  tick.sleepUntil(10_000);
  watchdog.look();
  assert.equal(expired, 1);
});
