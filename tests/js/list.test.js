import assert from "node:assert/strict";
import test from "node:test";
import { createInbox } from "../../browser/src/elements/inbox-store.js";
import { createList } from "../../browser/src/elements/list.js";
import { FakeHttp } from "./fake_http.js";
import { settled, stopClock } from "./fake_service.js";

/** A Notifier as the elements know it: the test decides what it reports. */
class FakeNotifier {
  url = "https://notify.example.com/base/v1/stream";
  token = async () => "token-1";
  #listeners = {};

  on(event, callback) {
    this.#listeners[event] = callback;
  }

  say(event, ...details) {
    this.#listeners[event](...details);
  }
}

function item(number, flags) {
  const notification = { id: `n${number}`, title: `Number ${number}` };
  return { cursor: `${number}-0`, channel: "user:alice", notification, seen: true, read: false, archived: false, muted: false, ...flags };
}

function page(items, members) {
  return { items, next: null, cursor: "100-0", counts: { unread: 1, unseen: 0 }, revision: 7, expires_at: null, ...members };
}

/** A list that is shown and has been fetched. */
async function start(t, items, members, changed = () => {}) {
  const tick = stopClock(t);
  const http = new FakeHttp(t);
  const notifier = new FakeNotifier();
  const inbox = createInbox(notifier, () => 0.5);
  const list = createList(inbox, changed, { random: () => 0.5 });
  const titles = () => list.items.map(({ notification }) => notification.id);
  notifier.say("inbox", { counts: { unread: 1, unseen: 0 }, revision: 7, expires_at: null });
  list.show(true);
  await settled();
  await http.latest.answer(page(items, members));
  await tick(250);
  return { tick, http, notifier, inbox, list, titles };
}

test("the list requests the items that it shows over HTTP, with the token of the stream", async (t) => {
  const { http, list } = await start(t, [item(1)]);
  assert.equal(http.latest.path, "/base/v1/inbox");
  assert.deepEqual([...http.latest.query], [["status", "all"], ["limit", "20"]]);
  assert.equal(http.latest.options.headers.Authorization, "Bearer token-1");
  list.filter("archived");
  await settled();
  assert.equal(http.latest.query.get("status"), "archived");
  assert.equal(list.hasLoaded, false);
});

test("a hidden list is not fetched before it is shown", async (t) => {
  const { tick, http, notifier, list } = await start(t, [item(1)]);
  list.show(false);
  notifier.say("notification", { id: "n2" }, { channel: "user:alice", cursor: "200-0" });
  await tick(10_000);
  assert.equal(http.requests.length, 1);
  list.show(true);
  await settled();
  assert.equal(http.requests.length, 2);
});

test("many that arrive at once, with counts that do not explain them, are fetched once", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(1)]);
  for (const id of ["n2", "n3", "n4"]) notifier.say("notification", { id }, { channel: "user:alice", cursor: "200-0" });
  notifier.say("inbox", { counts: { unread: 4, unseen: 0 }, revision: 7, expires_at: null });
  await tick(500);
  assert.equal(http.requests.length, 2);
  await http.latest.answer(page([item(4), item(3), item(2), item(1)]));
  await tick(1_000);
  assert.equal(http.requests.length, 2);
  assert.deepEqual(titles(), ["n4", "n3", "n2", "n1"]);
});

test("a notification to many users is fetched by each at a time of its own", async (t) => {
  const { tick, http, notifier } = await start(t, [item(1)]);
  notifier.say("notification", { id: "n2" }, { channel: "all", cursor: "200-0" });
  await tick(2_499);
  assert.equal(http.requests.length, 1);
  await tick(1);
  assert.equal(http.requests.length, 2);
});

for (const [action, what, expected] of [
  ["read", { ids: ["n2"] }, { 3: false, 2: true, 1: false }],
  ["read", { up_to: "2-0" }, { 3: false, 2: true, 1: true }],
  ["read", { up_to: "10-0" }, { 3: true, 2: true, 1: true }],
]) {
  test(`a state frame marks items as read, by ${JSON.stringify(what)}`, async (t) => {
    const { http, notifier, list } = await start(t, [item(3), item(2), item(1)]);
    const change = { revision: 8, action, ...what };
    notifier.say("inbox", { counts: { unread: 9, unseen: 0 }, revision: 8, expires_at: null, changes: [change] });
    const read = Object.fromEntries(list.items.map(({ cursor, read }) => [parseInt(cursor), read]));
    assert.deepEqual(read, expected);
    assert.equal(http.requests.length, 1);
  });
}

