/**
 * Joins the tabs of one browser that share a connection. One of them leads: it holds a lock. When that tab is closed, or
 * crashes, the browser gives the lock to the next tab. Tabs exchange messages over a BroadcastChannel.
 *
 * `lead()` is called when this tab begins to lead, `receive(message)` with the messages of other tabs. Without a `name`,
 * or without these features of the browser, the tab is alone and leads.
 */
export function joinGroup(name, id, lead, receive) {
  const end = new AbortController();
  const { signal } = end;
  const left = new Promise((resolve) => (signal.onabort = resolve));
  let channel;

  /**
   * Calls back when it gets the lock; another tab's lock is free when that tab has left or is gone. The lock is held
   * until the promise that the callback returns is resolved. Calls `otherwise` if there can be no lock. Both are called
   * asynchronously.
   */
  async function hold(lock, callback, otherwise) {
    try {
      const { locks } = (await name) && navigator;
      await locks.request(name + lock, { signal }, unlessLeft(callback));
    } catch {
      otherwise?.();
    }
  }

  /** The browser may call back for a lock that it granted just before this tab left. */
  function unlessLeft(callback) {
    return () => signal.aborted || callback();
  }

  function enter() {
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => receive(data);
    post({ type: "who" }); // a leader answers it; a later leader announces its state anyway
    hold("", () => (lead(), left));
    return left;
  }

  /** Sends a message to all other tabs. */
  function post(message) {
    channel?.postMessage(message);
  }

  function quit() {
    end.abort();
    channel?.close();
  }

  hold(id, enter, unlessLeft(lead));
  return { post, whenGone: hold, quit };
}
