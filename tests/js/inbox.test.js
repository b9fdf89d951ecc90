import assert from "node:assert/strict";
import test from "node:test";
import { createInbox } from "../../browser/src/elements/inbox-store.js";
import { FakeBrowser, tokenOf } from "./fake_browser.js";
import { FakeHttp, notification, welcome } from "./fake_http.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

const FIRST = { counts: { unread: 3, unseen: 1 }, revision: 17, expires_at: null };
const READ = { counts: { unread: 2, unseen: 0 }, revision: 18, changes: [{ revision: 18, action: "read", ids: ["a"] }] };

/** The values of these members in a client's events. */
function told({ of }, ...members) {
  return of("inbox").map(([event]) => members.map((member) => event[member]));
}

test("the welcome and each state frame are reported, with counts of their own", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const client = service.client();
  client.notifier.connect();
  await service.accept(FIRST);
  service.say({ type: "state", ...READ });
  assert.deepEqual(told(client, "revision", "counts", "changes"), [
    [17, FIRST.counts, undefined],
    [18, READ.counts, READ.changes],
  ]);
  assert.deepEqual(client.of("counts"), [[FIRST.counts], [READ.counts]]);
  assert.equal(client.notifier.inbox.revision, 18);
});

test("after each reconnect the inbox is reported again, since something may have been missed", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const client = service.client();
  client.notifier.connect();
  await service.accept(FIRST);
  service.close(1006);
  assert.deepEqual(told(client, "revision"), [[17]]);
  await tick(1_000);
  await service.accept({ ...FIRST, connection: "c2", revision: 20 });
  assert.deepEqual(told(client, "revision"), [[17], [20]]);
});

test("all tabs receive the counts of the inbox, and a later tab receives the last known ones", async (t) => {
  stopClock(t);
  new FakeBrowser(t);
  const service = new FakeService();
  const options = { getToken: async () => tokenOf("alice") };
  const [first, second] = [service.client(options), service.client(options)];
  for (const { notifier } of [first, second]) notifier.connect();
  await settled();
  await service.accept(FIRST);
  await settled();
  service.say({ type: "state", ...READ });
  const late = service.client(options);
  late.notifier.connect();
  await settled();
  for (const tab of [first, second]) assert.deepEqual(told(tab, "revision"), [[17], [18]]);
  assert.deepEqual(told(late, "revision", "counts"), [[18, READ.counts]]);
  assert.equal(service.dialled.length, 1);
});

test("a service without an inbox causes no inbox event", async (t) => {
  stopClock(t);
  const { of, notifier } = await new FakeService().connected();
  assert.deepEqual(of("inbox"), []);
  assert.equal(notifier.inbox, undefined);
});

test("the welcome of each poll has the counts of the inbox", async (t) => {
  stopClock(t);
  const http = new FakeHttp(t);
  const client = new FakeService().client({ transports: ["poll"] });
  client.notifier.connect();
  await settled();
  await http.latest.frames(welcome(FIRST));
  await http.latest.frames(welcome({ ...READ, connection: "h2" }), notification("a", "2000-0"));
  assert.deepEqual(told(client, "revision"), [[17], [18]]);
});

test("several notifications are acknowledged with one ack", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  service.notify("a", "2000-0");
  await tick(500);
  service.notify("b", "3000-0");
  await tick(499);
  assert.deepEqual(service.socket.heard("ack"), []);
  await tick(1);
  assert.deepEqual(service.socket.heard("ack"), [{ type: "ack", cursor: "3000-0", since: "1000-0" }]);
  await tick(10_000);
  assert.equal(service.socket.heard("ack").length, 1);
  service.notify("c", "4000-0");
  await tick(1_000);
  assert.equal(service.socket.heard("ack").at(-1).cursor, "4000-0");
});

test("only the tab that leads acknowledges", async (t) => {
  const tick = stopClock(t);
  new FakeBrowser(t);
  const service = new FakeService();
  for (const _ of "ab") {
    service.client({ getToken: async () => tokenOf("alice") }).notifier.connect();
    await settled();
  }
  await service.accept();
  service.notify("a", "2000-0");
  await settled();
  await tick(2_000);
  assert.equal(service.socket.heard("ack").length, 1);
});

test("a connection that breaks before it has acknowledged leaves it to the next", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  const broken = service.socket;
  service.notify("a", "2000-0");
  service.close(1006);
  await tick(1_000);
  await service.accept({ connection: "c2" });
  service.notify("a", "2000-0", { replay: true });
  await tick(1_000);
  assert.deepEqual(broken.heard("ack"), []);
  assert.deepEqual(service.socket.heard("ack"), [{ type: "ack", cursor: "2000-0", since: "1000-0" }]);
});

