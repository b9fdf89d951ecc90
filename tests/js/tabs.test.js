import assert from "node:assert/strict";
import test from "node:test";
import { FakeBrowser, fakeStorage, provide, tokenOf } from "./fake_browser.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

const getToken = async () => tokenOf("alice");

/** A service and its tabs in one browser; the first of them is connected and leads. */
async function start(t, count = 2, options = {}) {
  const tick = stopClock(t);
  const browser = new FakeBrowser(t);
  const service = new FakeService();
  const tabs = [];
  const open = async (more) => {
    const tab = service.client({ getToken, ...options, ...more });
    tabs.push(tab);
    tab.notifier.connect();
    await settled();
    return tab;
  };
  await open();
  await service.accept();
  for (let number = 1; number < count; number++) await open();
  return { tick, browser, service, tabs, open };
}

test("ten tabs have one connection and the same state", async (t) => {
  const { service, tabs } = await start(t, 10);
  assert.equal(service.dialled.length, 1);
  assert.deepEqual(new Set(tabs.map(({ notifier }) => notifier.state)), new Set(["connected"]));
  assert.deepEqual(new Set(tabs.map(({ notifier }) => notifier.connection)), new Set(["c1"]));
  assert.deepEqual(new Set(tabs.map(({ notifier }) => notifier.cursor)), new Set(["1000-0"]));
});

test("every tab is called back, once", async (t) => {
  const { service, tabs } = await start(t, 3);
  service.notify("a", "2000-0");
  service.notify("a", "2000-1", { channel: "all" });
  await settled();
  for (const { titles, notifier } of tabs) {
    assert.deepEqual(titles(), ["a"]);
    assert.equal(notifier.cursor, "2000-1");
  }
});

for (const [what, options, other] of [
  ["users", {}, { getToken: async () => tokenOf("bob") }],
  ["tenants", {}, { getToken: async () => tokenOf("alice", { tenant: "acme" }) }],
  ["issuers", {}, { getToken: async () => tokenOf("alice", { iss: "https://acme.example" }) }],
  ["services", {}, { url: "ws://127.0.0.1/other/v1/stream" }],
  ["names", {}, { name: "other" }],
  ["tabs that do not want to share", {}, { shared: false }],
]) {
  test(`different ${what} have connections of their own`, async (t) => {
    const { service, open } = await start(t, 1, options);
    const tab = await open(other);
    await service.accept({ connection: "c2" });
    assert.equal(service.dialled.length, 2);
    assert.equal(tab.notifier.connection, "c2");
    service.notify("a", "2000-0");
    await settled();
    assert.deepEqual(tab.titles(), ["a"]);
  });
}

test("a cookie does not name the user, so its tabs share a connection by name only", async (t) => {
  const { service, open } = await start(t, 2, { getToken: undefined });
  assert.equal(service.dialled.length, 2);
  await open({ name: "shop" });
  await service.accept();
  await open({ name: "shop" });
  assert.equal(service.dialled.length, 3);
});

for (const missing of ["navigator", "BroadcastChannel"]) {
  test(`without ${missing} each tab has a connection of its own`, async (t) => {
    stopClock(t);
    new FakeBrowser(t);
    provide(t, missing, undefined);
    const service = new FakeService();
    await service.connected({ getToken });
    await service.connected({ getToken });
    assert.equal(service.dialled.length, 2);
  });
}

test("where locks are forbidden each tab has a connection of its own", async (t) => {
  stopClock(t);
  const browser = new FakeBrowser(t);
  browser.locks.request = async () => {
    throw new DOMException("not here", "SecurityError");
  };
  const service = new FakeService();
  const { notifier } = await service.connected({ getToken });
  assert.equal(notifier.state, "connected");
});

test("the leader joins what any tab joins, and each tab gets what it joined", async (t) => {
  const { service, tabs } = await start(t);
  const [first, second] = tabs;
  first.notifier.join("orders");
  second.notifier.join("invoices");
  await settled();
  assert.deepEqual(service.socket.heard("subscribe").map(({ topic }) => topic), ["orders", "invoices"]);
  service.notify("a", "2000-0", { channel: "topic:orders" });
  service.notify("b", "2001-0", { channel: "topic:invoices" });
  await settled();
  assert.deepEqual(first.titles(), ["a"]);
  assert.deepEqual(second.titles(), ["b"]);
  first.notifier.join("invoices");
  second.notifier.leave("invoices");
  await settled();
  assert.deepEqual(service.socket.heard("unsubscribe"), []);
  first.notifier.leave("invoices");
  assert.deepEqual(service.socket.heard("unsubscribe").map(({ topic }) => topic), ["invoices"]);
});

test("a topic that only a closed tab had joined is left", async (t) => {
  const { service, tabs } = await start(t);
  tabs[1].notifier.join("orders");
  await settled();
  tabs[1].notifier.disconnect();
  await settled();
  assert.deepEqual(service.socket.heard("unsubscribe").map(({ topic }) => topic), ["orders"]);
  assert.equal(tabs[0].notifier.state, "connected");
});

