import { setMaxListeners } from "node:events";

/** Locks like those of a browser, for all tabs of this process: `navigator.locks`, which Node 20 lacks. */
export function createLocks() {
  const queues = new Map(); // name -> the requests of a lock; the first one holds it

  function request(name, { signal }, callback) {
    setMaxListeners(0, signal); // a tab waits for the end of each tab that comes
    const queue = queues.get(name) ?? [];
    queues.set(name, queue);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const entry = { callback, resolve, reject };
      queue.push(entry);
      signal.addEventListener("abort", () => {
        const place = queue.indexOf(entry);
        if (place < 1) return; // it holds the lock, or had it
        queue.splice(place, 1);
        reject(signal.reason);
      });
      if (queue.length === 1) queueMicrotask(() => grant(queue));
    });
  }

  async function grant(queue) {
    const [{ callback, resolve, reject }] = queue;
    try {
      resolve(await callback());
    } catch (error) {
      reject(error);
    }
    queue.shift();
    if (queue.length) grant(queue);
  }

  return { request };
}
