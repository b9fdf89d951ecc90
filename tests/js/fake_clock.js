/** The clock of a test, for the oldest Node that runs the tests: its own mock timers came later. */

const { now } = Date;
const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;

export class FakeClock {
  now = 0; // in milliseconds, as Date.now() returns it
  #timers = new Set(); // {at, every, callback, values}; those of the same time run in their order here

  /** Replaces Date.now() and the timers until the test ends, without the notes that mocks take of each call. */
  constructor(t) {
    const start = (every) => (callback, ms = 0, ...values) => {
      const timer = { at: this.now + ms, every: every && ms, callback, values };
      this.#timers.add(timer);
      return timer;
    };
    const stop = (timer) => void this.#timers.delete(timer);
    Date.now = () => this.now;
    Object.assign(globalThis, {
      setTimeout: start(false),
      setInterval: start(true),
      clearTimeout: stop,
      clearInterval: stop,
    });
    t.after(() => {
      Date.now = now;
      Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
    });
  }

  /** Moves time forward, and then runs the timers that are due. */
  tick(ms) {
    this.now += ms;
    for (let timer = this.#due(); timer; timer = this.#due()) {
      if (timer.every) timer.at += timer.every;
      else this.#timers.delete(timer);
      timer.callback(...timer.values);
    }
  }

  #due() {
    return [...this.#timers].filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at)[0];
  }
}
