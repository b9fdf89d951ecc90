import assert from "node:assert/strict";
import test from "node:test";
import { Notifier } from "../../browser/src/notifier.js";
import { expiresSoon } from "../../browser/src/token.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

const API_KEY = "nk_live_secret";

test("a token is used again for the next connection", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  service.close(1006);
  await tick(500);
  await service.accept();
  assert.equal(service.socket.heard("hello")[0].token, "token-1");
});

test("a token that has expired is not sent again", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  let given = 0;
  const claims = () => btoa(JSON.stringify({ exp: Date.now() / 1000 + 60 }));
  const getToken = async () => `${++given}.${claims()}.signature`;
  await service.connected({ getToken });
  await tick(45_000);
  service.say({ type: "ping" });
  await tick(12_000);
  service.close(1006);
  await tick(500);
  await service.accept();
  assert.equal(given, 2);
});

test("after 4001 a new token is fetched before the client reconnects", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.close(4001, "token expired");
  assert.equal(notifier.state, "reconnecting");
  await tick(500);
  await service.accept();
  assert.equal(service.socket.heard("hello")[0].token, "token-2");
});

test("a token that is refused at the hello makes the state unauthorized, and waits grow", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client();
  notifier.connect();
  for (const wait of [500, 1_000, 2_000]) {
    await settled();
    service.close(4001, "token invalid");
    assert.equal(notifier.state, "unauthorized");
    assert.equal(of("state").at(-1)[0].retryInMs, wait);
    await tick(wait);
  }
  assert.equal(service.tokensGiven, 4);
});

test("a getToken that fails makes the state unauthorized and is asked again later", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const getToken = t.mock.fn(async () => "token");
  getToken.mock.mockImplementationOnce(async () => {
    throw new Error("signed out");
  });
  const { notifier, of } = service.client({ getToken });
  notifier.connect();
  await settled();
  assert.equal(notifier.state, "unauthorized");
  assert.equal(of("state").at(-1)[0].reason, "signed out");
  assert.equal(of("error")[0][0].message, "signed out");
  assert.equal(service.dialled.length, 0);
  await tick(500);
  await service.accept();
  assert.equal(notifier.state, "connected");
});

test("a getToken that never answers, or gives nothing, is asked again too", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const answers = [new Promise(() => {}), Promise.resolve(""), Promise.resolve("token")];
  const { notifier, of } = service.client({ getToken: () => answers.shift() });
  notifier.connect();
  await tick(30_000);
  assert.equal(of("state").at(-1)[0].reason, "4000 no answer");
  await tick(500);
  assert.equal(notifier.state, "unauthorized");
  await tick(1_000);
  await service.accept();
  assert.equal(notifier.state, "connected");
});

test("when the token expires soon, a new one goes over the same connection", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  service.say({ type: "expiring", in: 60 });
  await settled();
  assert.equal(service.socket.heard("auth")[0].token, "token-2");
  assert.equal(service.dialled.length, 1);
  assert.equal(notifier.state, "connected");
});

test("a refresh that fails is an error, and the connection stays", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const getToken = t.mock.fn(async () => "token");
  const { notifier, of } = await service.connected({ getToken });
  getToken.mock.mockImplementation(async () => {
    throw new Error("signed out");
  });
  service.say({ type: "expiring", in: 60 });
  await settled();
  assert.equal(of("error")[0][0].message, "signed out");
  assert.equal(notifier.state, "connected");
});

test("a token that comes after the connection broke is kept for the next one", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  await service.connected();
  const first = service.socket;
  service.say({ type: "expiring", in: 60 });
  service.close(1006);
  await settled();
  await tick(500);
  await service.accept();
  assert.deepEqual(first.heard("auth"), []);
  assert.equal(service.socket.heard("hello")[0].token, "token-2");
});

test("an API key in place of getToken is a TypeError", () => {
  const service = new FakeService();
  assert.throws(() => service.client({ getToken: API_KEY }), { name: "TypeError", message: /API key/ });
});

test("an API key from getToken is never sent, and ends the tries", async (t) => {
  const tick = stopClock(t);
  const service = new FakeService();
  const { notifier, of } = service.client({ getToken: async () => API_KEY });
  notifier.connect();
  await settled();
  assert.equal(notifier.state, "closed");
  assert.ok(of("error")[0][0] instanceof TypeError);
  assert.match(of("state").at(-1)[0].reason, /API key/);
  await tick(2 ** 31);
  assert.equal(service.dialled.length, 0);
});

test("an error without a listener is logged to the console", async (t) => {
  stopClock(t);
  const log = t.mock.method(console, "error", () => {}).mock;
  const { WebSocket } = new FakeService();
  const notifier = new Notifier({ url: "ws://127.0.0.1/v1/stream", getToken: async () => "", WebSocket });
  notifier.connect();
  await settled();
  assert.equal(log.calls.length, 1);
});

test("a token that getToken gives again is not sent again", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const getToken = t.mock.fn(async () => "token");
  await service.connected({ getToken });
  service.say({ type: "expiring", in: 40 });
  await settled();
  assert.equal(getToken.mock.callCount(), 2);
  assert.deepEqual(service.socket.heard("auth"), []);
});

test("a token that expires within five seconds is not sent", () => {
  const token = (claims) => `head.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
  const now = Date.now() / 1000;
  assert.equal(expiresSoon(token({ sub: "zoë~??>", exp: now + 4 })), true);
  assert.equal(expiresSoon(token({ sub: "zoë~??>", exp: now + 60 })), false);
});

test("a token that cannot be read, or never expires, is left to the service", () => {
  assert.equal(expiresSoon("opaque"), false);
  assert.equal(expiresSoon("a.%%%.c"), false);
  assert.equal(expiresSoon(`a.${btoa("{}")}.c`), false);
});

test("all who wait for a token at the same time share one call of getToken", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = service.client();
  notifier.connect();
  const own = await Promise.all([notifier.token(), notifier.token(), notifier.token(true)]);
  await service.accept();
  assert.deepEqual(own, ["token-1", "token-1", "token-1"]);
  assert.equal(service.tokensGiven, 1);
  assert.equal(await notifier.token(true), "token-2");
});

test("a call of getToken that fails fails for all, and the next is a new one", async (t) => {
  stopClock(t);
  const answers = [Promise.reject(new Error("signed out")), Promise.resolve("token")];
  const { notifier } = new FakeService().client({ getToken: () => answers.shift() });
  const first = [notifier.token(), notifier.token()];
  for (const token of first) await assert.rejects(token, { message: "signed out" });
  assert.equal(await notifier.token(), "token");
});

for (const [what, answer] of [["a response", {}], ["a page", "<!doctype html>\n<title>Sign in"], ["a number", 5], ["a line break", "a\n"]]) {
  test(`${what} in place of a token is not sent, and named`, async (t) => {
    stopClock(t);
    const service = new FakeService();
    const { notifier, of } = service.client({ getToken: async () => answer });
    notifier.connect();
    await settled();
    assert.equal(notifier.state, "unauthorized");
    assert.match(of("error")[0][0].message, /getToken returned no token/);
    assert.equal(service.dialled.length, 0);
  });
}
