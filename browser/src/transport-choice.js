import { tryTo } from "./storage.js";

const KEY = "notifier.transport"; // in localStorage
const KEPT = 4 * 3_600_000; // ms until the first transport is tried again
const BROKEN = 1006;
const SILENT = 4000;

/**
 * Chooses among transports, named in the order in which to try. WebSockets may be blocked if two in a row fail,
 * Server-Sent Events if no byte arrives. While the service is down the next transport fails too, so a transport is
 * remembered only after a welcome.
 */
export function createTransportChoice(names = ["websocket", "sse", "poll"]) {
  let next = 0; // the transport to try
  let works = 0; // the last one that got a welcome, as far as known
  let refused = 0; // WebSockets in a row

  /** Starts with the transport that the last page found to work. */
  function recall() {
    const [name, until] = tryTo(() => localStorage.getItem(KEY).split(" ")) ?? [];
    next = works = Math.max(0, until > Date.now() && names.indexOf(name));
  }

  function keep() {
    refused = 0;
    if (next === works) return;
    works = next;
    tryTo(() => localStorage.setItem(KEY, `${names[next]} ${Date.now() + KEPT}`));
  }

  /** Chooses the next transport after a failure; returns whether to try it at once. */
  function fallsBack({ id, transport, isAlive }, code) {
    if (id || !transport) return;
    const isRefused = () => (code === BROKEN || code === SILENT) && ++refused % 2 === 0;
    const isBlocked = transport === "websocket" ? isRefused() : code === SILENT && !isAlive;
    const hasNext = isBlocked && names[next + 1];
    next = hasNext ? next + 1 : works;
    return hasNext;
  }

  return { recall, keep, fallsBack, current: () => names[next] };
}
