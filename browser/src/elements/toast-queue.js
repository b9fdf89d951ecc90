const MOST_WAITING = 100; // anybody who may publish to the page could fill its memory

/**
 * The toasts of one kind, of which at most `most` are shown at once. `show(toast)` is called for each when there is room
 * for it, in the order of their arrival: a toast that is shown keeps its place. `count(waiting)` is called with the number
 * of the others. If too many wait, the oldest is forgotten: it is in the inbox.
 */
export function createToastQueue(most, show, count) {
  const shown = new Set();
  let waiting = [];

  function add(toast) {
    waiting.push(toast);
    if (waiting.length > MOST_WAITING) waiting.shift();
    fill();
  }

  /** Removes a toast that is shown; another one takes its place. */
  function remove(toast) {
    if (shown.delete(toast)) fill();
  }

  /** Removes those that wait and are meant. */
  function removeWhere(isMeant) {
    waiting = waiting.filter((toast) => !isMeant(toast));
    count(waiting.length);
  }

  function fill() {
    while (shown.size < most && waiting.length) {
      const toast = waiting.shift();
      shown.add(toast);
      show(toast);
    }
    count(waiting.length);
  }

  return { add, remove, removeWhere };
}
