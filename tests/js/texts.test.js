import assert from "node:assert/strict";
import test from "node:test";
import { ageOf, whenOlder } from "../../browser/src/elements/ages.js";
import { say } from "../../browser/src/elements/texts.js";
import { FakeClock } from "./fake_clock.js";

const LABEL = { 0: "nothing", one: "{count} item", few: "{count} few", other: "{count} items" };

for (const [count, lang, text] of [
  [0, "en", "nothing"],
  [1, "en", "1 item"],
  [1_234, "en", "1,234 items"],
  [1_234, "de", "1.234 items"],
  [3, "pl", "3 few"],
  [3, undefined, "3 items"],
]) {
  test(`${count} in ${lang} is ${text}`, () => assert.equal(say(LABEL, lang, { count }), text));
}

test("a text without plurals is used unchanged", () => assert.equal(say("All", "en"), "All"));

test("an unknown name in braces is kept", () => {
  assert.equal(say("Hi {name}, {count}", "en", { count: 2 }), "Hi {name}, 2");
});

for (const none of [undefined, null, {}, { one: "one" }]) {
  const name = JSON.stringify(none) ?? "undefined";
  test(`the built-in text replaces ${name}`, () => assert.equal(say(none, "en", { count: 2 }, LABEL), "2 items"));
}

for (const [seconds, lang, text] of [
  [5, "en", "now"],
  [0, "en", "now"],
  [-30, "en", "now"],
  [61, "en", "1 minute ago"],
  [3_599, "en", "59 minutes ago"],
  [3_600, "en", "1 hour ago"],
  [86_400, "en", "yesterday"],
  [9 * 86_400, "en", "last week"],
  [60 * 86_400, "en", "last month"],
  [800 * 86_400, "en", "2 years ago"],
  [120, "de", "vor 2 Minuten"],
]) {
  test(`${seconds} seconds ago in ${lang} is ${text}`, () => assert.equal(ageOf(-seconds * 1000, lang), text));
}

test("one timer notifies all watchers, and ends with the last of them", (t) => {
  const clock = new FakeClock(t);
  const calls = [];
  const ends = ["a", "b"].map((name) => whenOlder(() => calls.push(name)));
  clock.tick(30_000);
  assert.deepEqual(calls, ["a", "b"]);
  ends.forEach((end) => end());
  clock.tick(60_000);
  assert.deepEqual(calls, ["a", "b"]);
});

test("a server may import the elements", async () => {
  const { NotifierBell } = await import("../../browser/src/notifier-inbox.js");
  assert.equal(typeof NotifierBell, "function");
});
