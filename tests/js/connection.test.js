import assert from "node:assert/strict";
import test from "node:test";
import { Notifier } from "../../browser/src/notifier.js";
import { provide } from "./fake_browser.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

test("the first frame is a hello with the token and the topics", async (t) => {
  stopClock(t);
  const service = new FakeService();
  await service.connected({ topics: ["orders"] });
  const { url, subprotocol, sent } = service.socket;
  assert.equal(url, "ws://127.0.0.1/v1/stream");
  assert.equal(subprotocol, "notifier.v1");
  assert.deepEqual(sent, [{ type: "hello", token: "token-1", topics: ["orders"] }]);
});

test("without getToken the hello has no token: a cookie identifies the user", async (t) => {
  stopClock(t);
  const service = new FakeService();
  await service.connected({ getToken: undefined });
  assert.deepEqual(service.socket.sent, [{ type: "hello", topics: [] }]);
});

test("the states of an ordinary connection are reported in order", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client();
  assert.equal(notifier.state, "idle");
  notifier.connect();
  assert.equal(notifier.state, "connecting");
  await service.accept();
  assert.equal(notifier.state, "connected");
  assert.equal(notifier.connection, "c1");
  service.close(1006);
  assert.equal(notifier.connection, undefined);
  await tick(500);
  notifier.disconnect();
  assert.deepEqual(of("state").map(([{ current }]) => current), [
    "connecting",
    "connected",
    "reconnecting",
    "connecting",
    "idle",
  ]);
  assert.deepEqual(of("state")[2], [
    { current: "reconnecting", previous: "connected", reason: "1006", retryInMs: 500 },
  ]);
});

test("retries wait longer and longer, within the jitter's bounds, and never end", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client();
  notifier.connect();
  await settled();
  for (let failure = 0; failure < 40; failure++) {
    service.close(1006);
    await tick(of("state").at(-1)[0].retryInMs);
  }
  assert.equal(service.dialled.length, 41);
  const waits = of("state").flatMap(([{ retryInMs }]) => retryInMs ?? []);
  assert.deepEqual(waits.slice(0, 7), [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
});

test("the retry delay is reset only after a connection was stable for 30 seconds", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  const wait = () => of("state").at(-1)[0].retryInMs;
  service.close(1006);
  await tick(wait());
  await service.accept();
  await tick(29_999);
  service.close(1006);
  assert.equal(wait(), 1_000);
  await tick(wait());
  await service.accept();
  await tick(30_000);
  service.close(1006);
  assert.equal(wait(), 500);
});

for (const code of [1001, 1006, 1011, 1012, 4000, 4002, 4003, 4499]) {
  test(`after ${code} the client reconnects`, async (t) => {
    const tick = stopClock(t);
    const service = new FakeService();
    const { notifier } = await service.connected();
    service.close(code, "why");
    assert.equal(notifier.state, "reconnecting");
    await tick(1_000);
    assert.equal(service.dialled.length, 2);
  });
}

for (const code of [1002, 1007, 1009, 4500, 4501, 4502, 4999]) {
  test(`after ${code} the client does not reconnect until connect() is called`, async (t) => {
    const tick = stopClock(t);
    const service = new FakeService();
    const { notifier, of } = await service.connected();
    service.close(code, "why");
    assert.equal(notifier.state, "closed");
    assert.equal(of("state").at(-1)[0].reason, `${code} why`);
    await tick(2 ** 31);
    assert.equal(service.dialled.length, 1);
    notifier.connect();
    await service.accept();
    assert.equal(notifier.state, "connected");
  });
}

for (const code of [4004, 4005]) test(`an overloaded service, or a limit (${code}), gets more time`, async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  service.close(code);
  assert.equal(of("state").at(-1)[0].retryInMs, 4_000);
});

test("after a drain the client reconnects at the time that the service named", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  service.say({ type: "drain", retry_after_ms: 7_000 });
  service.close(1012);
  assert.equal(of("state").at(-1)[0].retryInMs, 7_000);
  await tick(6_999);
  assert.equal(service.dialled.length, 1);
  await tick(1);
  assert.equal(service.dialled.length, 2);
});

test("a drain counts for one close only", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  service.say({ type: "drain", retry_after_ms: 7_000 });
  service.close(1012);
  await tick(7_000);
  service.close(1006);
  assert.equal(of("state").at(-1)[0].retryInMs, 500);
});

