import assert from "node:assert/strict";
import test from "node:test";
import { FakeBrowser, fakeStorage, provide, tokenOf } from "./fake_browser.js";
import { FakeHttp, notification, welcome } from "./fake_http.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

const transports = ["websocket", "sse", "poll"];
const KEY = "notifier.transport";

function start(t, options) {
  const tick = stopClock(t);
  const http = new FakeHttp(t);
  const service = new FakeService();
  const client = service.client({ transports, ...options });
  return { tick, http, service, ...client };
}

/** As start(), and connected by Server-Sent Events. */
async function streaming(t, options) {
  const client = start(t, { transports: ["sse"], ...options });
  client.notifier.connect();
  await settled();
  await client.http.latest.stream();
  await client.http.latest.text("retry: 1234\n\n");
  await client.http.latest.event(welcome());
  return client;
}

/** As start(), and connected by long polls, of which the second waits. */
async function polling(t, options) {
  const client = start(t, { transports: ["poll"], ...options });
  client.notifier.connect();
  await settled();
  await client.http.latest.frames(welcome(), { type: "ping", cursor: "1000-0" });
  return client;
}

function provideStorage(t) {
  const storage = fakeStorage();
  provide(t, "localStorage", storage);
  return storage.items;
}

async function refuseTwice(service, tick) {
  await settled();
  service.close(1006);
  await tick(500);
  service.close(1006);
  await settled();
}

test("where WebSockets fail twice and HTTP works, the stream comes by Server-Sent Events", async (t) => {
  const { tick, http, service, notifier, titles } = start(t, { topics: ["orders"] });
  notifier.connect();
  await refuseTwice(service, tick);
  assert.equal(http.requests.length, 1);
  const { path, query, accept, options } = http.latest;
  assert.equal(path, "/v1/stream");
  assert.deepEqual([...query], [["topic", "orders"]]);
  assert.equal(accept, "text/event-stream");
  assert.equal(options.headers.Authorization, "Bearer token-1");
  assert.equal(options.credentials, "omit");
  await http.latest.stream();
  await http.latest.text("retry: 1234\n\n");
  await http.latest.event(welcome());
  assert.equal(notifier.state, "connected");
  assert.equal(notifier.getSnapshot().transport, "sse");
  await http.latest.event(notification("a", "2000-0"));
  assert.deepEqual(titles(), ["a"]);
  assert.equal(notifier.cursor, "2000-0");
});

test("the transport that worked is remembered by the next page, until WebSockets get another chance", async (t) => {
  const items = provideStorage(t);
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  await refuseTwice(service, tick);
  await http.latest.stream();
  await http.latest.event(welcome());
  await http.latest.end();
  await tick(1_000);
  assert.equal(http.requests.length, 2);
  assert.match(items.get(KEY), /^sse \d+ 60000$/);
  notifier.disconnect();

  const next = service.client({ transports });
  next.notifier.connect();
  await settled();
  assert.equal(service.dialled.length, 2);
  assert.equal(http.requests.length, 3);
  next.notifier.disconnect();

  await tick(60_000);
  const later = service.client({ transports });
  later.notifier.connect();
  await settled();
  assert.equal(service.dialled.length, 3);
});

/** As start(), and on Server-Sent Events after a restart of the service: WebSockets failed, and then it was back. */
async function restarted(t, options) {
  const client = start(t, options);
  client.notifier.connect();
  await client.service.accept();
  client.service.notify("a", "10000-0");
  client.service.close(1012);
  for (const ms of [500, 1_000]) {
    await client.tick(ms);
    client.service.close(1006);
  }
  await settled();
  await client.http.latest.stream();
  await client.http.latest.event(welcome({ cursor: "10000-0" }));
  assert.equal(client.notifier.getSnapshot().transport, "sse");
  return client;
}

/** Lets time pass as it does with a service that pings. */
async function live({ tick }, stream, ms) {
  for (let passed = 0; passed < ms; passed += 5_000) {
    await tick(5_000);
    if (!stream.signal.aborted) await stream.text(": ping\n\n");
  }
}

