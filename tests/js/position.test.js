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

test("an ack begins where the last one ended, and the first one at the beginning of the connection", () => {
  const position = at("10-0");
  position.reach("20-0");
  assert.deepEqual(position.acknowledge(), { cursor: "20-0", since: "10-0" });
  position.reach("30-0");
  assert.deepEqual(position.acknowledge(), { cursor: "30-0", since: "20-0" });
});

test("after a break an ack covers what the last one did, and what was passed on since", () => {
  const position = at("10-0");
  position.reach("20-0");
  position.begin();
  position.startAt("90-0");
  assert.deepEqual(position.acknowledge(), { cursor: "20-0", since: "10-0" });
  position.reach("30-0");
  position.acknowledge();
  position.reach("40-0");
  position.begin();
  assert.deepEqual(position.acknowledge(), { cursor: "40-0", since: "20-0" });
});

test("a position that goes back acknowledges from there, and a new leader from its own beginning", () => {
  const position = at("10000-0");
  position.reach("20000-0");
  position.acknowledge();
  position.goBack("5000-0");
  position.begin();
  position.reach("6000-0");
  assert.deepEqual(position.acknowledge(), { cursor: "6000-0", since: "5000-0" });
  position.clear();
  position.begin();
  position.startAt("30000-0");
  position.reach("31000-0");
  assert.deepEqual(position.acknowledge(), { cursor: "31000-0", since: "30000-0" });
});
