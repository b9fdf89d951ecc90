import assert from "node:assert/strict";
import test from "node:test";
import { createInterests, isWanted, topicOf } from "../../browser/src/interests.js";

const wants = (tab, topics, once) => ({ tab, topics, once });

test("a topic is requested once, however many tabs want it", () => {
  const interests = createInterests();
  assert.deepEqual(interests.declare(wants("a", [["orders"]])), [{ topic: "orders", since: undefined }]);
  assert.deepEqual(interests.declare(wants("b", [["orders"]])), []);
  assert.deepEqual(interests.declare(wants("a", [["orders"]])), []);
  assert.deepEqual(interests.all(), [{ topic: "orders", since: undefined }]);
});

test("a topic that no other tab has is requested from the tab's cursor", () => {
  const interests = createInterests();
  interests.declare(wants("a", [["orders"]]));
  const requested = interests.declare(wants("b", [["orders"], ["invoices"]]), "9-0");
  assert.deepEqual(requested, [{ topic: "invoices", since: "9-0" }]);
});

test("a past is requested once per tab and cursor, from the earliest cursor", () => {
  const interests = createInterests();
  const since = (tab, cursor) => interests.declare(wants(tab, [["orders", cursor]])).map(({ since }) => since);
  assert.deepEqual(since("a", "9-0"), ["9-0"]);
  assert.deepEqual(since("a", "9-0"), []);
  assert.deepEqual(since("b", "10-0"), ["9-0"]);
  assert.deepEqual(since("b", "5-0"), ["5-0"]);
  assert.equal(interests.pastOf("orders"), "5-0");
});

test("topics that no tab wants any longer are removed, once", () => {
  const interests = createInterests();
  interests.declare(wants("a", [["orders"], ["invoices"]]));
  interests.declare(wants("b", [["orders"]]));
  interests.declare(wants("a", []));
  assert.deepEqual(interests.prune(), ["invoices"]);
  assert.deepEqual(interests.prune(), []);
  interests.forget("b");
  assert.equal(interests.knows("b"), false);
  assert.deepEqual(interests.prune(), ["orders"]);
  assert.equal(interests.wants("orders"), false);
});

test("the end of a past names the tabs that asked for it", () => {
  const interests = createInterests();
  interests.declare(wants("a", [["orders"]]));
  const [subscription] = interests.declare(wants("b", [["orders", "5-0"]]));
  assert.deepEqual(interests.settle(subscription), { topic: "orders", since: "5-0", tabs: ["b"] });
  assert.equal(interests.pastOf("orders"), undefined);
  assert.equal(interests.settle(subscription), undefined);
});

test("the end of an earlier subscription does not end a later one", () => {
  const interests = createInterests();
  const [earlier] = interests.declare(wants("a", [["orders", "5-0"]]));
  const [later] = interests.declare(wants("b", [["orders", "5-0"]]));
  assert.equal(interests.settle(earlier), undefined);
  assert.equal(interests.pastOf("orders"), "5-0");
  assert.deepEqual(interests.settle(later).tabs, ["a", "b"]);
});

test("the first tab that wants a channel and has such callbacks runs them", () => {
  const interests = createInterests();
  interests.declare(wants("a", [], false));
  interests.declare(wants("b", [], true));
  interests.declare(wants("c", [["orders"]], true));
  assert.equal(interests.chosen("user:alice"), "b");
  assert.equal(interests.chosen("topic:orders"), "c");
  assert.equal(interests.chosen("topic:invoices"), undefined);
  assert.equal(interests.chosen("topic:invoices", { memberships: ["invoices"] }), "b");
});

test("a new leader has no interests", () => {
  const interests = createInterests();
  interests.declare(wants("a", [["orders", "5-0"]]));
  interests.clear();
  assert.deepEqual([interests.knows("a"), interests.all()], [false, []]);
});

test("only a topic's channel needs to be joined", () => {
  assert.equal(topicOf("topic:a:b"), "a:b");
  assert.equal(topicOf("user:topic:a"), undefined);
  const topics = new Map([["a"]]);
  assert.deepEqual(["all", "user:b", "topic:a", "topic:b"].filter((channel) => isWanted(topics, channel)), [
    "all",
    "user:b",
    "topic:a",
  ]);
  assert.ok(isWanted(topics, "topic:b", { memberships: ["b"] }));
});