test("a client that met a restart returns to WebSockets a minute later, and nothing is lost or doubled", async (t) => {
  const items = provideStorage(t);
  const client = await restarted(t);
  const { http, service, notifier, titles, of } = client;
  const states = of("state").length;
  const stream = http.latest;
  await stream.event(notification("b", "11000-0"));
  await live(client, stream, 55_000);
  const dialled = service.dialled.length;
  await live(client, stream, 5_000);
  assert.equal(service.dialled.length, dialled + 1);
  assert.equal(stream.signal.aborted, true);
  await service.accept();
  assert.equal(service.socket.heard("hello")[0].since, "11000-0");
  service.notify("b", "11000-0", { replay: true });
  service.notify("c", "12000-0");
  assert.deepEqual(titles(), ["a", "b", "c"]);
  assert.equal(notifier.getSnapshot().transport, "websocket");
  assert.deepEqual(of("state").slice(states).map(([{ current }]) => current).filter((name) => name !== "connected"), []);
  assert.deepEqual([...items], []);
});

test("where WebSockets are blocked, trials become rare, and each ends with its first failure", async (t) => {
  provideStorage(t);
  const client = await restarted(t);
  const { tick, http, service, notifier, of } = client;
  const states = of("state").length;
  const pauses = [];
  for (let number = 0; number < 4; number++) {
    const before = service.dialled.length;
    let pause = 0;
    for (; service.dialled.length === before; pause += 5_000) await live(client, http.latest, 5_000);
    pauses.push(pause / 60_000);
    if (number % 2) service.close(1006);
    else for (let seconds = 0; seconds < 10; seconds += 5) await tick(5_000);
    await settled();
    assert.equal(service.dialled.length, before + 1);
    await http.latest.stream();
    await http.latest.event(welcome({ cursor: "10000-0" }));
    assert.equal(notifier.getSnapshot().transport, "sse");
  }
  assert.deepEqual(pauses, [1, 2, 4, 8]);
  assert.deepEqual(of("state").slice(states).map(([{ current }]) => current).filter((name) => name !== "connected"), []);
});

test("a topic that is joined when a trial is due is requested, and the trial comes later", async (t) => {
  const client = await restarted(t);
  const { tick, http, notifier } = client;
  notifier.join("invoices");
  await tick(0);
  assert.deepEqual(http.latest.query.getAll("topic"), ["invoices"]);
  await http.latest.stream();
  notifier.join("orders"); // before the welcome
  await http.latest.event(welcome({ cursor: "10000-0" }));
  await tick(0);
  assert.deepEqual(http.latest.query.getAll("topic"), ["invoices", "orders"]);
});

test("a storage that is forbidden stops nothing", async (t) => {
  Object.defineProperty(globalThis, "localStorage", {
    get() {
      throw new DOMException("no", "SecurityError");
    },
    configurable: true,
  });
  t.after(() => delete globalThis.localStorage);
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  await refuseTwice(service, tick);
  await http.latest.stream();
  await http.latest.event(welcome());
  assert.equal(notifier.state, "connected");
});

test("a service that is down is not taken for a proxy", async (t) => {
  const items = provideStorage(t);
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  await refuseTwice(service, tick);
  http.latest.fail();
  await settled();
  assert.equal(notifier.state, "reconnecting");
  await tick(4_000);
  assert.equal(service.dialled.length, 3);
  await service.accept();
  assert.equal(notifier.getSnapshot().transport, "websocket");
  assert.deepEqual([...items], []);
});

test("a service that has no room is not taken for a proxy either", async (t) => {
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  await refuseTwice(service, tick);
  await http.latest.answer({}, 503);
  assert.equal(notifier.state, "reconnecting");
  await tick(30_000);
  assert.equal(service.dialled.length, 3);
});

test("a connection that broke after its welcome does not speak against WebSockets", async (t) => {
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  for (let number = 0; number < 6; number++) {
    await service.accept();
    service.close(1006);
    await tick(30_000);
  }
  assert.equal(http.requests.length, 0);
});

test("a refused token does not speak against WebSockets", async (t) => {
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  for (let number = 0; number < 6; number++) {
    await settled();
    service.close(4001, "token invalid");
    await tick(30_000);
  }
  assert.equal(notifier.state, "connecting");
  assert.equal(http.requests.length, 0);
});

test("a WebSocket that is left without an answer counts as refused", async (t) => {
  const { tick, http, service, notifier } = start(t);
  notifier.connect();
  await settled();
  await tick(5_000);
  await tick(5_000);
  await tick(500);
  assert.equal(service.dialled.length, 2);
  await tick(5_000);
  await tick(5_000);
  assert.equal(http.requests.length, 1);
});

