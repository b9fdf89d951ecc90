/** A browser with locks and channels, as its tabs see it. */

import { setMaxListeners } from "node:events";
import { settled } from "./fake_service.js";

export class FakeBrowser {
  locks = { request: (name, { signal }, callback) => this.#request(name, signal, callback) };
  #held = new Map(); // name -> {signal, release}
  #queue = []; // {name, signal, callback, resolve, reject}
  #channels = new Set();
  #heldUp; // messages or locks
  #late = []; // actions to run once they are no longer held up
  #now; // the signal of the tab whose callback runs

  /** Makes it the browser of this test. */
  constructor(t) {
    const browser = this;
    class Channel {
      constructor(name) {
        Object.assign(this, { name, owner: browser.#now });
        browser.#channels.add(this);
      }

      postMessage(message) {
        const data = structuredClone(message);
        for (const other of browser.#channels) {
          if (other !== this && other.name === this.name) browser.#soon("messages", () => other.onmessage?.({ data }));
        }
      }

      close() {
        this.onmessage = undefined;
        browser.#channels.delete(this);
      }
    }
    provide(t, "navigator", { locks: this.locks, onLine: true });
    provide(t, "BroadcastChannel", Channel);
  }

  /** The names of all locks that are held. */
  get held() {
    return [...this.#held.keys()];
  }

  /** Holds up "messages" between tabs, or the callbacks for "locks" that they get, until deliver(). */
  holdUp(what) {
    this.#heldUp = what;
  }

  async deliver() {
    this.#heldUp = undefined;
    for (const action of this.#late.splice(0)) action();
    await settled();
  }

  /** Ends the tab that leads, without giving it a moment to do anything. */
  async killLeader() {
    const [, { signal }] = [...this.#held].find(([name]) => name.endsWith("]"));
    for (const channel of this.#channels) {
      if (channel.owner === signal) channel.close();
    }
    this.#queue = this.#queue.filter((request) => request.signal !== signal);
    for (const [name, holder] of this.#held) {
      if (holder.signal === signal) this.#release(name);
    }
    await settled();
  }

  #request(name, signal, callback) {
    return new Promise((resolve, reject) => {
      setMaxListeners(0, signal);
      const request = { name, signal, callback, resolve, reject };
      this.#queue.push(request);
      signal.addEventListener("abort", () => {
        if (!this.#queue.includes(request)) return;
        this.#queue = this.#queue.filter((other) => other !== request);
        reject(signal.reason);
      });
      queueMicrotask(() => this.#grant(name));
    });
  }

  #grant(name) {
    const request = this.#queue.find((waiting) => waiting.name === name);
    if (!request || this.#held.has(name)) return;
    this.#queue = this.#queue.filter((other) => other !== request);
    const holder = { signal: request.signal };
    this.#held.set(name, holder);
    this.#soon("locks", () => {
      this.#now = request.signal;
      const done = new Promise((resolve) => resolve(request.callback()));
      this.#now = undefined;
      const release = () => this.#held.get(name) === holder && this.#release(name);
      done.then(request.resolve, request.reject).then(release);
    });
  }

  #soon(what, action) {
    if (this.#heldUp === what) this.#late.push(action);
    else queueMicrotask(action);
  }

  #release(name) {
    this.#held.delete(name);
    this.#grant(name);
  }
}

/** Gives a global another value until the test ends. */
export function provide(t, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
}

/** The storage that a page keeps over a reload; `items` is the Map that holds it. */
export function fakeStorage() {
  const items = new Map();
  const getItem = (key) => items.get(key) ?? null;
  return { items, getItem, setItem: (key, value) => items.set(key, `${value}`), removeItem: (key) => items.delete(key) };
}

/** A token as the service's are, as far as the library reads it. */
export function tokenOf(user, claims) {
  const payload = Buffer.from(JSON.stringify({ sub: user, ...claims })).toString("base64url");
  return `head.${payload}.signature`;
}
