import assert from "node:assert/strict";
import test from "node:test";
import { createInbox } from "../../browser/src/elements/inbox-store.js";
import { createList } from "../../browser/src/elements/list.js";
import { chance, runCourses, shareOf } from "./courses.js";
import { FakeHttp } from "./fake_http.js";
import { settled, stopClock } from "./fake_service.js";

const SEEDS = Number(process.env.SEEDS ?? shareOf(150));
const FIRST = Number(process.env.FIRST ?? 1);
const STEPS = 60;

/** A service with one inbox, whose frames and answers arrive when the test wants. */
class Model {
  url = "https://notify.example.com/v1/stream";
  items = []; // {item, isInbox}
  token = async () => "token";
  #frames = []; // of which the first two may change places, as notifications and counts do
  #listeners = {};
  #ms = 0;
  #revision = 0;
  #dirty = false; // the counts were changed, and no frame with them was sent yet

  constructor(random) {
    this.random = random;
    this.hear("inbox", this.#state());
  }

  on(event, callback) {
    this.#listeners[event] = callback;
  }

  hear(event, ...details) {
    this.#listeners[event]?.(...details);
  }

  get late() {
    return this.#frames.length;
  }

  get inbox() {
    return [...this.items].reverse();
  }

  publish(isInbox, key) {
    const cursor = `${++this.#ms}-0`;
    const notification = { id: `n${this.#ms}`, ...(key && { collapse_key: key }) };
    if (key) this.items = this.items.filter(({ notification: { collapse_key: other } }) => other !== key);
    const item = { cursor, channel: "user:alice", notification, seen: false, read: false, archived: false, muted: false };
    if (isInbox) this.items.push(item);
    this.#frames.push(["notification", notification, { channel: "user:alice", cursor }]);
    this.count();
  }

  recall() {
    const [item] = this.items.splice(this.random(this.items.length || 1), 1);
    if (!item) return;
    this.#frames.push(["removed", { id: item.notification.id }]);
    this.count();
  }

  act(action, { ids, up_to: upTo }) {
    for (const item of this.items) {
      if (ids ? !ids.includes(item.notification.id) : parseInt(item.cursor) > parseInt(upTo)) continue;
      Object.assign(item, action === "read" ? { seen: true, read: true } : { seen: true });
    }
    const changes = [{ revision: ++this.#revision, action, ...(ids ? { ids } : { up_to: upTo }) }];
    this.#frames.push(["inbox", { ...this.#state(), ...(this.random(4) && { changes }) }]); // too many are left out
    this.#dirty = false;
  }

  /** Counts are sent for one publication or for several. */
  count() {
    this.#dirty = true;
    if (this.random(4)) this.say();
  }

  say() {
    if (this.#dirty) this.#frames.push(["inbox", this.#state()]);
    this.#dirty = false;
  }

  deliver(most) {
    for (let left = most; left > 0 && this.#frames.length; left--) {
      const isLate = this.#frames.length > 1 && !this.random(6) && this.#frames[0][0] !== this.#frames[1][0];
      const [frame] = this.#frames.splice(isLate ? 1 : 0, 1);
      this.hear(...structuredClone(frame));
    }
  }

  answer({ path, options, query }) {
    const action = path.split("/").at(-1);
    if (options.method === "POST") this.act(action, JSON.parse(options.body));
    const answer = { ...this.#state(), cursor: `${this.#ms}-0`, next: null };
    return structuredClone(query.has("status") ? { ...answer, items: this.inbox } : answer);
  }

  #state() {
    const unread = this.items.filter(({ read }) => !read).length;
    const unseen = this.items.filter(({ seen }) => !seen).length;
    return { counts: { unread, unseen }, revision: this.#revision, expires_at: null };
  }
}

async function course(t, seed) {
  const random = chance(seed);
  const tick = stopClock(t);
  const http = new FakeHttp(t);
  const model = new Model(random);
  const list = createList(createInbox(model, () => 0.5), () => {}, { random: () => 0.5 });
  let answered = 0;
  const serve = async () => {
    model.deliver(model.late - random(4)); // frames are hardly later than answers
    while (answered < http.requests.length) await http.requests[answered].answer(model.answer(http.requests[answered++]));
  };
  const steps = [
    () => model.publish(true),
    () => model.publish(true),
    () => model.publish(false),
    () => model.publish(true, "upload"),
    () => model.recall(),
    () => model.act("read", { ids: [`n${1 + random(20)}`] }),
    () => list.show(Boolean(random(4))),
    () => void (list.cursor && list.markAllRead().catch(() => {})),
    () => tick(random(600)),
    () => model.deliver(random(4)),
    () => model.deliver(10),
    serve,
    serve,
  ];
  list.show(true);
  for (let count = 0; count < STEPS; count++) {
    await steps[random(steps.length)]();
    await settled();
  }
  list.show(true);
  for (let count = 0; count < 20; count++) {
    model.say();
    model.deliver(Infinity);
    await serve();
    await tick(600);
  }
  assert.deepEqual(list.items, model.inbox);
  list.end();
}

const failures = await runCourses(FIRST, SEEDS, course);

test(`a list ends equal to the inbox after arrivals in any order: ${SEEDS} random courses`, () => {
  assert.equal(failures.join("\n"), "");
});