test("where Server-Sent Events bring no byte, polls take over", async (t) => {
  const { tick, http, service, notifier, titles } = start(t);
  notifier.connect();
  await refuseTwice(service, tick);
  await http.latest.stream();
  const stream = http.latest;
  await tick(5_000);
  assert.equal(stream.signal.aborted, true);
  assert.equal(http.requests.length, 2);
  assert.equal(http.latest.accept, undefined);
  assert.deepEqual([...http.latest.query], [["wait", "0"]]);
  await http.latest.frames(welcome(), { type: "ping", cursor: "1500-0" });
  assert.equal(notifier.getSnapshot().transport, "poll");
  assert.deepEqual([...http.latest.query], [["since", "1500-0"]]);
  await http.latest.frames(welcome(), notification("a", "2000-0"), { type: "ping", cursor: "2000-0" });
  assert.deepEqual(titles(), ["a"]);
  assert.deepEqual([...http.latest.query], [["since", "2000-0"]]);
});

test("a stream that begins slowly is not taken for one that is kept", async (t) => {
  const { tick, http, notifier } = start(t, { transports: ["sse", "poll"] });
  notifier.connect();
  await settled();
  await http.latest.stream();
  await http.latest.text("retry: 1234\n\n");
  await tick(5_000);
  await tick(5_000);
  assert.equal(http.requests.length, 1);
});

test("a service that hangs is not taken for a proxy that keeps the stream", async (t) => {
  const { tick, http, notifier } = start(t, { transports: ["sse", "poll"] });
  notifier.connect();
  await settled();
  await tick(5_000);
  assert.equal(http.latest.accept, undefined);
  for (let seconds = 0; seconds < 30; seconds += 5) await tick(5_000);
  await tick(1_000);
  assert.equal(http.latest.accept, "text/event-stream");
});

test("nothing is lost or doubled between one transport and the next", async (t) => {
  const { tick, http, service, notifier, titles } = start(t);
  notifier.connect();
  await service.accept();
  service.notify("a", "10000-0");
  service.close(1006);
  await tick(500);
  await refuseTwice(service, tick);
  await tick(2_000);
  await refuseTwice(service, tick);
  assert.deepEqual([...http.latest.query], [["since", "10000-0"]]);
  await http.latest.stream();
  await http.latest.event(welcome({ cursor: "20000-0" }));
  await http.latest.event(notification("a", "10000-0", { replay: true }));
  await http.latest.event(notification("b", "11000-0", { replay: true }));
  assert.deepEqual(titles(), ["a", "b"]);
  assert.equal(notifier.cursor, "11000-0");
});

test("an event may come in pieces, and several at once", async (t) => {
  const { http, titles, notifier } = await streaming(t);
  const text = [notification("ä", "2000-0"), notification("b", "2001-0")]
    .map((frame) => `id: ${frame.cursor}\ndata: ${JSON.stringify(frame)}\n\n`)
    .join("");
  for (const piece of text.match(/[^]{1,7}/g)) await http.latest.text(piece);
  await http.latest.text(`${text}: ping\nid: 3000-0\n\n`);
  assert.deepEqual(titles(), ["ä", "b"]);
  assert.equal(notifier.cursor, "3000-0");
});

test("a notification may have what JavaScript takes for the end of a line", async (t) => {
  const client = await streaming(t);
  await client.http.latest.event(notification("a\u2028b\u2029c", "2000-0"));
  assert.deepEqual(client.titles(), ["a\u2028b\u2029c"]);
  assert.equal(client.notifier.state, "connected");
});

test("a comment is a sign of life", async (t) => {
  const { tick, http, notifier } = await streaming(t);
  for (let number = 0; number < 5; number++) {
    await tick(45_000);
    await http.latest.text(": ping\n\n");
  }
  assert.equal(notifier.state, "connected");
  for (let seconds = 0; seconds < 50; seconds += 5) await tick(5_000);
  assert.notEqual(notifier.state, "connected");
});

test("a stream that ends is opened again, after a drain at the time that the service named", async (t) => {
  const { tick, http, of } = await streaming(t);
  await http.latest.end();
  assert.equal(of("state").at(-1)[0].retryInMs, 500);
  await tick(500);
  await http.latest.stream();
  await http.latest.event(welcome());
  await http.latest.event({ type: "drain", retry_after_ms: 7_000 });
  assert.equal(of("state").at(-1)[0].retryInMs, 7_000);
  assert.equal(http.latest.signal.aborted, true);
});