test("items that no longer belong to a list leave it, and items that belong to it again are fetched", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(2), item(1)]);
  const say = (revision, action) => {
    const changes = [{ revision, action, ids: ["n2"] }];
    notifier.say("inbox", { counts: { unread: 0, unseen: 0 }, revision, expires_at: null, changes });
  };
  say(8, "archive");
  assert.deepEqual(titles(), ["n1"]);
  await tick(250);
  assert.equal(http.requests.length, 1);
  say(9, "unarchive");
  await settled();
  assert.equal(http.requests.length, 2);
});

test("a missed change has the list fetched again, a known change does not", async (t) => {
  const { tick, http, notifier } = await start(t, [item(1)]);
  const say = (revision, changes) => notifier.say("inbox", { counts: {}, revision, expires_at: null, changes });
  say(8, [{ revision: 8, action: "read", ids: ["n1"] }]);
  say(8, [{ revision: 8, action: "read", ids: ["n1"] }]);
  await tick(250);
  const before = http.requests.length;
  say(10, [{ revision: 10, action: "read", ids: ["n1"] }]);
  await settled();
  assert.equal(http.requests.length, before + 1);
});

test("a state frame without the changes that were too many has the list fetched, whole", async (t) => {
  const { http, notifier, list, titles } = await start(t, [item(3), item(2), item(1)]);
  notifier.say("inbox", { counts: { unread: 0, unseen: 0 }, revision: 8, expires_at: null });
  await settled();
  assert.equal(http.requests.length, 2);
  await http.latest.answer({ ...page([item(3, { read: true })]), revision: 8, next: "3-0" });
  assert.deepEqual(titles(), ["n3"], "older items may have changed, too");
  assert.equal(list.items[0].read, true);
  assert.ok(list.hasMore);
});

test("an answer that is older than a state frame is fetched again", async (t) => {
  const { tick, http, notifier, list } = await start(t, [item(1)]);
  list.reload();
  await settled();
  const changes = [{ revision: 8, action: "read", ids: ["n1"] }];
  notifier.say("inbox", { counts: { unread: 0, unseen: 0 }, revision: 8, expires_at: null, changes });
  await http.latest.answer(page([item(1)]));
  await tick(250);
  assert.equal(http.requests.length, 3);
});

test("an action shows at once, and is rolled back when the service rejects it", async (t) => {
  const { http, list, titles } = await start(t, [item(2), item(1)]);
  const done = list.act("archive", { ids: ["n2"] });
  assert.deepEqual(titles(), ["n1"]);
  await settled();
  assert.equal(http.latest.path, "/base/v1/inbox/archive");
  assert.deepEqual(JSON.parse(http.latest.options.body), { ids: ["n2"] });
  const refused = assert.rejects(done, { code: "broker_unavailable" });
  await http.latest.answer({ code: "broker_unavailable", title: "Not now" }, 503);
  await refused;
  assert.deepEqual(titles(), ["n2", "n1"]);
});

test("to read all is to read what the list is known to have", async (t) => {
  const { http, list } = await start(t, [item(1)]);
  list.markAllRead();
  await settled();
  assert.equal(http.latest.path, "/base/v1/inbox/read");
  assert.deepEqual(JSON.parse(http.latest.options.body), { up_to: "100-0" });
});

test("items that are shown are marked as seen, once per fetch", async (t) => {
  const { tick, http, notifier } = await start(t, [item(1)], { counts: { unread: 1, unseen: 1 } });
  assert.equal(http.latest.path, "/base/v1/inbox/seen");
  assert.deepEqual(JSON.parse(http.latest.options.body), { up_to: "100-0" });
  notifier.say("inbox", { counts: { unread: 2, unseen: 1 }, revision: 7, expires_at: null });
  await tick(0);
  assert.equal(http.requests.filter(({ path }) => path.endsWith("seen")).length, 1);
});

