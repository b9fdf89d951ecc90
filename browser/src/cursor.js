/** Cursors are positions in time, `<milliseconds>-<sequence>`. */

// How many milliseconds a resumed stream repeats: entries of different channels may arrive out of order within them.
const OVERLAP = 2_000;

/** Whether a value that a page supplies is a cursor, as the service reads them. */
export function isCursor(value) {
  return typeof value === "string" && /^\d{1,16}-\d{1,19}$/.test(value);
}

/** Negative, zero or positive, as in sort(). Compared as text, "9-0" would come after "10-0". */
export function compareCursors(first, second) {
  const [ms, sequence] = first.split("-");
  const [otherMs, otherSequence] = second.split("-");
  return ms - otherMs || sequence - otherSequence;
}

/** Whether the first is earlier. An unknown cursor is not. */
export function isBefore(first, second) {
  return first && second && compareCursors(first, second) < 0;
}

/** Whether a reader that has received everything up to `place` has received an entry at `cursor`, in any case. */
export function isHistory(cursor, place) {
  return parseInt(cursor) < parseInt(place) - OVERLAP;
}

/** Whether a reader that has received everything up to `place` may lack entries among those up to `newest`. */
export function isMissed(newest, place) {
  return newest && place && !isHistory(newest, place);
}

/** Adds the id and returns whether it is new. Beyond the limit, the oldest id is removed. */
export function remember(seen, id, limit) {
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > limit) seen.delete(seen.values().next().value);
  return true;
}