test("a close frame is a close", async (t) => {
  const { http, notifier, of } = await streaming(t);
  await http.latest.event({ type: "close", code: 4501, reason: "forbidden" });
  assert.equal(notifier.state, "closed");
  assert.equal(of("state").at(-1)[0].reason, "4501 forbidden");
});

for (const [status, state] of [[401, "unauthorized"], [403, "closed"], [400, "closed"], [503, "reconnecting"], [502, "reconnecting"]]) {
  test(`an answer ${status} makes the state ${state}`, async (t) => {
    const { http, notifier, of } = start(t, { transports: ["sse"] });
    notifier.connect();
    await settled();
    await http.latest.answer({}, status);
    assert.equal(notifier.state, state);
    assert.match(of("state").at(-1)[0].reason, new RegExp(`HTTP ${status}`));
    if (state === "reconnecting") assert.equal(of("state").at(-1)[0].retryInMs, 500);
  });
}

test("after 401 a new token is fetched", async (t) => {
  const { tick, http, notifier } = start(t, { transports: ["poll"] });
  notifier.connect();
  await settled();
  await http.latest.answer({}, 401);
  await tick(500);
  assert.equal(http.latest.options.headers.Authorization, "Bearer token-2");
});

test("without getToken the cookie goes along", async (t) => {
  const { http, notifier } = start(t, { transports: ["sse"], getToken: undefined });
  notifier.connect();
  await settled();
  assert.equal(http.latest.options.credentials, "include");
  assert.equal(http.latest.options.headers.Authorization, undefined);
});

test("over HTTP a new request joins and leaves topics, once for many, and without events", async (t) => {
  const { tick, http, notifier, of } = await streaming(t, { topics: ["orders"] });
  await http.latest.event(notification("a", "2000-0"));
  notifier.leave("orders");
  notifier.join("invoices");
  notifier.join("past", { since: "500-0" });
  await tick(0);
  assert.equal(http.requests.length, 2);
  assert.deepEqual([...http.latest.query], [["since", "2000-0"], ["topic", "invoices"], ["topic", "past 500-0"]]);
  await http.latest.stream();
  await http.latest.event(welcome({ connection: "h2" }));
  assert.deepEqual(of("state").map(([{ current }]) => current), ["connecting", "connected"]);
});

test("the past of a topic is requested again until a ping confirms that all of it was sent", async (t) => {
  const { tick, http, notifier, of } = await streaming(t);
  notifier.join("orders", { since: "500-0" });
  await tick(0);
  const again = async () => {
    await http.latest.end();
    await tick(1_000);
    return http.latest.query.getAll("topic");
  };
  await http.latest.stream();
  await http.latest.event(welcome());
  await http.latest.event(notification("a", "600-0", { channel: "topic:orders", replay: true }));
  assert.equal(notifier.cursor, "1000-0");
  assert.deepEqual(await again(), ["orders 500-0"]);
  await http.latest.stream();
  await http.latest.event(welcome());
  await http.latest.text(": ping\n\n");
  assert.deepEqual(of("replayed"), []);
  await http.latest.text(": ping\nid: 1200-0\n\n");
  assert.deepEqual(of("replayed"), [[{ count: 1, lost: [] }]]);
  assert.equal(notifier.cursor, "1200-0");
  assert.deepEqual(await again(), ["orders"]);
});

for (const transport of ["sse", "poll"]) {
  test(`over ${transport} a page that reconnects while another one replays a topic misses nothing of it`, async (t) => {
    new FakeBrowser(t);
    const shared = { transports: [transport], getToken: async () => tokenOf("alice"), topics: ["orders"] };
    const { tick, http, service, notifier } = start(t, shared);
    const storage = fakeStorage();
    storage.setItem("notifier.cursor", "20000-0");
    const open = async () => {
      const page = service.client({ ...shared, storage });
      page.notifier.connect();
      await settled();
      return page;
    };
    notifier.connect();
    await settled();
    const page = await open();
    await answer(transport, http.latest, welcome({ cursor: "20000-0" }), { type: "ping", cursor: "20000-0" });
    page.notifier.disconnect();
    notifier.join("orders", { since: "10000-0" });
    await tick(0);
    const missed = notification("b", "21000-0", { channel: "topic:orders", replay: true });
    await answer(transport, http.latest, welcome({ connection: "h2" }), missed);
    const reloaded = await open();
    await tick(0);
    assert.equal(reloaded.notifier.cursor, "20000-0");
    assert.equal(http.latest.query.get("since"), "20000-0");
    await answer(transport, http.latest, welcome({ connection: "h3" }), missed);
    await settled();
    assert.deepEqual(reloaded.titles(), ["b"]);
  });
}

