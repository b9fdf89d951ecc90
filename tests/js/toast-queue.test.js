import assert from "node:assert/strict";
import test from "node:test";
import { createToastQueue } from "../../browser/src/elements/toast-queue.js";

const MOST = 3;
const DEEP = 5; // steps of each course, after as many arrivals

/** A queue whose toasts are numbers, with what a page shows of it. */
function start() {
  const page = { shown: [], waiting: 0 };
  const queue = createToastQueue(MOST, (toast) => page.shown.push(toast), (count) => (page.waiting = count));
  return { page, queue };
}

test("the first toasts are shown, and the others are counted", () => {
  const { page, queue } = start();
  for (let toast = 0; toast < 8; toast++) queue.add(toast);
  assert.deepEqual(page, { shown: [0, 1, 2], waiting: 5 });
});

test("a toast that was not added, or has been removed, makes no room", () => {
  const { page, queue } = start();
  for (let toast = 0; toast < 5; toast++) queue.add(toast);
  queue.remove(undefined);
  queue.remove(4); // it waits, so it is not shown
  queue.remove(0);
  queue.remove(0);
  assert.deepEqual(page, { shown: [0, 1, 2, 3], waiting: 1 });
});

test("a hundred toasts wait at most: the oldest of more is not shown", () => {
  const { page, queue } = start();
  for (let toast = 0; toast < 1000; toast++) queue.add(toast);
  assert.deepEqual(page, { shown: [0, 1, 2], waiting: 100 });
  queue.remove(0);
  assert.deepEqual(page, { shown: [0, 1, 2, 900], waiting: 99 });
});

test(`in every course of ${DEEP} steps, toasts are shown in order, as many as there is room for, and the rest is counted`, () => {
  const steps = ["add", "dismiss the first", "dismiss the last", "recall the first that waits", "recall the last"];
  for (let number = 0; number < steps.length ** DEEP; number++) {
    const { page, queue } = start();
    let live = Array.from({ length: DEEP }, (_, toast) => -DEEP + toast); // neither dismissed nor recalled, in their order
    live.forEach(queue.add);
    let shown = live.slice(0, MOST);
    for (let rest = number, step = 0; step < DEEP; step++, rest = Math.floor(rest / steps.length)) {
      const waiting = live.filter((toast) => !shown.includes(toast));
      const what = steps[rest % steps.length];
      const dismissed = what === "dismiss the first" ? shown[0] : what === "dismiss the last" ? shown.at(-1) : undefined;
      const recalled = what === "recall the first that waits" ? waiting[0] : what === "recall the last" ? live.at(-1) : undefined;
      if (what === "add") live.push(step);
      live = live.filter((toast) => toast !== dismissed && toast !== recalled);
      const left = shown.filter((toast) => live.includes(toast));
      shown = [...left, ...live.filter((toast) => !left.includes(toast)).slice(0, MOST - left.length)];

      if (what === "add") queue.add(step);
      queue.removeWhere((toast) => toast === recalled);
      for (const toast of [dismissed, recalled]) if (toast !== undefined) queue.remove(toast);
      page.shown = page.shown.filter((toast) => toast !== dismissed && toast !== recalled);
      assert.deepEqual(page, { shown, waiting: live.length - shown.length }, `course ${number}, step ${step}`);
    }
  }
});
