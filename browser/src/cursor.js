/** Cursors are places in time, `<milliseconds>-<sequence>`. */

const OVERLAP = 2_000; // ms: what a resumed stream repeats, since entries of several channels may change places

/** Negative, zero or positive as in sort(). As text, "9-0" would come after "10-0". */
export function compareCursors(first, second) {
  const [ms, sequence] = first.split("-");
  const [otherMs, otherSequence] = second.split("-");
  return ms - otherMs || sequence - otherSequence;
}

/** Whether the first is earlier; a place that is not known is not. */
export function isBefore(first, second) {
  return first && second && compareCursors(first, second) < 0;
}

/** Whether someone who has read up to `place` has had all that lies here. */
export function isHistory(cursor, place) {
  return parseInt(cursor) < parseInt(place) - OVERLAP;
}

/**
 * Whether someone who has read up to `place` may have missed what a connection has sent, up to `newest`: entries of
 * several channels may change places within the overlap.
 */
export function isMissed(newest, place) {
  return newest && place && !isHistory(newest, place);
}

/** Adds the id, says whether it is new, and forgets the oldest beyond the limit. */
export function remember(seen, id, limit) {
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > limit) seen.delete(seen.values().next().value);
  return true;
}