/** Answers with these frames; a poll ends with them. */
async function answer(transport, request, ...frames) {
  if (transport === "poll") return request.frames({ type: "ping" }, ...frames, { type: "ping" });
  await request.stream();
  for (const frame of frames) {
    await (frame.type === "ping" ? request.text(`: ping\nid: ${frame.cursor}\n\n`) : request.event(frame));
  }
}

test("the first ping of a poll moves no tab past missing notifications", async (t) => {
  const browser = new FakeBrowser(t);
  const shared = { transports: ["poll"], getToken: async () => tokenOf("alice") };
  const at = (cursor) => ({ ...shared, storage: { getItem: () => cursor, setItem() {} } });
  const { http, service, notifier } = start(t, at("30000-0"));
  notifier.connect();
  await settled();
  const [next, last] = ["20000-0", "10000-0"].map((cursor) => service.client(at(cursor)));
  for (const tab of [next, last]) {
    tab.notifier.connect();
    await settled();
  }
  browser.holdUp("messages");
  await browser.killLeader(); // the next tab sends its request before it knows the last one
  await browser.deliver();
  assert.equal(http.latest.query.get("since"), "20000-0");
  await http.latest.frames({ type: "ping" }, welcome({ cursor: "40000-0" }), { type: "ping" });
  await settled();
  assert.equal(last.notifier.cursor, "10000-0");
  assert.equal(http.latest.query.get("since"), "10000-0");
});

test("a replay of several polls goes on where it was", async (t) => {
  const { http, notifier, titles, of } = await polling(t, { topics: ["orders"] });
  await http.latest.frames(welcome(), notification("a", "2000-0", { replay: true }), { type: "ping" });
  assert.deepEqual([...http.latest.query], [["since", "2000-0"], ["topic", "orders"]]);
  await http.latest.frames(welcome(), notification("b", "2001-0", { replay: true }), { type: "ping", cursor: "2500-0" });
  assert.deepEqual(titles(), ["a", "b"]);
  assert.deepEqual(of("replayed"), [[{ count: 2, lost: [] }]]);
  assert.equal(notifier.cursor, "2500-0");
  assert.deepEqual(of("state").map(([{ current }]) => current), ["connecting", "connected"]);
});

test("polls that bring nothing new are not repeated at once", async (t) => {
  const { tick, http, titles } = await polling(t, { random: () => 1 }); // acknowledges after the test
  const answer = [welcome(), notification("a", "2000-0", { replay: true }), { type: "ping" }];
  await http.latest.frames(...answer);
  assert.equal(http.requests.length, 3);
  await http.latest.frames(...answer);
  assert.equal(http.requests.length, 3);
  await tick(1_000);
  assert.equal(http.requests.length, 4);
  await http.latest.frames(welcome(), notification("b", "2001-0"), { type: "ping" });
  assert.equal(http.requests.length, 5);
  assert.deepEqual(titles(), ["a", "b"]);
});

test("a poll that the service ends is not repeated before the time of the drain", async (t) => {
  const { tick, http, notifier, service } = await polling(t, { transports: ["poll"] });
  await http.latest.frames(welcome(), { type: "drain", retry_after_ms: 7_000 }, { type: "close", code: 1012, reason: "" });
  assert.equal(notifier.state, "reconnecting");
  await tick(6_999);
  assert.equal(http.requests.length, 2);
  await tick(1);
  assert.equal(http.requests.length, 3);
  assert.equal(service.dialled.length, 0);
});

test("a poll that is cut is repeated", async (t) => {
  const { tick, http, notifier } = await polling(t);
  await http.latest.cut();
  assert.equal(notifier.state, "reconnecting");
  await tick(500);
  assert.deepEqual([...http.latest.query], [["since", "1000-0"], ["wait", "0"]]);
});

