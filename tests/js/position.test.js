import assert from "node:assert/strict";
import test from "node:test";
import { Position } from "../../browser/src/position.js";

function at(cursor) {
  const position = new Position();
  position.startAt(cursor);
  return position;
}

test("a position starts at the first cursor, and moves forward only", () => {
  const position = at("10-0");
  position.startAt("20-0");
  position.reach("9-0");
  assert.equal(position.cursor, "10-0");
  position.reach("30-0");
  position.reach(undefined);
  assert.equal(position.cursor, "30-0");
});

test("without a cursor nothing is reached: the welcome has the first one", () => {
  const position = new Position();
  position.reach("30-0");
  assert.equal(position.cursor, undefined);
});

test("going back to an earlier cursor takes another connection", () => {
  const position = at("10000-0");
  assert.ok(position.goBack("9000-0"));
  assert.equal(position.cursor, "9000-0");
  assert.ok(!position.goBack("9500-0"));
  assert.equal(position.cursor, "9000-0");
});

test("so does going back to where entries may arrive out of order", () => {
  const position = at("10000-0");
  position.deliver("10000-0");
  position.deliver("9000-0");
  assert.equal(position.newest, "10000-0");
  assert.ok(position.goBack("12000-0"));
  assert.ok(!position.goBack("12001-0"));
  assert.equal(position.cursor, "10000-0");
});

test("after a loss every tab goes back, until there is another connection", () => {
  const position = at("10000-0");
  position.lose();
  position.deliver("10001-0");
  assert.ok(position.goBack("90000-0"));
  position.begin();
  assert.ok(!position.goBack("90000-0"));
});

test("a new leader has no position", () => {
  const position = at("10000-0");
  position.deliver("10000-0");
  position.clear();
  assert.deepEqual([position.cursor, position.newest], [undefined, undefined]);
  assert.ok(position.goBack("5000-0"));
  assert.equal(position.cursor, "5000-0");
});
