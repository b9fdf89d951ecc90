import assert from "node:assert/strict";
import test from "node:test";
import { createTransportChoice } from "../../browser/src/transport-choice.js";
import { chance, shareOf } from "./courses.js";
import { fakeStorage, provide } from "./fake_browser.js";
import { stopClock } from "./fake_service.js";

const [BROKEN, SILENT, TOKEN_REFUSED] = [1006, 4000, 4001];
const KEY = "notifier.transport";
const [MINUTE, HOUR] = [60_000, 3_600_000]; // ms
const LONGEST = 4 * HOUR;
const SEEDS = Number(process.env.SEEDS ?? shareOf(200));

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

test("a fallback that got a welcome is used for a minute, also by the next page", (t) => {
  const tick = stopClock(t);
  const { items } = provideStorage(t);
  const choice = createTransportChoice();
  failTwice(choice);
  assert.equal(items.get(KEY), undefined);
  choice.keep();
  assert.equal(items.get(KEY), `sse ${MINUTE} ${MINUTE}`);
  assert.equal(choice.triesIn(), MINUTE);
  assert.equal(recalled(), "sse");
  tick.sleepUntil(MINUTE - 1);
  assert.equal(choice.current(), "sse");
  assert.equal(recalled(), "sse");
  tick.sleepUntil(MINUTE);
  assert.equal(recalled(), "websocket");
  assert.equal(choice.current(), "websocket");
});

test("a trial that fails is repeated after twice the time, at most four hours", (t) => {
  const tick = stopClock(t);
  provideStorage(t);
  const choice = createTransportChoice();
  failTwice(choice);
  choice.keep();
  const pauses = [];
  let now = 0;
  for (let number = 0; number < 10; number++) {
    pauses.push(choice.triesIn() / MINUTE);
    now += choice.triesIn();
    tick.sleepUntil(now);
    assert.equal(choice.current(), "websocket");
    assert.equal(fail(choice, BROKEN), true); // one failure is enough: the fallback is known to work
    assert.equal(choice.current(), "sse");
    choice.keep();
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 240, 240]);
});

test("a trial that succeeds forgets the fallback and its time", (t) => {
  const tick = stopClock(t);
  const { items } = provideStorage(t);
  const choice = createTransportChoice();
  for (const end of [MINUTE, 2 * MINUTE]) {
    failTwice(choice);
    choice.keep();
    assert.equal(choice.triesIn(), MINUTE);
    tick.sleepUntil(end);
    assert.equal(choice.current(), "websocket");
    choice.keep();
    assert.equal(choice.triesIn(), Infinity);
    assert.deepEqual([...items], []);
  }
  assert.equal(fail(choice, BROKEN), false);
});

test("a service that ends a trial with a code of its own is tried again after twice the time", (t) => {
  const tick = stopClock(t);
  for (const code of [TOKEN_REFUSED, 4005]) {
    tick.sleepUntil(0);
    const choice = createTransportChoice();
    failTwice(choice);
    choice.keep();
    tick.sleepUntil(MINUTE);
    assert.equal(choice.current(), "websocket");
    assert.equal(fail(choice, code), false);
    assert.equal(choice.current(), "sse");
    choice.keep();
    assert.equal(choice.triesIn(), 2 * MINUTE);
  }
});

test("a proxy that ends a trial with another code does not end the stream", (t) => {
  const tick = stopClock(t);
  const choice = createTransportChoice();
  failTwice(choice);
  choice.keep();
  tick.sleepUntil(MINUTE);
  assert.equal(choice.current(), "websocket");
  assert.equal(fail(choice, 1002), true);
});

test("a trial goes through all transports: polls end, too, where events are no longer kept back", (t) => {
  const tick = stopClock(t);
  const choice = createTransportChoice();
  failTwice(choice);
  fail(choice, SILENT);
  choice.keep();
  assert.equal(choice.current(), "poll");
  tick.sleepUntil(MINUTE);
  assert.equal(choice.current(), "websocket");
  assert.equal(fail(choice, SILENT), true);
  assert.equal(choice.current(), "sse");
  choice.keep();
  assert.equal(choice.current(), "sse");
});

