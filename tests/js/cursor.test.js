import assert from "node:assert/strict";
import test from "node:test";
import { compareCursors, isBefore, isHistory, isMissed, remember } from "../../browser/src/cursor.js";

test("cursors are compared as two numbers, not as text", () => {
  const sorted = ["9-0", "10-0", "10-2", "10-10", "1763661600123-0"];
  assert.deepEqual([...sorted].reverse().sort(compareCursors), sorted);
  assert.equal(compareCursors("10-0", "10-0"), 0);
});

test("an unknown cursor is before nothing", () => {
  assert.ok(isBefore("9-0", "10-0"));
  assert.ok(!isBefore("10-0", "10-0"));
  assert.ok(!isBefore(undefined, "10-0"));
  assert.ok(!isBefore("10-0", undefined));
});

test("history is more than two seconds old", () => {
  assert.equal(isHistory("7999-9", "10000-0"), true);
  assert.equal(isHistory("8000-0", "10000-0"), false);
  assert.equal(isHistory("8000-0", undefined), false);
});

test("a reader may be missing entries up to two seconds before its cursor", () => {
  assert.ok(isMissed("20000-0", "10000-0"));
  assert.ok(isMissed("10000-0", "10000-0"));
  assert.ok(isMissed("8000-0", "10000-0"));
  assert.ok(!isMissed("7999-9", "10000-0"));
  assert.ok(!isMissed(undefined, "10000-0"));
  assert.ok(!isMissed("10000-0", undefined));
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