test("a tab gets the past of a topic for itself", async (t) => {
  const { service, tabs } = await start(t, 2, { topics: ["orders"] });
  service.notify("new", "9000-0", { channel: "topic:orders" });
  tabs[1].notifier.join("orders", { since: "500-0" });
  await settled();
  const [{ ref, since }] = service.socket.heard("subscribe");
  assert.equal(since, "500-0");
  service.notify("old", "600-0", { channel: "topic:orders", replay: true });
  service.notify("new", "9000-0", { channel: "topic:orders", replay: true });
  service.say({ type: "ok", ref, topics: ["orders"] });
  await settled();
  assert.deepEqual(tabs[0].titles(), ["new"]);
  assert.deepEqual(tabs[1].titles(), ["old", "new"]); // "new" was on its way
  assert.deepEqual(tabs[1].of("replayed"), [[{ count: 1, lost: [] }]]);
  assert.deepEqual(tabs[0].of("replayed"), []);
});

test("a tab that joins in the midst of another's replay gets all of the past as well", async (t) => {
  const { service, tabs } = await start(t);
  const replay = { channel: "topic:orders", replay: true };
  tabs[0].notifier.join("orders", { since: "500-0" });
  const [{ ref }] = service.socket.heard("subscribe");
  service.notify("a", "900-0", replay);
  await settled();
  tabs[1].notifier.join("orders", { since: "500-0" });
  await settled();
  service.notify("b", "20000-0");
  service.say({ type: "ok", ref, topics: ["orders"] });
  await settled();
  service.notify("a", "900-0", replay);
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[1].ref, topics: ["orders"] });
  await settled();
  assert.deepEqual(tabs[0].titles(), ["b", "a"]);
  assert.deepEqual(tabs[1].titles(), ["b", "a"]);
  assert.deepEqual(tabs[1].of("replayed"), [[{ count: 1, lost: [] }]]);
});

test("a tab misses nothing of a topic that another tab is replaying when the connection breaks", async (t) => {
  const { tick, service, tabs } = await start(t);
  const replay = { channel: "topic:orders", replay: true };
  tabs[1].notifier.join("orders");
  await settled();
  tabs[0].notifier.join("orders", { since: "500-0" });
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c2", cursor: "9000-0" });
  const [{ since, topics }] = service.socket.heard("hello");
  assert.deepEqual([since, topics], ["1000-0", []]);
  service.say({ type: "ping", cursor: "9000-0" });
  await settled();
  const asked = service.socket.heard("subscribe");
  assert.deepEqual(asked.map(({ since }) => since), ["500-0", "500-0"]);
  for (const { ref } of asked) {
    service.notify("past", "600-0", replay);
    service.notify("gap", "5000-0", replay);
    service.say({ type: "ok", ref, topics: ["orders"] });
  }
  await settled();
  assert.deepEqual(tabs[0].titles(), ["past", "gap"]);
  assert.deepEqual(tabs[1].titles(), ["past", "gap"]); // its own cursor, less what is repeated, begins before
});

test("a tab that connects without a cursor receives only new notifications", async (t) => {
  const { tick, service, tabs, open } = await start(t, 1);
  service.close(1006);
  const late = await open();
  await tick(500);
  await service.accept({ cursor: "9000-0" });
  service.notify("old", "2000-0", { replay: true });
  service.notify("new", "9001-0");
  await settled();
  assert.deepEqual(tabs[0].titles(), ["old", "new"]);
  assert.deepEqual(late.titles(), ["new"]);
});

test("a tab that comes with an older cursor gets what it missed, and the others no repetition", async (t) => {
  const { service, tabs, open } = await start(t, 1);
  for (const [id, cursor] of [["a", "10000-0"], ["b", "20000-0"], ["c", "30000-0"]]) service.notify(id, cursor);
  const late = await open({ storage: { getItem: () => "15000-0", setItem() {} } });
  assert.equal(service.dialled.length, 2);
  await service.accept({ connection: "c2", cursor: "30000-0" });
  assert.equal(service.socket.heard("hello")[0].since, "15000-0");
  service.notify("b", "20000-0", { replay: true });
  service.notify("c", "30000-0", { replay: true });
  service.say({ type: "ping", cursor: "30000-0" });
  service.notify("d", "40000-0");
  await settled();
  assert.deepEqual(tabs[0].titles(), ["a", "b", "c", "d"]);
  assert.deepEqual(late.titles(), ["b", "c", "d"]);
  assert.deepEqual(late.of("replayed"), [[{ count: 2, lost: [] }]]);
  assert.deepEqual(tabs[0].of("state").map(([{ current }]) => current), ["connecting", "connected"]);
});

