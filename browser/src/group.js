/**
 * The tabs of one browser that share a connection. One of them leads: it holds a lock that the browser gives to the
 * next tab as soon as its holder is gone, however that came. They speak over a BroadcastChannel.
 *
 * Joins the tabs of that name. `lead()` is called when it is this tab's turn, `hear(message)` with what another tab
 * says. Without a name, or where the browser cannot do it, the tab leads itself alone.
 */
export function joinGroup(name, id, lead, hear) {
  const end = new AbortController();
  const { signal } = end;
  const left = new Promise((resolve) => (signal.onabort = resolve));
  let channel;

  /** Calls back when it is our turn; what the callback returns holds the lock. Rejects where that cannot be. */
  async function hold(lock, callback) {
    await (name && navigator).locks.request(name + lock, { signal }, unlessLeft(callback));
  }

  /** The browser may call back for a lock that it gave just before we left. */
  function unlessLeft(callback) {
    return () => signal.aborted || callback();
  }

  function enter() {
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => hear(data);
    say({ type: "who" }); // nobody hears it where there is no leader yet; whoever becomes it will say so
    hold("", () => (lead(), left)).catch(ignore);
    return left;
  }

  /** Tells all other tabs. */
  function say(message) {
    channel?.postMessage(message);
  }

  /** Calls back when that tab has left or is gone; never for this one, which leaves before. */
  function whenGone(tab, callback) {
    hold(tab, callback).catch(ignore);
  }

  function leave() {
    end.abort();
    channel?.close();
  }

  hold(id, enter).catch(unlessLeft(lead));
  return { say, whenGone, leave };
}

function ignore() {}
