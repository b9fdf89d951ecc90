/** When to reconnect after a connection was lost. All times are in milliseconds. */

const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

/** Full jitter: thousands of clients that lost the same service reconnect evenly spread. */
export function backoff(failures, random) {
  return random() * Math.min(LAST_RETRY, FIRST_RETRY * 2 ** failures);
}

/** Whether a client reconnects after this close code. */
export function comesBack(code) {
  return code < 4500 && ![1002, 1007, 1009].includes(code); // these would happen again
}