test("a reconnecting tab takes no notification for the next one until the leader has reported its state", async (t) => {
  const { browser, service, tabs } = await start(t);
  tabs[1].notifier.disconnect();
  await settled();
  service.notify("missed", "5000-0");
  browser.holdUp("messages"); // the leader has not received yet that a tab reconnects
  tabs[1].notifier.connect();
  await settled();
  service.notify("next", "9000-0");
  await browser.deliver();
  await settled();
  await service.accept({ connection: "c2", cursor: "9000-0" });
  assert.equal(service.socket.heard("hello")[0].since, "1000-0");
  service.notify("missed", "5000-0", { replay: true });
  service.notify("next", "9000-0", { replay: true });
  await settled();
  assert.deepEqual(tabs[1].titles(), ["missed", "next"]);
  assert.deepEqual(tabs[0].titles(), ["missed", "next"]);
});

test("when the leader is killed another tab goes on at the same place", async (t) => {
  const { browser, service, tabs } = await start(t, 3, { topics: ["orders"] });
  tabs[2].notifier.join("invoices");
  service.notify("a", "2000-0");
  await settled();
  await browser.killLeader();
  assert.equal(service.dialled.length, 2);
  await service.accept({ connection: "c2" });
  const [{ since, topics }] = service.socket.heard("hello");
  assert.equal(since, "2000-0");
  assert.deepEqual(topics, ["orders", "invoices"]);
  service.notify("a", "2000-0", { replay: true });
  service.notify("b", "2001-0", { replay: true });
  service.notify("c", "2002-0", { channel: "topic:invoices" });
  await settled();
  assert.deepEqual(tabs[1].titles(), ["a", "b"]);
  assert.deepEqual(tabs[2].titles(), ["a", "b", "c"]);
  assert.equal(tabs[2].notifier.connection, "c2");
});

test("a new leader goes back to the place of the tab that is furthest behind", async (t) => {
  const { browser, service, tabs, open } = await start(t, 2);
  for (const id of ["a", "b"]) service.notify(id, `${id === "a" ? 10000 : 20000}-0`);
  await settled();
  await open({ storage: { getItem: () => "15000-0", setItem() {} } });
  assert.equal(service.dialled.length, 2); // the leader goes back, and is killed at it
  await browser.killLeader();
  await service.accept();
  assert.equal(service.socket.heard("hello")[0].since, "15000-0");
  service.notify("b", "20000-0", { replay: true });
  service.notify("c", "30000-0", { replay: true });
  await settled();
  assert.deepEqual(tabs[1].titles(), ["a", "b", "c"]);
  assert.deepEqual(tabs[2].titles(), ["b", "c"]);
});

/** A tab that has joined a topic, and received "a" at 2000, learns of a new leader after that sent another entry. */
async function startLate(t, id, cursor) {
  const { tick, browser, service, open } = await start(t, 2);
  const storage = fakeStorage();
  const { titles, notifier } = await open({ topics: ["orders"], storage });
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  service.notify("a", "2000-0");
  await settled();
  browser.holdUp("messages");
  await browser.killLeader();
  await service.accept({ connection: "c2" });
  service.notify(id, cursor);
  assert.deepEqual(service.socket.heard("hello")[0].topics, []);
  await browser.deliver();
  const notifyOrders = (id, cursor) => service.notify(id, cursor, { channel: "topic:orders", replay: true });
  return { tick, service, open, storage, notifier, titles, notifyOrders };
}

test("a tab that learns late of a new leader misses nothing of its topics", async (t) => {
  const { service, titles } = await startLate(t, "b", "2001-0");
  const [{ topic, since }] = service.socket.heard("subscribe");
  assert.deepEqual([topic, since], ["orders", "2000-0"]);
  assert.deepEqual(titles(), ["a", "b"]);
  assert.equal(service.dialled.length, 2);
});

test("notifications of a stream without a tab's topics do not make the tab skip these topics' past", async (t) => {
  const { service, titles, notifyOrders } = await startLate(t, "c", "9000-0");
  notifyOrders("b", "3000-0");
  service.confirm();
  await settled();
  assert.deepEqual(titles(), ["a", "c", "b"]);
});

test("the missed entries of a tab that learnt late of a new leader arrive in order, also over a break", async (t) => {
  const { tick, service, titles, notifyOrders } = await startLate(t, "d", "9000-0");
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c3" });
  assert.deepEqual(service.socket.heard("hello")[0].topics, []); // its replay would begin at 9000
  notifyOrders("b", "3000-0");
  notifyOrders("c", "9500-0");
  service.confirm();
  await settled();
  assert.deepEqual(titles(), ["a", "d", "b", "c"]);
});

test("a page that is reloaded during the replay of a topic receives that, too", async (t) => {
  const { service, open, storage, notifier, notifyOrders } = await startLate(t, "c", "9000-0");
  notifier.disconnect();
  await settled();
  const { titles } = await open({ topics: ["orders"], storage });
  await service.accept({ connection: "c3" });
  assert.equal(service.socket.heard("hello")[0].since, "2000-0");
  assert.equal(service.socket.heard("subscribe")[0].since, "2000-0");
  await settled();
  notifyOrders("b", "3000-0");
  service.confirm();
  await settled();
  assert.deepEqual(titles(), ["b"]);
});

