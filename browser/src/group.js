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

  /**
   * Calls back when it is our turn, which for another tab's lock is when that tab has left or is gone; what the callback
   * returns holds the lock. Where that cannot be it calls the other one. Neither is called at once.
   */
  async function hold(lock, callback, otherwise) {
    try {
      const { locks } = (await name) && navigator;
      await locks.request(name + lock, { signal }, unlessLeft(callback));
    } catch {
      otherwise?.();
    }
  }

  /** The browser may call back for a lock that it gave just before we left. */
  function unlessLeft(callback) {
    return () => signal.aborted || callback();
  }

  function enter() {
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => hear(data);
    say({ type: "who" }); // nobody hears it where there is no leader yet; whoever becomes it will say so
    hold("", () => (lead(), left));
    return left;
  }

  /** Tells all other tabs. */
  function say(message) {
    channel?.postMessage(message);
  }

  function quit() {
    end.abort();
    channel?.close();
  }

  hold(id, enter, unlessLeft(lead));
  return { say, whenGone: hold, quit };
}