test("the time of a page that is closed goes on in the next one, unless that is long after it", (t) => {
  const tick = stopClock(t);
  const storage = provideStorage(t);
  for (const [until, now, pause] of [[20 * MINUTE, 20 * MINUTE, 16], [20 * MINUTE, 20 * MINUTE + LONGEST, 1]]) {
    storage.setItem(KEY, `sse ${until} ${8 * MINUTE}`);
    tick.sleepUntil(now);
    const choice = createTransportChoice();
    choice.recall();
    assert.equal(choice.current(), "websocket");
    assert.equal(fail(choice, BROKEN), false); // two failures again: the service may be down
    assert.equal(fail(choice, BROKEN), true);
    choice.keep();
    assert.equal(choice.triesIn(), pause * MINUTE);
  }
});

test("a clock that was set back, or an entry without a time, keeps no page from its trial", (t) => {
  const tick = stopClock(t);
  const storage = provideStorage(t);
  tick.sleepUntil(HOUR);
  for (const entry of [`sse ${900 * HOUR} ${MINUTE}`, `sse ${5 * HOUR}`]) {
    storage.setItem(KEY, entry);
    const choice = createTransportChoice();
    choice.recall();
    assert.equal(choice.current(), "sse");
    assert.equal(choice.triesIn(), MINUTE);
  }
});

test(`a client returns to WebSockets and does not hammer: ${SEEDS} random courses`, (t) => {
  const tick = stopClock(t);
  for (let seed = 1; seed <= SEEDS; seed++) course(chance(seed), tick, provideStorage(t));
});

/**
 * A network in which each transport works, is blocked, or breaks with the service, in any order and for any time. The
 * client connects anew at random times and when a trial is due; its page is sometimes loaded again.
 */
function course(random, tick, { items }) {
  const names = ["websocket", "sse", "poll"];
  let now = 0;
  let choice = createTransportChoice();
  let blocked = new Set();
  let isDown = false;
  let connected; // the transport
  let tried = 0; // WebSockets that failed while the service was up
  const pass = (ms) => tick.sleepUntil((now += ms));

  function connect() {
    connected = undefined;
    for (let attempt = 0; attempt < 8 && !connected; attempt++) {
      const name = choice.current();
      if (isDown && !random(10)) isDown = false; // at any moment, also between two transports
      if (isDown || blocked.has(name)) {
        const code = isDown || name !== "sse" ? [BROKEN, SILENT][random(2)] : SILENT;
        if (!isDown && name === "websocket") tried++;
        fail(choice, code, { isAlive: isDown && name !== "websocket" });
        pass(random(500));
      } else {
        choice.keep();
        connected = name;
      }
    }
  }

  pass(0);
  items.clear();
  for (let step = 0; step < 60; step++) {
    const what = random(6);
    if (what === 0) isDown = true;
    if (what === 1) blocked = new Set(names.slice(0, 2).filter(() => random(2)));
    if (what === 2) (choice = createTransportChoice()).recall();
    if (what === 3) pass(random(20 * MINUTE));
    if (what > 3) pass(random(MINUTE));
    connect();
  }

  // Nothing changes from now on: trials become rare where WebSockets are blocked.
  isDown = false;
  blocked = new Set(["websocket"]);
  for (let attempt = 0; attempt < 4; attempt++) connect();
  tried = 0;
  const end = now + 24 * HOUR;
  while (now < end) {
    pass(Math.max(choice.triesIn(), 1));
    connect();
    assert.equal(connected, "sse");
  }
  assert.ok(tried <= 8 + 24 / 4 + 1, `${tried} trials in a day`);

  // A restart of the service: the fallback got a welcome once, and WebSockets work again a moment later.
  blocked.clear();
  pass(choice.triesIn());
  connect();
  assert.equal(connected, "websocket");
  failTwice(choice);
  if (choice.current() !== "sse") failTwice(choice);
  choice.keep();
  assert.ok(choice.triesIn() <= MINUTE);
  pass(choice.triesIn());
  connect();
  assert.equal(connected, "websocket");
}

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

function failTwice(choice) {
  fail(choice, BROKEN);
  fail(choice, BROKEN);
}

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