test("a page that has received all of a topic's past resumes at its cursor when it is reloaded", async (t) => {
  const { service, storage, notifyOrders } = await startLate(t, "c", "9000-0");
  notifyOrders("b", "3000-0");
  service.say({ type: "ok", ref: service.socket.heard("subscribe").at(-1).ref, topics: ["orders"] });
  service.notify("d", "9500-0");
  await settled();
  assert.equal(storage.getItem("notifier.cursor"), "9500-0");
});

test("a topic that is refused holds up no cursor", async (t) => {
  const { service, storage, notifier } = await startLate(t, "c", "9000-0");
  const [{ ref }] = service.socket.heard("subscribe").slice(-1);
  service.say({ type: "error", ref, problem: { code: "forbidden", title: "Not granted", status: 403 } });
  service.notify("d", "9500-0");
  await settled();
  assert.deepEqual([notifier.cursor, storage.getItem("notifier.cursor")], ["9500-0", "9500-0"]);
});

test("a page whose topic was unsubscribed during its reload receives what the topic had since then", async (t) => {
  const { tick, service, open } = await start(t, 1);
  const storage = fakeStorage();
  const page = await open({ topics: ["orders"], storage });
  service.say({ type: "ok", ref: service.socket.heard("subscribe")[0].ref, topics: ["orders"] });
  await settled();
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c2" });
  assert.deepEqual(service.socket.heard("hello")[0].topics, ["orders"]);
  service.notify("a", "2000-0");
  service.say({ type: "ping", cursor: "5000-0" });
  await settled();
  page.notifier.disconnect();
  await settled();
  assert.equal(service.socket.heard("unsubscribe").length, 1);
  const reloaded = await open({ topics: ["orders"], storage });
  assert.equal(service.socket.heard("subscribe").at(-1).since, "5000-0");
  service.notify("c", "9000-0"); // it was on its way
  service.notify("b", "6000-0", { channel: "topic:orders", replay: true });
  service.confirm();
  await settled();
  assert.deepEqual(reloaded.titles(), ["c", "b"]);
});

test("a page that reconnects while another one replays a topic misses nothing of it", async (t) => {
  const { service, tabs, open } = await start(t, 2, { topics: ["orders"] });
  const storage = fakeStorage();
  const page = await open({ storage });
  service.notify("a", "2000-0");
  await settled();
  page.notifier.disconnect();
  tabs[1].notifier.join("orders", { since: "1000-0" });
  await settled();
  service.notify("b", "3000-0", { channel: "topic:orders" }); // moves no cursor before the end of the replay
  const reloaded = await open({ storage });
  assert.equal(reloaded.notifier.cursor, tabs[0].notifier.cursor);
  await service.accept({ connection: "c2", cursor: "3000-0" });
  assert.equal(service.socket.heard("hello")[0].since, "2000-0");
  await settled();
  const asked = service.socket.heard("subscribe").map(({ since }) => since);
  assert.deepEqual(asked, Array(3).fill("1000-0")); // for the tab that replays the topic, the leader, and this page
  service.notify("b", "3000-0", { channel: "topic:orders", replay: true });
  service.confirm();
  await settled();
  assert.deepEqual(reloaded.titles(), ["b"]);
});

/** A tab has requested the past of a topic after 19000, and a page that has joined it comes back with the cursor 10000. */
async function startBoth(t) {
  const { service, tabs, open, browser } = await start(t, 1);
  service.notify("x", "20000-0");
  tabs[0].notifier.join("orders", { since: "19000-0" });
  const storage = fakeStorage();
  storage.setItem("notifier.cursor", "10000-0");
  const page = await open({ topics: ["orders"], storage });
  await service.accept({ connection: "c2", cursor: "20000-0" });
  await settled();
  assert.equal(service.socket.heard("hello")[0].since, "10000-0");
  const [first, second] = service.socket.heard("subscribe");
  assert.deepEqual([first.since, second.since], ["19000-0", "10000-0"]);
  const send = (id, cursor, replay = true) => service.notify(id, cursor, { channel: "topic:orders", replay });
  const confirm = ({ ref }) => service.say({ type: "ok", ref, topics: ["orders"] });
  return { service, browser, storage, page, tab: tabs[0], first, second, send, confirm };
}

test("a page that comes back while another tab's newer past is being replayed receives the topic in order", async (t) => {
  const { page, tab, first, second, send, confirm, storage } = await startBoth(t);
  send("c", "19500-0");
  send("live", "21000-0", false);
  confirm(first);
  send("a", "11000-0");
  send("b", "12000-0");
  send("c", "19500-0");
  send("live", "21000-0");
  await settled();
  assert.deepEqual(page.titles(), []);
  assert.equal(storage.getItem("notifier.cursor"), "10000-0");
  confirm(second);
  await settled();
  assert.deepEqual(page.titles(), ["a", "b", "c", "live"]);
  assert.deepEqual(tab.titles(), ["x", "c", "live"]);
  send("d", "22000-0", false);
  await settled();
  assert.deepEqual(page.titles(), ["a", "b", "c", "live", "d"]);
});