test("a wait too long for a timer is cut, and does not fire at once", async (t) => {
  const delays = t.mock.method(globalThis, "setTimeout", () => 0).mock;
  const service = new FakeService();
  await service.connected();
  service.say({ type: "drain", retry_after_ms: 2 ** 40 });
  service.close(1012);
  assert.equal(delays.calls.at(-1).arguments[1], 2 ** 31 - 1);
});

test("a connection that receives nothing for two heartbeats is dead", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected();
  const first = service.socket;
  await tick(49_999);
  assert.equal(notifier.state, "connected");
  await tick(1);
  assert.equal(notifier.state, "reconnecting");
  assert.equal(of("state").at(-1)[0].reason, "4000 heartbeat lost");
  assert.equal(first.closedWith, 1000);
  await tick(500);
  assert.equal(service.dialled.length, 2);
});

test("any frame counts as a sign of life", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  for (const frame of [{ type: "ping" }, { type: "of a later version" }, { type: "ping" }]) {
    await tick(49_999);
    service.say(frame);
  }
  assert.equal(notifier.state, "connected");
});

test("a connection that is accepted but receives nothing is closed after 30 seconds", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client();
  notifier.connect();
  await settled();
  service.socket.onopen({});
  await tick(30_000);
  assert.equal(of("state").at(-1)[0].reason, "4000 no answer");
  await tick(500);
  assert.equal(service.dialled.length, 2);
});

test("a short heartbeat does not hurry the next handshake", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.connect();
  await service.accept({ heartbeat: 1 });
  service.close(1006);
  await tick(500);
  await tick(9_999);
  assert.equal(notifier.state, "connecting");
});

test("frames of a connection that the client has closed are ignored", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, titles } = await service.connected();
  const old = service.socket;
  await tick(50_000);
  await tick(500);
  await service.accept();
  const frame = { type: "notification", cursor: "2000-0", channel: "all", notification: { id: "late" } };
  old.onmessage({ data: JSON.stringify(frame) });
  old.onclose({ code: 4501, reason: "" });
  assert.deepEqual(titles(), []);
  assert.equal(notifier.state, "connected");
});

test("disconnect() closes the connection, reports it once, and does not reconnect", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected();
  notifier.disconnect();
  notifier.disconnect();
  assert.deepEqual(of("state").map(([{ current }]) => current), ["connecting", "connected", "idle"]);
  assert.equal(service.socket.closedWith, 1000);
  assert.equal(notifier.state, "idle");
  await tick(2 ** 31);
  assert.equal(service.dialled.length, 1);
});

test("disconnect() while the token is fetched dials nothing", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.connect();
  notifier.disconnect();
  await settled();
  assert.equal(service.dialled.length, 0);
  assert.equal(notifier.state, "idle");
});

test("a token that fails after disconnect() changes nothing", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client({ getToken: () => Promise.reject(new Error("signed out")) });
  notifier.connect();
  notifier.disconnect();
  await settled();
  assert.equal(notifier.state, "idle");
  assert.deepEqual(of("error"), []);
});

test("connect() twice makes one connection", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.connect();
  notifier.connect();
  await service.accept();
  notifier.connect();
  await settled();
  assert.equal(service.dialled.length, 1);
});

test("connect() while the client waits is the next try, in place of the one it waited for", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.close(1006);
  notifier.connect();
  await service.accept();
  await tick(1_000);
  assert.equal(notifier.state, "connected");
  assert.equal(service.dialled.length, 2);
});

for (const event of ["online", "pageshow", "resume", "visibilitychange"]) {
  test(`a client that waits hurries on ${event}, and only until disconnect()`, async (t) => {
    stopClock(t);
    const page = fakePage(t);
    const service = new FakeService();
    const { notifier } = await service.connected();
    page.dispatchEvent(new Event(event));
    await settled();
    assert.equal(service.dialled.length, 1);
    service.close(1006);
    page.dispatchEvent(new Event(event));
    await settled();
    assert.equal(service.dialled.length, 2);
    service.close(1006);
    notifier.disconnect();
    page.dispatchEvent(new Event(event));
    await settled();
    assert.equal(service.dialled.length, 2);
  });
}

test("a page that is being hidden does not hurry", async (t) => {
  stopClock(t);
  const page = fakePage(t);
  const service = new FakeService();
  await service.connected();
  service.close(1006);
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.equal(service.dialled.length, 1);
});

