/** Ages in words ("5 minutes ago"). One timer updates them for all elements. */

const SECONDS = { year: 31_557_600, month: 2_629_800, week: 604_800, day: 86_400, hour: 3_600, minute: 60 };
const FRESHEN_EVERY = 30_000; // ms

const watchers = new Set();
let timer;

export function ageOf(ms, lang) {
  const seconds = Math.min(0, ms / 1000); // clocks differ: an age is never negative
  const [unit, size] = Object.entries(SECONDS).find(([, size]) => -seconds >= size) ?? ["second", Infinity];
  return new Intl.RelativeTimeFormat(lang, { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

/** Calls back every 30 seconds; returns a function that ends it. */
export function whenOlder(callback) {
  watchers.add(callback);
  timer ??= setInterval(() => watchers.forEach((watcher) => watcher()), FRESHEN_EVERY);
  return () => {
    watchers.delete(callback);
    if (!watchers.size) timer = clearInterval(timer);
  };
}