test("a notification that is recalled before the past of its topic is complete is not delivered", async (t) => {
  const { service, page, second, send, confirm } = await startBoth(t);
  send("a", "19500-0");
  send("b", "19600-0");
  service.say({ type: "removed", cursor: "21000-0", channel: "topic:orders", id: "a" });
  confirm(second);
  await settled();
  assert.deepEqual(page.titles(), ["b"]);
  assert.deepEqual(page.of("removed"), [[{ id: "a", channel: "topic:orders" }]]);
});

test("a page that leaves a topic whose past has not been delivered misses nothing when it joins at its cursor", async (t) => {
  const { service, page, send } = await startBoth(t);
  send("a", "11000-0");
  service.say({ type: "ping", cursor: "22000-0" });
  await settled();
  const since = page.notifier.cursor;
  assert.equal(since, "10000-0");
  page.notifier.leave("orders");
  service.confirm();
  await settled();
  assert.deepEqual(page.titles(), []);
  page.notifier.join("orders", { since });
  await settled();
  assert.equal(service.socket.heard("subscribe").at(-1).since, since);
  send("a", "11000-0");
  service.confirm();
  await settled();
  assert.deepEqual(page.titles(), ["a"]);
  assert.equal(page.notifier.cursor, "22000-0");
});

test("a page that requests a part of the past that it is waiting for receives all of it", async (t) => {
  const { service, page, send } = await startBoth(t);
  page.notifier.join("orders", { since: "18000-0" });
  await settled();
  assert.equal(service.socket.heard("subscribe").length, 2);
  send("a", "11000-0");
  service.confirm();
  await settled();
  assert.deepEqual(page.titles(), ["a"]);
});

test("a page that was away for a moment gets what came late in it", async (t) => {
  const { service, tabs, open } = await start(t, 1);
  const storage = fakeStorage();
  const page = await open({ storage });
  service.notify("b", "20001-0");
  await settled();
  page.notifier.disconnect();
  service.notify("a", "20000-0", { channel: "all" }); // of another channel, so it may come after a later one
  const reloaded = await open({ storage });
  await service.accept({ connection: "c2", cursor: "20001-0" });
  assert.equal(service.socket.heard("hello")[0].since, "20001-0");
  service.notify("a", "20000-0", { channel: "all", replay: true });
  service.notify("b", "20001-0", { replay: true });
  await settled();
  assert.deepEqual(reloaded.titles(), ["a", "b"]);
  assert.deepEqual(tabs[0].titles(), ["b", "a"]);
});

test("a page that was away for longer than entries change places costs no connection", async (t) => {
  const { service, open } = await start(t, 1);
  const storage = fakeStorage();
  const page = await open({ storage });
  service.notify("a", "20000-0");
  service.say({ type: "ping", cursor: "25000-0" });
  await settled();
  page.notifier.disconnect();
  const reloaded = await open({ storage });
  assert.equal(reloaded.notifier.state, "connected");
  assert.equal(service.dialled.length, 1);
});

test("a page that reconnects is notified of losses in between", async (t) => {
  const { tick, service, open } = await start(t, 1);
  const storage = fakeStorage();
  const page = await open({ storage });
  page.notifier.disconnect();
  service.close(1006);
  await tick(500);
  await service.accept({ connection: "c2", cursor: "90000-0", lost: ["user:alice"] });
  const reloaded = await open({ storage }); // its cursor is the stream's
  assert.equal(service.dialled.length, 3);
  await service.accept({ connection: "c3", cursor: "90000-0", lost: ["user:alice"] });
  assert.equal(service.socket.heard("hello")[0].since, "1000-0");
  await settled();
  assert.deepEqual(reloaded.of("lost"), [[{ channels: ["user:alice"] }]]);
});

test("a page that comes while the leader opens another connection is connected when that is", async (t) => {
  const { service, open } = await start(t, 1);
  service.notify("a", "20000-0");
  await open({ storage: { getItem: () => "10000-0", setItem() {} } });
  assert.equal(service.dialled.length, 2);
  const { notifier } = await open();
  assert.equal(notifier.state, "connecting"); // it has no cursor, so it must not take that for the beginning
  await service.accept({ connection: "c2", cursor: "20000-0" });
  await settled();
  assert.deepEqual([notifier.state, notifier.cursor], ["connected", "20000-0"]);
});

test("a page that comes while the leader connects without its topics misses nothing of them", async (t) => {
  stopClock(t);
  new FakeBrowser(t);
  const service = new FakeService();
  const first = service.client({ getToken });
  first.notifier.connect();
  await settled();
  service.socket.onopen({});
  const page = service.client({ getToken, topics: ["orders"] });
  page.notifier.connect();
  await settled();
  service.welcome();
  await settled();
  assert.deepEqual([page.notifier.state, page.notifier.cursor], ["connected", "1000-0"]);
  const { topic, since } = service.socket.heard("subscribe").at(-1);
  assert.deepEqual([topic, since], ["orders", "1000-0"]);
});

