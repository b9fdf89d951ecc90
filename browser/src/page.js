/**
 * Watches the page: `wake` is called when the connection may be needed again, `sleep` when the page is frozen or put
 * aside, `offline` when the browser loses the network. Returns a function that ends it.
 */
export function watchPage({ wake, sleep, offline }) {
  const end = new AbortController();
  const options = { signal: end.signal, capture: true };
  const visibilitychange = () => document.hidden || wake(); // timers run late in a hidden page
  const listeners = { offline, online: wake, pageshow: wake, resume: wake, visibilitychange, pagehide: sleep, freeze: sleep };
  for (const event in listeners) globalThis.addEventListener?.(event, listeners[event], options);
  return () => end.abort();
}