test("older items are fetched from the end of the others, and stay when something arrives", async (t) => {
  const { tick, http, notifier, list, titles } = await start(t, [item(4), item(3)], { next: "p2" });
  const more = list.more();
  await settled();
  assert.equal(http.latest.query.get("before"), "p2");
  await http.latest.answer(page([item(3), item(2), item(1)]));
  await more;
  assert.deepEqual(titles(), ["n4", "n3", "n2", "n1"]);
  assert.equal(list.hasMore, false);
  notifier.say("notification", { id: "n5" }, { channel: "user:alice", cursor: "200-0" });
  await tick(500);
  await http.latest.answer(page([item(5), item(4)], { next: "p2" }));
  assert.deepEqual(titles(), ["n5", "n4", "n3", "n2", "n1"]);
  assert.equal(list.hasMore, false);
});

test("older items are fetched once, and never at the same time as the newest", async (t) => {
  const { tick, http, notifier, list, titles } = await start(t, [item(4), item(3)], { next: "p2" });
  notifier.say("lost", { channels: ["user:alice"] });
  await settled();
  const older = [list.more(), list.more()];
  await settled();
  assert.equal(http.requests.length, 2);
  await http.latest.answer(page([item(5), item(4)], { next: "p3" }));
  assert.equal(http.latest.query.get("before"), "p3");
  notifier.say("lost", { channels: ["user:alice"] });
  await tick(10_000);
  assert.equal(http.requests.length, 3);
  await http.latest.answer(page([item(3), item(2)], { next: "p4" }));
  await Promise.all(older);
  assert.deepEqual(titles(), ["n5", "n4", "n3", "n2"]);
  assert.equal(http.requests.length, 4);
  assert.equal(http.latest.query.get("before"), null);
});

test("older items that are older than a state frame are fetched again with the others", async (t) => {
  const { tick, http, notifier, list } = await start(t, [item(4), item(3)], { next: "p2" });
  const more = list.more();
  await settled();
  const changes = [{ revision: 8, action: "read", up_to: "100-0" }];
  notifier.say("inbox", { counts: { unread: 0, unseen: 0 }, revision: 8, expires_at: null, changes });
  await http.latest.answer(page([item(2), item(1)], { next: "p3" }));
  await more;
  await tick(250);
  assert.equal(http.latest.query.get("before"), null);
  const read = [4, 3, 2, 1].map((number) => item(number, { read: true }));
  await http.latest.answer(page(read, { next: "p3", revision: 8 }));
  await tick(250);
  assert.deepEqual(list.items, read);
  assert.equal(http.requests.length, 3);
});

test("a recall and an expiry take items away, and the counts are fetched if no frame has them", async (t) => {
  const { tick, http, notifier, inbox, titles } = await start(t, [item(3), item(2), item(1)]);
  notifier.say("removed", { id: "n3" });
  assert.deepEqual(titles(), ["n2", "n1"]);
  const at = new Date(Date.now() + 60_000).toISOString();
  const soon = item(4);
  soon.notification.expires_at = at;
  notifier.say("inbox", { counts: { unread: 2, unseen: 0 }, revision: 7, expires_at: at });
  await tick(500);
  await http.latest.answer(page([soon, item(2)], { expires_at: at }));
  await tick(58_500);
  assert.deepEqual(titles(), ["n4", "n2"]);
  await tick(1_000);
  assert.deepEqual(titles(), ["n2"]);
  await tick(1_000);
  assert.equal(http.latest.path, "/base/v1/inbox/counts");
  await http.latest.answer({ counts: { unread: 1, unseen: 0 }, revision: 7, expires_at: null });
  assert.deepEqual(inbox.counts, { unread: 1, unseen: 0 });
});

test("an answer does not overwrite the counts of a later frame", async (t) => {
  const { http, notifier, inbox } = await start(t, [item(1)]);
  inbox.act("read", { ids: ["n1"] });
  await settled();
  notifier.say("inbox", { counts: { unread: 5, unseen: 0 }, revision: 7, expires_at: null });
  await http.requests.find(({ path }) => path.endsWith("read")).answer({ counts: { unread: 0, unseen: 0 }, revision: 8 });
  assert.equal(inbox.counts.unread, 5);
});

test("a list that has ended reports no later changes", async (t) => {
  const calls = [];
  const { http, list } = await start(t, [item(1)], {}, () => calls.push("changed"));
  list.reload();
  await settled();
  list.end();
  calls.length = 0;
  await http.latest.answer(page([item(2), item(1)]));
  assert.deepEqual(calls, []);
});