test("the end of a topic's replay to one tab does not end that of a tab that joins during it", async (t) => {
  const { browser, service, tabs } = await start(t, 3);
  const replay = { channel: "topic:orders", replay: true };
  tabs[1].notifier.join("orders", { since: "500-0" });
  await settled();
  const [{ ref }] = service.socket.heard("subscribe");
  service.notify("a", "600-0", replay);
  await settled();
  browser.holdUp("messages");
  tabs[2].notifier.join("orders", { since: "500-0" });
  service.say({ type: "ok", ref, topics: ["orders"] });
  await browser.deliver();
  const asked = service.socket.heard("subscribe");
  assert.deepEqual(asked.map(({ since }) => since), ["500-0", "500-0"]);
  service.notify("a", "600-0", replay);
  service.say({ type: "ok", ref: asked[1].ref, topics: ["orders"] });
  await settled();
  assert.deepEqual(tabs[2].titles(), ["a"]);
  assert.deepEqual(tabs[2].of("replayed"), [[{ count: 1, lost: [] }]]);
});

test("the last words of a leader do not move the cursor of the one after it", async (t) => {
  const { browser, service } = await start(t, 1);
  service.notify("b", "8000-0");
  const storage = fakeStorage();
  storage.setItem("notifier.cursor", "2000-0");
  const { notifier, titles } = service.client({ getToken, storage });
  notifier.connect();
  await settled(); // it knows that the connection is at 8000, and is behind
  browser.holdUp("messages");
  service.notify("c", "9000-0");
  await browser.killLeader();
  await browser.deliver();
  await service.accept({ connection: "c2", cursor: "9500-0" });
  assert.equal(service.socket.heard("hello")[0].since, "2000-0");
  for (const [id, cursor] of [["a", "5000-0"], ["b", "8000-0"], ["c", "9000-0"]]) service.notify(id, cursor, { replay: true });
  assert.deepEqual(titles(), ["a", "b", "c"]);
});

test("disconnect() of the leader hands the connection over", async (t) => {
  const { service, tabs } = await start(t, 2);
  tabs[0].notifier.disconnect();
  await service.accept({ connection: "c2" });
  assert.equal(tabs[0].notifier.state, "idle");
  assert.equal(tabs[1].notifier.connection, "c2");
  service.notify("a", "2000-0");
  await settled();
  assert.deepEqual(tabs.map(({ titles }) => titles()), [[], ["a"]]);
});

test("a tab that disconnects while it joins the others receives nothing from them afterwards", async (t) => {
  const { browser, service, tabs, open } = await start(t, 1);
  browser.holdUp("locks");
  const late = await open();
  late.notifier.disconnect();
  await browser.deliver();
  service.notify("a", "2000-0");
  await settled();
  assert.deepEqual(tabs.map(({ titles }) => titles()), [["a"], []]);
  assert.equal(browser.held.length, 2);
});

/** Two tabs, of which the first one leads and gets its tokens from a list; its first token has expired. */
async function expired(t, tokens) {
  const tick = stopClock(t);
  new FakeBrowser(t);
  const service = new FakeService();
  const first = await service.connected({ getToken: async () => tokens.shift() });
  const second = service.client({ getToken });
  second.notifier.connect();
  await settled();
  service.close(4001, "expired");
  await tick(500);
  return { tick, service, first, second };
}

test("a leader that cannot get a token lets another tab try", async (t) => {
  const answers = [tokenOf("alice")];
  const { tick, service, first, second } = await expired(t, answers);
  assert.equal(first.notifier.state, "unauthorized");
  await service.accept({ connection: "c2" });
  assert.equal(second.notifier.connection, "c2");
  answers.push(tokenOf("alice"));
  await tick(1_000);
  assert.equal(first.notifier.connection, "c2");
  assert.equal(service.dialled.length, 2);
});

test("a leader whose getToken never answers lets another tab try", async (t) => {
  const { tick, service, first, second } = await expired(t, [tokenOf("alice"), new Promise(() => {})]);
  for (let seconds = 0; seconds < 30; seconds += 5) await tick(5_000);
  assert.equal(first.of("state").at(-1)[0].reason, "4000 no answer");
  await service.accept({ connection: "c2" });
  assert.equal(second.notifier.connection, "c2");
});

for (const other of [tokenOf("bob"), tokenOf("alice", { tenant: "acme" })]) {
  test("a token of another user ends this tab's part, and mixes nothing", async (t) => {
    const { service, first, second } = await expired(t, [tokenOf("alice"), other]);
    assert.equal(first.notifier.state, "closed");
    assert.match(first.of("error")[0][0].message, /another user/);
    await service.accept();
    assert.equal(second.notifier.state, "connected");
  });
}

test("a service that wants us to stay away keeps all tabs away", async (t) => {
  const { tick, browser, service, tabs } = await start(t, 3);
  service.close(4501, "forbidden");
  await tick(60_000);
  assert.deepEqual(tabs.map(({ notifier }) => notifier.state), ["closed", "closed", "closed"]);
  assert.ok(service.dialled.length <= 2);
  assert.deepEqual(browser.held, []);
  const dialled = service.dialled.length;
  tabs[2].notifier.connect();
  await service.accept();
  assert.equal(service.dialled.length, dialled + 1);
  assert.deepEqual(tabs.map(({ notifier }) => notifier.state), ["closed", "closed", "connected"]);
});

