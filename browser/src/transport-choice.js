import { tryTo } from "./storage.js";

const KEY = "notifier.transport"; // in localStorage: the name, when the first transport is tried again, and the time until then
const BROKEN = 1006;
const SILENT = 4000;

// How long another transport is used before the first one is tried again, in ms. The time doubles with each failed trial.
// It begins short: a service that restarts refuses WebSockets, and may be back when the next transport is tried.
const FIRST = 60_000;
const LONGEST = 4 * 3_600_000;

/**
 * Chooses among transports, named in the order in which to try. WebSockets may be blocked if two in a row fail,
 * Server-Sent Events if no byte arrives. While the service is down the next transport fails too, so a transport is
 * remembered only after a welcome. After that, a trial of the first one ends with its first failure.
 */
export function createTransportChoice(names = ["websocket", "sse", "poll"]) {
  let next = 0; // the transport to try
  let works = 0; // the last one that got a welcome, as far as known
  let refused = 0; // WebSockets in a row
  let until = Infinity; // when the first one is tried again; Infinity: nothing is remembered, or the trial has begun
  let lasted = 0; // from the last trial to the next, in ms

  /** Starts with the transport that the last page found to work. */
  function recall() {
    const now = Date.now();
    const [name, end, time] = tryTo(() => localStorage.getItem(KEY).split(" ")) ?? [];
    const isKept = end > now && names.indexOf(name) > 0;
    lasted = now - end < LONGEST ? Number(time) || FIRST : 0;
    next = works = isKept ? names.indexOf(name) : 0;
    until = isKept ? Math.min(end, now + lasted) : Infinity; // the clock may have been set back
  }

  function keep() {
    refused = 0;
    works = next;
    if (!works) forget();
    else if (until === Infinity) {
      lasted = Math.min(2 * lasted || FIRST, LONGEST);
      until = Date.now() + lasted;
    }
    if (works) tryTo(() => localStorage.setItem(KEY, `${names[works]} ${until} ${lasted}`));
  }

  function forget() {
    until = Infinity;
    lasted = 0;
    tryTo(() => localStorage.removeItem(KEY));
  }

  /** Returns the transport to try: the first one again when it is time. */
  function current() {
    if (Date.now() >= until) {
      next = 0;
      until = Infinity;
    }
    return names[next];
  }

  /** Chooses the next transport after a failure; returns whether to try it at once. */
  function fallsBack({ id, transport, isAlive }, code) {
    if (id || !transport) return;
    const isRefused = () => (next < works ? code <= SILENT : (code === BROKEN || code === SILENT) && ++refused % 2 === 0);
    const isBlocked = transport === "websocket" ? isRefused() : code === SILENT && !isAlive;
    const hasNext = isBlocked && names[next + 1];
    next = hasNext ? next + 1 : works;
    return hasNext;
  }

  /** Returns in how many ms the first transport is tried again. */
  function triesIn() {
    return until - Date.now();
  }

  return { recall, keep, fallsBack, current, triesIn };
}
