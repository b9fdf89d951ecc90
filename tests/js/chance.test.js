import assert from "node:assert/strict";
import test from "node:test";
import { FakeBrowser, fakeStorage, tokenOf } from "./fake_browser.js";
import { FakeService, settled, stopClock } from "./fake_service.js";

const SEEDS = Number(process.env.SEEDS ?? 150);
const STEPS = 60;
const MOST_TABS = 5;
const OVERLAP = 2_000; // ms, as the service's

const getToken = async () => tokenOf("alice");

/** A service that answers, has a log and replays it, as far as the library can tell it from the real one. */
class Service extends FakeService {
  log = []; // {id, ms, topic}
  #ms = 1_000;
  #random;
  #connections = new Map(); // socket -> {heard: how many of its frames, topics}

  constructor(random) {
    super();
    this.#random = random;
  }

  get cursor() {
    return `${this.#ms}-0`;
  }

  /** Reads what the latest WebSocket sent, and answers. */
  async serve() {
    await settled();
    const { socket } = this;
    if (!socket || isOver(socket)) return;
    if (!this.#connections.has(socket)) {
      socket.onopen({});
      this.#connections.set(socket, { heard: 0, topics: new Set() });
    }
    const connection = this.#connections.get(socket);
    while (connection.heard < socket.sent.length) this.#answer(connection, socket.sent[connection.heard++]);
    await settled();
  }

  publish(topic) {
    this.#ms += 1 + this.#random(3_000);
    const entry = { id: `n${this.log.length}`, ms: this.#ms, topic };
    this.log.push(entry);
    if (this.#isHeard(topic)) this.#send(entry);
  }

  break() {
    if (!this.#connections.has(this.socket) || isOver(this.socket)) return;
    this.socket.isBroken = true;
    this.close(1006);
  }

  #isHeard(topic) {
    const topics = this.#connections.get(this.socket)?.topics;
    return topics && !isOver(this.socket) && (!topic || topics.has(topic));
  }

  #answer({ topics }, frame) {
    const { type, ref, topic, since } = frame;
    if (type === "hello") {
      for (const name of frame.topics) topics.add(name);
      this.welcome({ connection: `c${this.#connections.size}`, topics: [...topics], cursor: this.cursor });
      this.#replay(since, (entry) => !entry.topic || topics.has(entry.topic));
      this.#tell({ type: "ping", cursor: this.cursor });
    } else if (type === "subscribe") {
      topics.add(topic);
      this.#replay(since, (entry) => entry.topic === topic);
      this.#tell({ type: "ok", ref, topics: [...topics] });
    } else if (type === "unsubscribe") topics.delete(topic);
  }

  #replay(since, isAsked) {
    if (!since) return;
    for (const entry of this.log) if (entry.ms > parseInt(since) - OVERLAP && isAsked(entry)) this.#send(entry, true);
  }

  #send({ id, ms, topic }, replay) {
    if (isOver(this.socket)) return;
    this.notify(id, `${ms}-0`, { replay, channel: topic ? `topic:${topic}` : "user:alice" });
  }

  #tell(frame) {
    if (!isOver(this.socket)) this.say(frame);
  }
}

function isOver(socket) {
  return socket.isBroken || socket.closedWith !== undefined;
}

/** Whole numbers below a limit, the same ones for the same seed. */
function chance(seed) {
  let state = seed * 7_919;
  return (limit) => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (state >> 8) % limit;
  };
}

/** Lets tabs come, go, join and leave, messages be late and connections break, until all is well again. */
async function live(t, seed) {
  const random = chance(seed);
  const tick = stopClock(t);
  const browser = new FakeBrowser(t);
  const service = new Service(random);
  const tabs = [];
  const asleep = []; // pages that are being reloaded
  const one = (act) => tabs.length && act(tabs[random(tabs.length)]);

  function open() {
    if (tabs.length < MOST_TABS) load({ storage: fakeStorage(), topics: random(2) ? ["orders"] : [] });
  }

  function load({ storage, topics, ...before }) {
    const tab = { ...before, ...service.client({ getToken, topics, storage }), storage, topics };
    tab.notifier.on("state", ({ current }) => {
      if (current === "connected") tab.begin ??= service.log.length;
    });
    tabs.push(tab);
    tab.notifier.connect();
  }

  function putAway(tab) {
    if (tab.begin === undefined || tab.wantsAll) return;
    tab.notifier.disconnect();
    tabs.splice(tabs.indexOf(tab), 1);
    asleep.push({ ...tab, before: [...(tab.before ?? []), ...tab.titles()] });
  }

  function comeBack() {
    asleep.splice(0).forEach(load);
  }

  function join(tab) {
    tab.wantsAll = true;
    tab.notifier.join("orders", { since: "1-0" });
  }

  const steps = [
    open,
    () => service.publish(),
    () => service.publish("orders"),
    () => service.publish("orders"),
    () => service.break(),
    () => tick(random(3_000)),
    () => one(({ notifier }) => notifier.connect()),
    () => one(({ notifier }) => notifier.disconnect()),
    () => one(join),
    () => one(putAway),
    comeBack,
    () => browser.holdUp("messages"),
    () => browser.deliver(),
  ];
  for (let count = 0; count < STEPS; count++) {
    await steps[random(steps.length)]();
    if (random(3)) await service.serve();
    if (random(2)) await settled();
  }
  await browser.deliver();
  comeBack();
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
 * asked for that. One that was reloaded may get again what it had before.
 */
function check({ log }, { notifier, titles, begin, topics, wantsAll, before = [] }) {
  const got = titles();
  const ids = (entries, isWanted) => entries.filter(isWanted).map(({ id }) => id);
  const own = ids(log.slice(begin), ({ topic, id }) => !topic && !before.includes(id));
  const topical = ids(wantsAll ? log : log.slice(begin), ({ topic, id }) => topic && !before.includes(id));
  assert.equal(notifier.state, "connected");
  assert.equal(new Set(got).size, got.length, `something twice: ${got}`);
  assert.deepEqual(got.filter((id) => own.includes(id)), own);
  if (wantsAll || topics.length) assert.deepEqual(topical.filter((id) => !got.includes(id)), []);
}

test(`whatever tabs and connections go through, no tab misses anything: ${SEEDS} courses by chance`, async (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    await t.test(`course ${seed}`, async (t) => {
      const { service, tabs } = await live(t, seed);
      for (const tab of tabs) check(service, tab);
      for (const { notifier } of tabs) notifier.disconnect();
    });
  }
});