test("connect() in any tab is the next try for all", async (t) => {
  const { service, tabs } = await start(t, 2);
  service.close(1006);
  await settled();
  assert.deepEqual(tabs.map(({ notifier }) => notifier.state), ["reconnecting", "reconnecting"]);
  tabs[1].notifier.connect();
  await settled();
  assert.equal(service.dialled.length, 2);
});

test("a tab reminds a leader whose timers run late", async (t) => {
  const { tick, service, tabs } = await start(t, 2);
  service.close(1006);
  await settled();
  assert.equal(tabs[1].of("state").at(-1)[0].retryInMs, 500);
  await tick(500);
  assert.equal(service.dialled.length, 2);
  await tick(1_000); // and no other try for that
  assert.equal(service.dialled.length, 2);
});

test("perBrowser calls back in one tab", async (t) => {
  const { browser, service, tabs } = await start(t, 3);
  const printed = [];
  tabs.forEach(({ notifier }, number) => {
    notifier.on("notification", ({ id }) => printed.push([number, id]), { perBrowser: true });
  });
  await settled();
  service.notify("a", "2000-0");
  await settled();
  assert.deepEqual(printed, [[0, "a"]]);
  await browser.killLeader();
  await service.accept();
  service.notify("a", "2000-0", { replay: true });
  service.notify("b", "2001-0", { replay: true });
  await settled();
  assert.deepEqual(printed, [[0, "a"], [1, "b"]]);
});

test("perBrowser calls back in another tab once the listener of the first has ended", async (t) => {
  const { service, tabs } = await start(t);
  const printed = [];
  const print = (tab) => tabs[tab].notifier.on("notification", ({ id }) => printed.push([tab, id]), { perBrowser: true });
  const end = print(0);
  print(1);
  await settled();
  service.notify("a", "2000-0");
  end();
  service.notify("b", "3000-0");
  await settled();
  assert.deepEqual(printed, [[0, "a"], [1, "b"]]);
});

test("perBrowser calls back where the topic was joined, if the leader has not", async (t) => {
  const { service, tabs } = await start(t, 3);
  const printed = [];
  tabs[2].notifier.join("orders");
  for (const number of [1, 2]) {
    tabs[number].notifier.on("notification", ({ id }) => printed.push([number, id]), { perBrowser: true });
  }
  await settled();
  service.notify("a", "2000-0", { channel: "topic:orders" });
  service.notify("b", "2001-0");
  await settled();
  assert.deepEqual(printed, [[2, "a"], [1, "b"]]);
});

test("perBrowser works in a tab that is alone", async (t) => {
  stopClock(t);
  const service = new FakeService();
  const { notifier } = await service.connected();
  const printed = [];
  notifier.on("notification", ({ id }) => printed.push(id), { perBrowser: true });
  service.notify("a", "2000-0");
  assert.deepEqual(printed, ["a"]);
});

test("a topic that is rejected is reported to the tab that joined it", async (t) => {
  const { service, tabs } = await start(t, 2);
  tabs[1].notifier.join("secrets");
  await settled();
  const problem = { code: "forbidden", title: "Not granted", status: 403 };
  service.say({ type: "error", ref: service.socket.heard("subscribe")[0].ref, problem });
  await settled();
  assert.deepEqual(tabs[0].of("error"), []);
  assert.deepEqual(tabs[1].of("error"), [[{ ...problem, topic: "secrets" }]]);
});

test("a tab publishes through the leader, and through the next one if that is killed", async (t) => {
  const { browser, service, tabs } = await start(t, 2);
  const done = tabs[1].notifier.publish("orders", { title: "Hi" });
  await settled();
  const [first] = service.socket.heard("publish");
  await browser.killLeader();
  await service.accept({ connection: "c2" });
  await settled();
  const [again] = service.socket.heard("publish");
  assert.deepEqual(again, first);
  service.say({ type: "ok", ref: again.ref, topics: [], id: "n1", cursor: "2000-0" });
  assert.deepEqual(await done, { id: "n1", cursor: "2000-0" });
});

test("a frozen leader hands over, and returns as a follower that has missed nothing", async (t) => {
  const tick = stopClock(t);
  new FakeBrowser(t);
  const pages = [new EventTarget(), new EventTarget()];
  const service = new FakeService();
  const tabs = [];
  for (const page of pages) {
    provide(t, "addEventListener", page.addEventListener.bind(page));
    const tab = service.client({ getToken });
    tabs.push(tab);
    tab.notifier.connect();
    await settled();
  }
  await service.accept();
  pages[0].dispatchEvent(new Event("freeze"));
  await service.accept({ connection: "c2" });
  assert.equal(tabs[0].notifier.state, "reconnecting");
  service.notify("a", "20000-0");
  await settled();
  assert.deepEqual(tabs.map(({ titles }) => titles()), [[], ["a"]]);
  pages[0].dispatchEvent(new Event("resume"));
  await settled();
  await service.accept({ connection: "c3" });
  assert.equal(service.socket.heard("hello")[0].since, "1000-0");
  service.notify("a", "20000-0", { replay: true });
  service.notify("b", "30000-0");
  await settled();
  assert.deepEqual(tabs.map(({ titles }) => titles()), [["a", "b"], ["a", "b"]]);
  await tick(0);
});

