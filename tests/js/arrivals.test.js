import assert from "node:assert/strict";
import test from "node:test";
import { createArrivals, keyOf } from "../../browser/src/elements/arrivals.js";

function arrival(number, key) {
  return { notification: { id: `n${number}`, collapse_key: key }, channel: "user:alice", cursor: `${number}-0` };
}

test("only notifications of the same publisher replace each other", () => {
  const of = (sender, id = "1") => ({ channel: "topic:a", notification: { id, collapse_key: "k", ...(sender && { sender }) } });
  assert.equal(keyOf(of("bob")), keyOf(of("bob", "2")));
  assert.equal(keyOf(of()), keyOf(of(undefined, "2")));
  assert.equal(new Set([of(), of("bob"), of("eve")].map(keyOf)).size, 3);
});

const cursors = (found) => found?.all.map(({ cursor }) => cursor);

test("items match if they explain the counts, in any order and together", () => {
  const arrivals = createArrivals();
  arrivals.begin({ unread: 5, unseen: 2 });
  assert.deepEqual(cursors(arrivals.match([])), []);
  arrivals.count({ unread: 6, unseen: 3 });
  assert.equal(arrivals.match([]), undefined);
  arrivals.add(arrival(1));
  arrivals.add(arrival(2));
  assert.equal(arrivals.match([]), undefined);
  arrivals.count({ unread: 7, unseen: 4 });
  assert.deepEqual(cursors(arrivals.match([])), ["1-0", "2-0"]);
  assert.deepEqual(cursors(arrivals.match([])), []);
});

test("a replacement explains as much as it changes", () => {
  for (const [flags, unread, unseen] of [[{}, 5, 5], [{ seen: true }, 5, 6], [{ seen: true, read: true }, 6, 6], [{ muted: true }, 6, 6]]) {
    const arrivals = createArrivals();
    arrivals.begin({ unread: 5, unseen: 5 });
    const old = { ...arrival(1, "upload"), seen: false, read: false, archived: false, muted: false, ...flags };
    arrivals.add(arrival(2, "upload"));
    arrivals.count({ unread, unseen });
    assert.deepEqual(cursors(arrivals.match([old])), ["2-0"]);
  }
});

test("a recalled item explains lower counts, before or after them", () => {
  const item = { ...arrival(2), seen: true, read: false };
  for (const isFirst of [true, false]) {
    const arrivals = createArrivals();
    arrivals.begin({ unread: 5, unseen: 2 });
    if (isFirst) arrivals.change([item], []);
    else arrivals.count({ unread: 4, unseen: 2 });
    assert.equal(arrivals.match([]), undefined);
    if (isFirst) arrivals.count({ unread: 4, unseen: 2 });
    else arrivals.change([item], []);
    assert.deepEqual(cursors(arrivals.match([])), []);
  }
});

test("nothing is concluded while arrivals and other changes may cancel each other out", () => {
  const item = { ...arrival(1), seen: false, read: false };
  for (const happen of [
    (arrivals) => (arrivals.change([item], []), arrivals.add(arrival(2))),
    (arrivals) => (arrivals.add(arrival(2)), arrivals.change([item], [])),
    (arrivals) => (arrivals.add(arrival(2)), arrivals.remove("n2")),
  ]) {
    const arrivals = createArrivals();
    arrivals.begin({ unread: 5, unseen: 2 });
    happen(arrivals);
    assert.equal(arrivals.match([]), undefined);
    arrivals.count({ unread: 6, unseen: 3 });
    assert.equal(arrivals.match([]), undefined);
    arrivals.begin({ unread: 5, unseen: 2 });
    assert.ok(arrivals.match([]));
  }
});
