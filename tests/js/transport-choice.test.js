import assert from "node:assert/strict";
import test from "node:test";
import { createTransportChoice } from "../../browser/src/transport-choice.js";
import { fakeStorage, provide } from "./fake_browser.js";
import { stopClock } from "./fake_service.js";

const [BROKEN, SILENT, TOKEN_REFUSED] = [1006, 4000, 4001];
const KEY = "notifier.transport";
const HOUR = 3_600_000; // ms

function fail(choice, code, { id, isAlive } = {}) {
  return Boolean(choice.fallsBack({ id, transport: choice.current(), isAlive }, code));
}

test("two WebSockets in a row that break or stay silent are blocked", () => {
  for (const code of [BROKEN, SILENT]) {
    const choice = createTransportChoice();
    assert.equal(fail(choice, code), false);
    assert.equal(choice.current(), "websocket");
    assert.equal(fail(choice, code), true);
    assert.equal(choice.current(), "sse");
  }
});

test("Server-Sent Events are blocked if no byte arrives", () => {
  const choice = createTransportChoice(["sse", "poll"]);
  assert.equal(fail(choice, BROKEN), false);
  assert.equal(fail(choice, SILENT, { isAlive: true }), false);
  assert.equal(choice.current(), "sse");
  assert.equal(fail(choice, SILENT), true);
  assert.equal(choice.current(), "poll");
});

test("neither a refused token, nor a break after the welcome, nor a missing token counts", () => {
  const choice = createTransportChoice();
  for (let count = 0; count < 4; count++) {
    assert.equal(fail(choice, TOKEN_REFUSED), false);
    assert.equal(fail(choice, BROKEN, { id: "c1" }), false);
    assert.equal(Boolean(choice.fallsBack({}, SILENT)), false);
  }
  assert.equal(choice.current(), "websocket");
});

test("where nothing works, the transport that worked is next", () => {
  const choice = createTransportChoice(["websocket", "sse"]);
  fail(choice, BROKEN);
  fail(choice, BROKEN);
  assert.equal(fail(choice, BROKEN), false); // of Server-Sent Events
  assert.equal(choice.current(), "websocket");
});

test("a transport that got a welcome is remembered for four hours", (t) => {
  const tick = stopClock(t);
  const { items } = provideStorage(t);
  const choice = createTransportChoice();
  fail(choice, BROKEN);
  fail(choice, BROKEN);
  assert.equal(items.get(KEY), undefined);
  choice.keep();
  assert.equal(items.get(KEY), `sse ${4 * HOUR}`);
  assert.equal(recalled(), "sse");
  tick.sleepUntil(4 * HOUR);
  assert.equal(recalled(), "websocket");
});

test("a stored transport that cannot be used, or no storage, is the first one", (t) => {
  provideStorage(t).setItem(KEY, `telepathy ${Date.now() + HOUR}`);
  assert.equal(recalled(), "websocket");
  provide(t, "localStorage", undefined);
  assert.equal(recalled(), "websocket");
});

test("a welcome ends the count of refused WebSockets", () => {
  const choice = createTransportChoice();
  fail(choice, BROKEN);
  choice.keep();
  assert.equal(fail(choice, BROKEN), false);
});

function provideStorage(t) {
  const storage = fakeStorage();
  provide(t, "localStorage", storage);
  return storage;
}

function recalled() {
  const choice = createTransportChoice();
  choice.recall();
  return choice.current();
}