const STATE = { type: "state", counts: { unread: 1, unseen: 1 }, revision: 1, expires_at: null };

test("the first notifications of a membership arrive before it is named, and no tab misses them", async (t) => {
  const { service, tabs } = await start(t, 3);
  const once = [];
  for (const { notifier } of tabs) notifier.on("notification", ({ title }) => once.push(title), { perBrowser: true });
  tabs[1].notifier.join("orders");
  await settled();
  service.notify("a", "2000-0", { channel: "topic:orders" });
  service.notify("b", "2000-1", { channel: "topic:other" });
  service.notify("c", "2000-2", { channel: "topic:orders" });
  await settled();
  assert.deepEqual(tabs.map(({ titles }) => titles()), [[], ["a", "c"], []]);
  service.say({ ...STATE, memberships: ["orders"] });
  service.notify("d", "2001-0", { channel: "topic:orders" });
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), ["a", "c", "d"]);
  assert.deepEqual(once, ["a", "c", "d"]);
  service.say({ ...STATE, revision: 2, memberships: ["orders", "other"] });
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), ["a", "c", "d", "b"]);
  assert.deepEqual(once, ["a", "c", "d", "b"]);
});

const NAMED = { ...STATE, type: "welcome", connection: "c2", memberships: ["orders"] };

test("a membership that a lost connection did not name is named by the next welcome", async (t) => {
  const { tick, service, tabs } = await start(t, 2);
  service.notify("a", "2000-0", { channel: "topic:orders" });
  service.notify("c", "9000-0", { channel: "topic:orders" });
  service.close(1006);
  await tick(1_000);
  await service.accept(NAMED);
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), ["a"]); // the replay begins after it
  for (const [id, cursor] of [["b", "8000-0"], ["c", "9000-0"]]) service.notify(id, cursor, { channel: "topic:orders", replay: true });
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), ["a", "b", "c"]);
});

test("a page that comes back when a welcome names a membership receives the topic in order", async (t) => {
  const { service, tabs, open } = await start(t, 1);
  service.notify("b", "20000-0", { channel: "topic:orders" });
  service.notify("x", "30000-0");
  const page = await open({ storage: { getItem: () => "10000-0", setItem() {} } });
  await service.accept({ ...NAMED, cursor: "30000-0" });
  for (const [id, cursor] of [["a", "15000-0"], ["b", "20000-0"]]) service.notify(id, cursor, { channel: "topic:orders", replay: true });
  service.notify("x", "30000-0", { replay: true });
  await settled();
  assert.deepEqual(page.titles(), ["a", "b", "x"]);
  assert.deepEqual(tabs[0].titles(), ["x", "b"]);
});

test("what another tab's replay had of a membership before it was named is not missed", async (t) => {
  const { service, tabs } = await start(t, 2);
  tabs[1].notifier.join("orders", { since: "500-0" });
  await settled();
  service.notify("a", "2000-0", { channel: "topic:orders", replay: true });
  service.notify("x", "9000-0", { replay: true });
  service.confirm();
  service.say({ ...STATE, memberships: ["orders"] });
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), ["x", "a"]);
});

test("what a topic had long before its membership is not repeated, and no more than a thousand", async (t) => {
  const { tick, service, tabs } = await start(t, 2);
  service.notify("old", "2000-0", { channel: "topic:orders" });
  await tick(20_000);
  service.say({ type: "ping", cursor: "2000-0" });
  await tick(20_000);
  service.say({ type: "ping", cursor: "2000-0" });
  await tick(20_000);
  for (let number = 1; number <= 1_001; number++) service.notify(`${number}`, `${3000 * number}-0`, { channel: "topic:orders" });
  service.say({ ...STATE, memberships: ["orders"] });
  await settled();
  for (const { titles } of tabs) assert.deepEqual(titles(), Array.from({ length: 1_000 }, (_, index) => `${index + 2}`));
});

test("many notifications before their membership is named are in order when they are replayed", async (t) => {
  const { tick, service, tabs } = await start(t, 2);
  const titles = Array.from({ length: 1_001 }, (_, number) => `${number}`);
  for (const title of titles) service.notify(title, `20000-${title}`, { channel: "topic:orders" });
  service.close(1006);
  await tick(1_000);
  await service.accept(NAMED);
  for (const title of titles) service.notify(title, `20000-${title}`, { channel: "topic:orders", replay: true });
  await settled();
  for (const tab of tabs) assert.deepEqual(tab.titles(), titles);
});