test("a list that could not be fetched has the problem, and is fetched after the next frame", async (t) => {
  const { tick, http, notifier, list, titles } = await start(t, [item(1)]);
  list.reload();
  await settled();
  await http.latest.answer({ code: "broker_unavailable", title: "Not now" }, 503);
  assert.equal(list.problem.code, "broker_unavailable");
  assert.deepEqual(titles(), ["n1"]);
  await tick(250);
  notifier.say("inbox", { counts: {}, revision: 7, expires_at: null });
  await tick(0);
  await http.latest.answer(page([item(2)]));
  assert.equal(list.problem, undefined);
  assert.deepEqual(titles(), ["n2"]);
});

/** Sends a list a notification to the user; `more` are further fields. */
function arrive(notifier, number, more, channel = "user:alice") {
  notifier.say("notification", { id: `n${number}`, title: `Number ${number}`, ...more }, { channel, cursor: `${100 + number}-0` });
}

/** The item of a notification that arrived. */
function arrived(number) {
  return { ...item(number, { seen: false }), cursor: `${100 + number}-0` };
}

function count(notifier, unread, unseen) {
  notifier.say("inbox", { counts: { unread, unseen }, revision: 7, expires_at: null });
}

test("notifications become items without a fetch, when the counts include them", async (t) => {
  const { tick, http, notifier, list, titles } = await start(t, [item(1)]);
  arrive(notifier, 3);
  arrive(notifier, 2, {}, "all"); // later, with an earlier cursor
  assert.deepEqual(titles(), ["n1"]);
  count(notifier, 3, 2);
  assert.deepEqual(titles(), ["n3", "n2", "n1"]);
  assert.deepEqual(list.items[0], arrived(3));
  await tick(999);
  assert.equal(http.requests.length, 1);
  await tick(1);
  assert.equal(http.latest.path, "/base/v1/inbox/seen"); // once for both, and for nothing that may arrive in between
  assert.deepEqual(JSON.parse(http.latest.options.body), { ids: ["n3", "n2"] });
  await http.latest.answer({ counts: { unread: 3, unseen: 0 }, revision: 8, expires_at: null });
  await tick(60_000);
  assert.equal(http.requests.length, 2);
});

test("counts may arrive before their notifications, as in the answer to a poll", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(1)]);
  count(notifier, 2, 1);
  arrive(notifier, 2);
  assert.deepEqual(titles(), ["n2", "n1"]);
  await tick(900);
  assert.equal(http.requests.length, 1);
});

test("a notification before the cursor of a list without it is not an item", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(1)]);
  notifier.say("notification", { id: "n2" }, { channel: "user:alice", cursor: "100-0" });
  count(notifier, 2, 1);
  assert.deepEqual(titles(), ["n1"]);
  await tick(500);
  assert.equal(http.requests.length, 2);
});

test("a notification that the counts do not include is not an item", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(1)]);
  arrive(notifier, 2); // for a dashboard
  await tick(500);
  assert.equal(http.requests.length, 2);
  assert.deepEqual(titles(), ["n1"]);
  await http.latest.answer(page([item(1)]));
  await tick(250);
  arrive(notifier, 3);
  count(notifier, 2, 1);
  assert.deepEqual(titles(), ["n3", "n1"]);
  assert.equal(http.requests.length, 2);
});

test("a notification and one for a dashboard, which the counts do not distinguish, are fetched", async (t) => {
  const { tick, http, notifier, titles } = await start(t, [item(1)]);
  arrive(notifier, 2);
  arrive(notifier, 3);
  count(notifier, 2, 1);
  assert.deepEqual(titles(), ["n1"]);
  await tick(500);
  await http.latest.answer(page([item(3), item(1)]));
  assert.deepEqual(titles(), ["n3", "n1"]);
});

test("counts without a notification, for example of one without echo, have the list fetched", async (t) => {
  const { tick, http, notifier } = await start(t, [item(1)]);
  count(notifier, 2, 1);
  await tick(500);
  assert.equal(http.requests.length, 2);
});

