import assert from "node:assert/strict";
import test from "node:test";
import { compareCursors, isBefore, isHistory, remember } from "../../browser/src/cursor.js";
import { backoff, comesBack } from "../../browser/src/retry.js";
import { hears, topicOf } from "../../browser/src/stream.js";
import { expiresSoon } from "../../browser/src/token.js";

test("cursors are compared as two numbers, not as text", () => {
  const sorted = ["9-0", "10-0", "10-2", "10-10", "1763661600123-0"];
  assert.deepEqual([...sorted].reverse().sort(compareCursors), sorted);
  assert.equal(compareCursors("10-0", "10-0"), 0);
});

test("an id is new once", () => {
  const seen = new Set();
  assert.equal(remember(seen, "a", 10), true);
  assert.equal(remember(seen, "a", 10), false);
});

test("beyond the limit the oldest id is forgotten", () => {
  const seen = new Set();
  for (const id of ["a", "b", "c"]) remember(seen, id, 2);
  assert.deepEqual([...seen], ["b", "c"]);
});

test("the first retry comes within a second", () => {
  assert.equal(backoff(0, () => 0), 0);
  assert.equal(backoff(0, () => 1), 1_000);
});

test("the longest wait doubles with each failure, up to 30 seconds", () => {
  const longest = [0, 1, 2, 3, 4, 5, 6, 5_000].map((failures) => backoff(failures, () => 1));
  assert.deepEqual(longest, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("a close code says whether to come back", () => {
  const back = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4004, 4499];
  const away = [1002, 1007, 1009, 4500, 4501, 4502, 4999];
  assert.deepEqual(back.filter((code) => !comesBack(code)), []);
  assert.deepEqual(away.filter(comesBack), []);
});

test("a place that is not known is before nothing", () => {
  assert.ok(isBefore("9-0", "10-0"));
  assert.ok(!isBefore("10-0", "10-0"));
  assert.ok(!isBefore(undefined, "10-0"));
  assert.ok(!isBefore("10-0", undefined));
});

test("history is what lies more than two seconds back", () => {
  assert.equal(isHistory("7999-9", "10000-0"), true);
  assert.equal(isHistory("8000-0", "10000-0"), false);
  assert.equal(isHistory("8000-0", undefined), false);
});

test("only a topic's channel needs to be joined", () => {
  assert.equal(topicOf("topic:a:b"), "a:b");
  assert.equal(topicOf("user:topic:a"), undefined);
  const topics = new Map([["a"]]);
  assert.deepEqual(["all", "user:b", "topic:a", "topic:b"].filter((channel) => hears(topics, channel)), [
    "all",
    "user:b",
    "topic:a",
  ]);
});

test("a token that ends within five seconds is not worth sending", () => {
  const token = (claims) => `head.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
  const now = Date.now() / 1000;
  assert.equal(expiresSoon(token({ sub: "zoë~??>", exp: now + 4 })), true);
  assert.equal(expiresSoon(token({ sub: "zoë~??>", exp: now + 60 })), false);
});

test("a token that cannot be read, or never ends, is left to the service", () => {
  assert.equal(expiresSoon("opaque"), false);
  assert.equal(expiresSoon("a.%%%.c"), false);
  assert.equal(expiresSoon(`a.${btoa("{}")}.c`), false);
});
