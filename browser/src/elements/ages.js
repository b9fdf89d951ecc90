/** How long ago something was, in words, kept fresh by one timer for all elements. */

const SECONDS = { year: 31_557_600, month: 2_629_800, week: 604_800, day: 86_400, hour: 3_600, minute: 60 };
const FRESHEN_EVERY = 30_000; // ms

const watchers = new Set();
let timer;

export function ageOf(ms, lang) {
  const seconds = Math.min(0, ms / 1000); // clocks differ: nothing comes from the future
  const [unit, size] = Object.entries(SECONDS).find(([, size]) => -seconds >= size) ?? ["second", Infinity];
  return new Intl.RelativeTimeFormat(lang, { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

/** Calls back now and then; returns what ends it. */
export function whenOlder(callback) {
  watchers.add(callback);
  timer ??= setInterval(() => watchers.forEach((watcher) => watcher()), FRESHEN_EVERY);
  return () => {
    watchers.delete(callback);
    if (!watchers.size) timer = clearInterval(timer);
  };
}
