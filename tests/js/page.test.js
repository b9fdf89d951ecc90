import assert from "node:assert/strict";
import test from "node:test";
import { watchPage } from "../../browser/src/page.js";
import { provide } from "./fake_browser.js";

function start(t) {
  const page = new EventTarget();
  const calls = [];
  provide(t, "addEventListener", page.addEventListener.bind(page));
  provide(t, "document", { hidden: false });
  const note = (name) => () => calls.push(name);
  const end = watchPage({ wake: note("wake"), sleep: note("sleep"), offline: note("offline") });
  const happen = (...names) => {
    for (const name of names) page.dispatchEvent(new Event(name));
    return calls.splice(0);
  };
  return { happen, end };
}

test("a page that is shown, resumed or online again wakes the stream", (t) => {
  const { happen } = start(t);
  assert.deepEqual(happen("online", "pageshow", "resume", "visibilitychange"), ["wake", "wake", "wake", "wake"]);
});

test("a page that becomes hidden wakes nothing", (t) => {
  const { happen } = start(t);
  document.hidden = true;
  assert.deepEqual(happen("visibilitychange"), []);
});

test("a page that is frozen or put aside sends the stream to sleep", (t) => {
  const { happen } = start(t);
  assert.deepEqual(happen("freeze", "pagehide"), ["sleep", "sleep"]);
});

test("a lost network is reported", (t) => {
  const { happen } = start(t);
  assert.deepEqual(happen("offline"), ["offline"]);
});

test("nothing is called after the end", (t) => {
  const { happen, end } = start(t);
  end();
  assert.deepEqual(happen("online", "freeze", "offline"), []);
});

test("outside of browsers there is nothing to watch", (t) => {
  provide(t, "addEventListener", undefined);
  watchPage({ wake() {}, sleep() {}, offline() {} })();
});