test("when the token expires soon, the stream is requested again with another one", async (t) => {
  const { tick, http, notifier } = await streaming(t);
  await http.latest.event({ type: "expiring", in: 60 });
  await settled();
  await tick(0);
  assert.equal(http.requests.length, 2);
  assert.equal(http.latest.options.headers.Authorization, "Bearer token-2");
  assert.equal(notifier.state, "connected");
});

test("over HTTP a publication is a POST", async (t) => {
  const { http, notifier } = await streaming(t);
  const done = notifier.publish("orders", { title: "Hi" });
  await settled();
  const { method, body, headers } = http.latest.options;
  assert.equal(method, "POST");
  assert.equal(headers.Authorization, "Bearer token-1");
  const { ref, ...frame } = JSON.parse(body);
  assert.deepEqual(frame, { type: "publish", idempotency_key: ref, topic: "orders", notification: { title: "Hi" } });
  await http.latest.answer({ type: "ok", ref, topics: [], id: "n1", cursor: "2000-0" });
  assert.deepEqual(await done, { id: "n1", cursor: "2000-0" });
});

test("a POST that is refused rejects, and the stream stays", async (t) => {
  const { http, notifier } = await streaming(t);
  const done = notifier.publish("orders", { title: "Hi" });
  await settled();
  const problem = { type: "https://example.com/docs/errors#body_too_large", code: "body_too_large", title: "Too large", ref: "1" };
  const rejected = assert.rejects(done, { code: "body_too_large" });
  await http.latest.answer(problem, 413);
  await rejected;
  assert.equal(notifier.state, "connected");
});

test("a POST that fails is repeated when the stream is back", async (t) => {
  const { tick, http, notifier } = await streaming(t);
  const done = notifier.publish("orders", { title: "Hi" });
  await settled();
  const first = http.latest;
  first.fail();
  await settled();
  assert.equal(notifier.state, "reconnecting");
  await tick(500);
  await http.latest.stream();
  await http.latest.event(welcome({ connection: "h2" }));
  assert.equal(http.latest.options.body, first.options.body);
  await http.latest.answer({ type: "ok", ref: JSON.parse(first.options.body).ref, id: "n1", cursor: "2000-0" });
  assert.equal((await done).id, "n1");
});

test("over Server-Sent Events, a frame that cannot be read is skipped", async (t) => {
  const { http, titles, of, notifier } = await streaming(t);
  await http.latest.text('id: 1500-0\ndata: {"type":\n\n');
  await http.latest.text('data: null\n\n');
  await http.latest.event(notification("a", "2000-0"));
  assert.deepEqual(titles(), ["a"]);
  assert.equal(notifier.state, "connected");
  assert.deepEqual(of("error").map(([{ code }]) => code), ["unreadable_frame", "unreadable_frame"]);
});

test("in a poll, a frame that cannot be read is skipped", async (t) => {
  const { http, titles, of, notifier } = await polling(t);
  await http.latest.frames({ type: "ping" }, null, { type: "lost" }, notification("a", "2000-0"));
  assert.deepEqual(titles(), ["a"]);
  assert.equal(notifier.state, "connected");
  assert.deepEqual(of("error").map(([{ code }]) => code), ["unreadable_frame", "unreadable_frame"]);
});

test("over HTTP, topics for which a request has no room are rejected alone, once", async (t) => {
  const topics = Array.from({ length: 80 }, (_, number) => `${number}`.padStart(120, "t"));
  const { http, tick, of, notifier } = await streaming(t, { topics });
  assert.ok(`${http.latest.query}`.length < 8_000);
  const asked = http.latest.query.getAll("topic");
  const refused = of("error").map(([{ topic }]) => topic);
  assert.deepEqual([...asked, ...refused], topics);
  await tick(1_000);
  assert.equal(http.requests.length, 1);
  notifier.leave(topics[0]);
  await tick(0);
  assert.equal(http.requests.length, 2);
});

for (const [status, ends] of [[413, false], [502, true]]) {
  test(`a publication that a proxy answers with ${status} and a page ${ends ? "is repeated" : "is rejected"}`, async (t) => {
    const { http, notifier } = await streaming(t);
    const done = notifier.publish("room", { title: "a" });
    const rejected = ends ? done.catch(() => {}) : assert.rejects(done, { code: "http_413" });
    await http.latest.page(status);
    assert.equal(notifier.state, ends ? "reconnecting" : "connected");
    if (!ends) await rejected;
  });
}
