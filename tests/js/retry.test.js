import assert from "node:assert/strict";
import test from "node:test";
import { backoff, comesBack } from "../../browser/src/retry.js";

test("the first retry comes within a second", () => {
  assert.equal(backoff(0, () => 0), 0);
  assert.equal(backoff(0, () => 1), 1_000);
});

test("the longest wait doubles with each failure, up to 30 seconds", () => {
  const longest = [0, 1, 2, 3, 4, 5, 6, 5_000].map((failures) => backoff(failures, () => 1));
  assert.deepEqual(longest, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test("a client reconnects after some close codes only", () => {
  const back = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4004, 4499];
  const away = [1002, 1007, 1009, 4500, 4501, 4502, 4999];
  assert.deepEqual(back.filter((code) => !comesBack(code)), []);
  assert.deepEqual(away.filter(comesBack), []);
});