for (const [end, begin] of [["pagehide", "pageshow"], ["freeze", "resume"]]) {
  test(`a suspended page (${end}) has no connection, and resumes on ${begin}`, async (t) => {
    const tick = stopClock(t);
    const page = fakePage(t);
    const service = new FakeService();
    const { notifier } = await service.connected();
    service.notify("a", "2000-0");
    page.dispatchEvent(new Event(end));
    assert.equal(service.socket.closedWith, 1000);
    assert.equal(notifier.getSnapshot().reason, "asleep");
    await tick(60_000);
    assert.equal(service.dialled.length, 1);
    page.dispatchEvent(new Event(begin));
    await service.accept();
    assert.equal(service.socket.heard("hello")[0].since, "2000-0");
  });
}

test("after a sleep of the machine the connection is looked at, at once or when a timer comes", async (t) => {
  const tick = stopClock(t);
  const page = fakePage(t);
  const service = new FakeService();
  const { notifier, of } = await service.connected();
  tick.sleepUntil(3_600_000);
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(notifier.state, "reconnecting");
  assert.equal(of("state").at(-1)[0].reason, "4000 heartbeat lost");
  await tick(500);
  await service.accept();
  tick.sleepUntil(7_200_000);
  await tick(5_000);
  assert.equal(of("state").at(-1)[0].reason, "4000 heartbeat lost");
});

test("a short sleep costs nothing", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  tick.sleepUntil(30_000);
  await tick(5_000);
  assert.equal(notifier.state, "connected");
});

test("without network the state is offline, and the client tries all the same", async (t) => {
  const tick = stopClock(t);
  provide(t, "navigator", { onLine: false });
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.close(1006);
  assert.equal(notifier.state, "offline");
  await tick(500);
  assert.equal(service.dialled.length, 2);
});

test("a connection is given up with its network, and opened again as soon as there is another", async (t) => {
  stopClock(t);
  const page = fakePage(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.notify("a", "2000-0");
  provide(t, "navigator", { onLine: false });
  page.dispatchEvent(new Event("offline"));
  assert.equal(notifier.state, "offline");
  assert.equal(service.socket.closedWith, 1000);
  page.dispatchEvent(new Event("online"));
  await service.accept();
  assert.equal(notifier.state, "connected");
  assert.equal(service.socket.heard("hello")[0].since, "2000-0");
});

test("the module asks nothing of its surroundings until a Notifier is made", () => {
  assert.throws(() => new Notifier(), TypeError); // no page here: the path has no base
});

test("an event that does not exist cannot be listened to", () => {
  const { notifier } = new FakeService().client();
  assert.throws(() => notifier.on("notifcation", () => {}), TypeError);
});

/** One EventTarget that serves as both window and document. */
function fakePage(t) {
  const page = new EventTarget();
  page.hidden = false;
  provide(t, "document", page);
  provide(t, "addEventListener", page.addEventListener.bind(page));
  return page;
}

test("connect() in a callback of a notification changes nothing", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  notifier.on("notification", () => notifier.connect());
  service.notify("a", "2000-0");
  await settled();
  assert.equal(service.dialled.length, 1);
});

for (const text of ["{", "", "null", "5", '"text"', "[]", '{"type":"notification"}', '{"type":"lost"}', '{"type":"__proto__"}']) {
  test(`the frame ${text} is skipped, and the stream goes on`, async (t) => {
    const tick = stopClock(t);
    t.mock.method(console, "error", () => {});
    const service = new FakeService();
    const { notifier, titles, of } = await service.connected();
    service.socket.onmessage({ data: text });
    service.notify("a", "2000-0");
    assert.deepEqual(titles(), ["a"]);
    assert.equal(notifier.state, "connected");
    for (const [problem] of of("error")) assert.equal(problem.code, "unreadable_frame");
    service.close(1006);
    await tick(500);
    await service.accept({ connection: "c2", lost: ["all"] });
    assert.deepEqual(of("lost"), [[{ channels: ["all"] }]]);
  });
}

test("pages are notified of a frame that cannot be read", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  service.socket.onmessage({ data: '{"type":"notification","data":' });
  assert.equal(of("error").length, 1);
  assert.match(of("error")[0][0].detail, /SyntaxError/);
});

test("numbers that no double holds are read", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { of } = await service.connected();
  const notification = `{"id":"a","title":"a","data":${"9".repeat(5_000)}}`;
  service.socket.onmessage({ data: `{"type":"notification","cursor":"2000-0","channel":"all","notification":${notification}}` });
  assert.equal(of("notification")[0][0].data, Infinity);
});
