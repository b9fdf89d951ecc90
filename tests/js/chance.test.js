import assert from "node:assert/strict";
import test from "node:test";
import { chance, runCourses, shareOf } from "./courses.js";
import { FakeBrowser, fakeStorage, tokenOf } from "./fake_browser.js";
import { settled, stopClock } from "./fake_service.js";
import { LONGEST, ModelService, channelOf } from "./model_service.js";

const SEEDS = Number(process.env.SEEDS ?? shareOf(60)); // for each transport
const FIRST = Number(process.env.FIRST ?? 1);
const TRANSPORTS = (process.env.TRANSPORTS ?? "websocket,sse,poll").split(",");
const STEPS = 60;
const MOST_TABS = 5;
const TOPICS = ["orders", "invoices"];

const getToken = async () => tokenOf("alice");

const FAULTS = [
  ({ notifier }) => notifier.publish("orders", { data: 5n }),
  ({ notifier }) => notifier.publish("orders", { data: () => {}, toJSON: () => assert.fail("no JSON") }),
  ({ notifier }) => notifier.publish("orders", { body: "x".repeat(LONGEST) }),
  ({ notifier }) => notifier.publish({}, {}),
  ({ notifier }) => notifier.publish("invoices", { title: "Hi", run() {} }), // is none: it has JSON
  async ({ notifier }) => notifier.join("a topic"),
  async ({ notifier }) => notifier.join(5n),
  async ({ notifier }) => notifier.join("orders", { since: "yesterday" }),
];

/**
 * Tabs come, go, join, leave and join again, pages make mistakes, frames cannot be read, messages are late and
 * connections break, until all is well again.
 */
async function live(t, seed, transport) {
  const random = chance(seed);
  const tick = stopClock(t);
  const browser = new FakeBrowser(t);
  const service = new ModelService(t, random);
  const tabs = [];
  const asleep = []; // pages that are being reloaded
  const one = (act) => tabs.length && act(tabs[random(tabs.length)]);

  function open() {
    if (tabs.length < MOST_TABS) load({ storage: fakeStorage(), topics: TOPICS.filter(() => random(2)) });
  }

  function load({ storage, topics, ...before }) {
    const options = { getToken, topics, storage, transports: [transport] };
    const tab = { lostBefore: {}, ...before, ...service.client(options), storage, topics };
    tab.notifier.on("state", ({ current }) => {
      if (current === "connected") tab.begin ??= service.published.length;
    });
    tab.notifier.on("lost", ({ channels }) => {
      for (const channel of channels) tab.lostBefore[channel] = service.published.length;
    });
    tabs.push(tab);
    tab.notifier.connect();
  }

  function putAway(tab) {
    if (tab.begin === undefined || tab.wantsAll || tab.leftAt) return;
    tab.notifier.disconnect();
    tabs.splice(tabs.indexOf(tab), 1);
    asleep.push({ ...tab, before: [...(tab.before ?? []), ...tab.titles()] });
  }

  function comeBack() {
    asleep.splice(0).forEach(load);
  }

  function err(tab) {
    FAULTS[random(FAULTS.length)](tab).catch(() => {});
  }

  function join(tab) {
    if (tab.hasLeft) return;
    tab.wantsAll = true;
    tab.notifier.join("orders", { since: "1-0" });
  }

  /** Leaves its topics, or joins them again where it left them first: it may leave before it has received their past. */
  function wander(tab) {
    const { notifier, topics, hasLeft, wantsAll } = tab;
    if (wantsAll || !notifier.cursor) return;
    tab.hasLeft = !hasLeft;
    tab.leftAt ??= notifier.cursor;
    for (const topic of topics) hasLeft ? notifier.join(topic, { since: tab.leftAt }) : notifier.leave(topic);
  }

  const steps = [
    open,
    () => service.publish(),
    () => service.publish("orders"),
    () => service.publish("orders"),
    () => service.publish("invoices"),
    () => service.ping(),
    () => random(8) || service.trim([undefined, ...TOPICS][random(3)]),
    () => service.break(),
    () => tick(random(3_000)),
    () => one(({ notifier }) => notifier.connect()),
    () => one(({ notifier }) => notifier.disconnect()),
    () => one(join),
    () => one(wander),
    () => one((tab) => tab.hasLeft && wander(tab)),
    () => one(putAway),
    () => one(err),
    () => one(err),
    () => service.mumble(),
    comeBack,
    () => browser.holdUp("messages"),
    () => browser.deliver(),
  ];
  for (let count = 0; count < STEPS; count++) {
    await steps[random(steps.length)]();
    if (random(3)) await service.serve(random(2) ? random(8) : Infinity);
    if (random(2)) await settled();
  }
  await browser.deliver();
  comeBack();
  for (const tab of tabs) if (tab.hasLeft) wander(tab);
  for (const { notifier } of tabs) notifier.connect();
  for (let count = 0; count < 40; count++) await rest(500);
  service.publish();
  for (let count = 0; count < 3; count++) await rest(1_000);
  return { service, tabs };

  async function rest(ms) {
    await service.serve();
    await tick(ms);
  }
}

/**
 * A page has each once, all since it was first connected, those of its user in their order, and the whole topic if it
 * asked for that; or it was notified of a loss. One that was reloaded may get again what it had before.
 */
function check({ published }, { notifier, titles, begin, topics, wantsAll, before = [], lostBefore }) {
  const got = titles();
  assert.equal(notifier.state, "connected");
  assert.equal(new Set(got).size, got.length, `something twice: ${got}`);
  const own = wanted("user:alice", begin);
  inOrder("user:alice", begin);
  for (const topic of topics) if (topic !== "orders" || !wantsAll) inOrder(`topic:${topic}`, begin);
  if (wantsAll && !topics.includes("orders")) inOrder("topic:orders", 0);
  assert.deepEqual(missing(own), []);
  for (const topic of topics) assert.deepEqual(missing(wanted(`topic:${topic}`, begin)), [], topic);
  if (wantsAll) assert.deepEqual(missing(wanted("topic:orders", 0)), []);

  function inOrder(channel, first) {
    const all = published.filter(({ topic }, index) => index >= first && channelOf(topic) === channel).map(({ id }) => id);
    const ordered = got.filter((id) => all.includes(id) && !before.includes(id));
    assert.deepEqual(ordered, all.filter((id) => ordered.includes(id)), channel);
  }

  function wanted(channel, first) {
    const isLost = ({ isTrimmed }, index) => isTrimmed && index < lostBefore[channel];
    const isWanted = (entry, index) => index >= first && channelOf(entry.topic) === channel && !isLost(entry, index);
    return published.filter(isWanted).map(({ id }) => id);
  }

  function missing(ids) {
    return ids.filter((id) => !got.includes(id) && !before.includes(id));
  }
}

async function course(t, seed, transport) {
  const { service, tabs } = await live(t, seed, transport);
  try {
    for (const tab of tabs) check(service, tab);
  } finally {
    for (const { notifier } of tabs) notifier.disconnect();
  }
}

const failures = {};
for (const transport of TRANSPORTS) {
  failures[transport] = await runCourses(FIRST, SEEDS, (t, seed) => course(t, seed, transport));
}

for (const transport of TRANSPORTS) {
  test(`no tab misses anything in any course of tabs and connections: ${SEEDS} random courses over ${transport}`, () => {
    assert.equal(failures[transport].join("\n"), "");
  });
}