test("over HTTP it is acknowledged by a POST that has no answer", async (t) => {
  const tick = stopClock(t);
  const http = new FakeHttp(t);
  const { notifier } = new FakeService().client({ transports: ["sse"] });
  notifier.connect();
  await settled();
  await http.latest.stream();
  const stream = http.latest;
  await stream.event(welcome());
  await stream.event(notification("a", "2000-0"));
  await tick(1_000);
  assert.deepEqual(JSON.parse(http.latest.options.body), { type: "ack", cursor: "2000-0", since: "1000-0" });
  await http.latest.empty();
  assert.equal(notifier.state, "connected");
  assert.equal(stream.signal.aborted, false);
});

test("token() returns a token for the page's own requests, and fetches one if the last one expires soon", async (t) => {
  stopClock(t);
  let given = 0;
  const service = new FakeService();
  const getToken = async () => tokenOf("alice", { exp: given++ ? 3600 : 4 });
  const { notifier } = service.client({ getToken, url: "wss://notify.example.com/base/v1/stream" });
  assert.equal(await notifier.token(), tokenOf("alice", { exp: 4 }));
  assert.equal(await notifier.token(), tokenOf("alice", { exp: 3600 }));
  assert.equal(await notifier.token(), tokenOf("alice", { exp: 3600 }));
  assert.equal(given, 2);
  assert.equal(notifier.url, "https://notify.example.com/base/v1/stream");
});

test("a request whose token is refused is made once more with a new one", async (t) => {
  stopClock(t);
  const http = new FakeHttp(t);
  const { notifier } = new FakeService().client();
  const bearers = () => http.requests.map(({ options }) => options.headers.Authorization);
  const list = createInbox(notifier).list({});
  await settled();
  await http.latest.answer({ title: "Token expired" }, 401);
  await settled();
  assert.deepEqual(bearers(), ["Bearer token-1", "Bearer token-2"]);
  const refused = assert.rejects(list, { title: "Token expired" });
  await http.latest.answer({ title: "Token expired" }, 401);
  await refused;
  assert.equal(http.requests.length, 2);
});

/** A Notifier that is connected, with an inbox whose request for the list is on its way. */
async function listing(t, options) {
  stopClock(t);
  const http = new FakeHttp(t);
  const errors = t.mock.method(console, "error", () => {}).mock;
  const client = new FakeService().client(options);
  const inbox = createInbox(client.notifier);
  const logged = () => errors.calls.map(({ arguments: [text] }) => text);
  const failed = (list) => list.then(() => assert.fail("it succeeded"), (problem) => problem);
  return { http, inbox, logged, failed, ...client };
}

for (const [what, kind, explanation, respond] of [
  ["an outage", "unavailable", /HTTP 503/, (request) => request.answer({ title: "Not now", code: "broker_unavailable" }, 503)],
  ["a proxy's page", "unavailable", /HTTP 502/, (request) => request.page(502)],
  ["another site's page", "unavailable", /HTTP 200/, (request) => request.page(200)],
  ["no answer, or CORS", "unreachable", /no answer from .*CORS/, (request) => request.fail()],
]) {
  test(`a list that fails for ${what} has a text and a line on the console of its own`, async (t) => {
    const { http, inbox, logged, failed } = await listing(t);
    for (let count = 0; count < 2; count++) {
      const list = failed(inbox.list({}));
      await settled();
      await respond(http.latest);
      assert.equal((await list).kind, kind);
      assert.equal(logged().length, 1); // once, however often it is tried
    }
    assert.match(logged()[0], explanation);
  });
}

for (const [what, kind, error] of [
  ["there is no token", "signedOut", new Error("/my-token: HTTP 401")],
  ["the page's own backend does not answer", "unavailable", new TypeError("Failed to fetch")],
]) {
  test(`a list that fails because ${what} rejects with that cause`, async (t) => {
    const { http, inbox, logged, failed } = await listing(t, { getToken: () => Promise.reject(error) });
    const problem = await failed(inbox.list({}));
    assert.deepEqual([problem.kind, problem.cause, http.requests.length], [kind, error, 0]);
    assert.deepEqual(logged(), ["Notifier: getToken failed"]);
  });
}

test("a token that the service refuses twice is one to sign in for", async (t) => {
  const { http, inbox, logged, failed } = await listing(t);
  const list = failed(inbox.list({}));
  for (let count = 0; count < 2; count++) {
    await settled();
    await http.latest.answer({ title: "Token expired", code: "token_expired" }, 401);
  }
  const { kind, code } = await list;
  assert.deepEqual([kind, code], ["signedOut", "token_expired"]);
  assert.deepEqual(logged(), ["Notifier: the service refused the token"]);
});