test("a replacement takes the place of an unread item without a fetch, and of one that was not loaded with one", async (t) => {
  const first = item(2);
  first.notification.collapse_key = "upload";
  const { tick, http, notifier, titles } = await start(t, [first, item(1)], { next: "p2" });
  arrive(notifier, 3, { collapse_key: "upload" });
  count(notifier, 1, 0);
  assert.deepEqual(titles(), ["n2", "n1"]); // as many unread, but one more unseen should be
  count(notifier, 1, 1);
  assert.deepEqual(titles(), ["n3", "n1"]);
  assert.equal(http.requests.length, 1);
  arrive(notifier, 4, { collapse_key: "download" });
  count(notifier, 1, 1);
  await tick(500);
  assert.equal(http.requests.filter(({ path }) => path.endsWith("inbox")).length, 2);
});

for (const isFirst of [true, false]) {
  test(`a recall ${isFirst ? "before" : "after"} its counts needs no fetch`, async (t) => {
    const { tick, http, notifier, titles } = await start(t, [item(2), item(1)]);
    if (!isFirst) count(notifier, 0, 0);
    notifier.say("removed", { id: "n2" });
    if (isFirst) count(notifier, 0, 0);
    assert.deepEqual(titles(), ["n1"]);
    await tick(60_000);
    assert.equal(http.requests.length, 1);
  });
}

test("a notification during a fetch, or while the list is hidden or shows archived items, is not an item yet", async (t) => {
  const { tick, http, notifier, list, titles } = await start(t, [item(1)]);
  list.reload();
  await settled();
  arrive(notifier, 2);
  count(notifier, 2, 1);
  await http.latest.answer(page([item(1)])); // it was read before
  await tick(500);
  await http.latest.answer(page([item(2), item(1)]));
  assert.deepEqual(titles(), ["n2", "n1"]);
  await tick(250);
  list.filter("archived");
  await settled();
  await http.latest.answer(page([], { counts: { unread: 2, unseen: 1 } }));
  await tick(250);
  const { length } = http.requests;
  arrive(notifier, 3);
  count(notifier, 3, 2);
  await tick(1_000);
  assert.deepEqual([titles(), http.requests.length], [[], length]);
});

test("after a reconnect the list is fetched, whatever the counts", async (t) => {
  const { tick, http, notifier } = await start(t, [item(1)]);
  notifier.connection = "c2";
  count(notifier, 1, 0);
  await tick(500);
  assert.equal(http.requests.length, 2);
});

test("to read all is to read items by their ids that the cursor of their list does not cover", async (t) => {
  const { http, list } = await start(t, [item(101), item(1)]);
  list.markAllRead();
  await settled();
  const [first, second] = http.requests.slice(-2).map(({ options }) => JSON.parse(options.body));
  assert.deepEqual([first, second], [{ up_to: "100-0" }, { ids: ["n101"] }]);
});

test("to read all is to read items that have arrived by their ids", async (t) => {
  const { http, notifier, list } = await start(t, [item(1)]);
  arrive(notifier, 200);
  count(notifier, 2, 1);
  list.markAllRead();
  await settled();
  const [first, second] = http.requests.slice(-2).map(({ options }) => JSON.parse(options.body));
  assert.deepEqual([first, second], [{ up_to: "100-0" }, { ids: ["n200"] }]);
});

test("a list that is hidden marks as seen what was shown", async (t) => {
  const { http, notifier, list } = await start(t, [item(1)]);
  arrive(notifier, 2);
  count(notifier, 2, 1);
  list.show(false);
  await settled();
  assert.deepEqual(JSON.parse(http.latest.options.body), { ids: ["n2"] });
});

for (const [state, wait] of [["connecting", 1_000], ["idle", 0], ["connected", 0]]) {
  test(`while the stream is ${state} the list is fetched after ${wait} ms, or once it has begun`, async (t) => {
    for (const begins of [false, true]) {
      const tick = stopClock(t);
      const http = new FakeHttp(t);
      const notifier = Object.assign(new FakeNotifier(), { state });
      const list = createList(createInbox(notifier), () => {});
      list.show(true);
      await settled();
      assert.equal(http.requests.length, wait ? 0 : 1);
      if (!begins) {
        await tick(1_000);
      } else if (wait) {
        notifier.say("inbox", { counts: { unread: 1, unseen: 0 }, revision: 7, expires_at: null });
        await settled();
      }
      assert.equal(http.requests.length, 1);
      await http.latest.answer(page([item(1)]));
      await tick(10_000);
      assert.equal(http.requests.length, 1);
      list.end();
    }
  });
}
