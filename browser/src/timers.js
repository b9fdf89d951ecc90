/** Timers and a watchdog of one connection. All times are in milliseconds. */

const LOOK_EVERY = 5_000; // at the clock: timers stop while the machine sleeps
const LONGEST_TIMER = 2 ** 31 - 1; // browsers fire a longer one at once

/** One timer per action: a later call replaces an earlier one. */
export function createTimers() {
  const timers = new Map(); // action -> its timer

  function after(ms, action) {
    clearTimeout(timers.get(action));
    const run = () => {
      timers.delete(action);
      action();
    };
    timers.set(action, setTimeout(run, Math.min(ms, LONGEST_TIMER)));
  }

  function stop() {
    timers.forEach(clearTimeout);
    timers.clear();
  }

  return { after, stop, has: (action) => timers.has(action) };
}

/** Calls `expired` when the service sent nothing for as long as it is allowed to. */
export function createWatchdog(timers, expired) {
  let limit;
  let resetAt;

  /** Allows so much silence, from now on. */
  function allow(ms) {
    limit = ms;
    reset();
    look();
  }

  function reset() {
    resetAt = Date.now();
  }

  function look() {
    const passed = Math.abs(Date.now() - resetAt); // the clock may have been set back
    if (passed >= limit) expired();
    else timers.after(Math.min(limit - passed, LOOK_EVERY), look);
  }

  return { allow, reset, look };
}
