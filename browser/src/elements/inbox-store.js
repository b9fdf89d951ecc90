/**
 * A user's inbox, as all elements of a page that have the same Notifier share it. The service counts, never we.
 *
 * `on(listener)` has those of these methods called that the listener has, and returns what ends it:
 * - `count()`: counts are others now
 * - `change({action, ids | up_to})`: items are to be seen, read, ...; it may return a function that takes that back
 * - `arrive(channel)`: something may have; the service says it without a channel, and when each is to ask
 * - `remove(id)`, `expire(until)`: of items
 * - `stale()`: something was missed, so what was fetched may be wrong
 */

const ANSWER_WITHIN = 30_000; // ms
const SPREAD = 2_000; // ms: what expires for many at once must not be asked for by all at once
const LONGEST_TIMER = 2 ** 31 - 1; // ms: a longer one would fire at once

const inboxes = new WeakMap(); // by Notifier

export function inboxOf(notifier) {
  if (!inboxes.has(notifier)) inboxes.set(notifier, createInbox(notifier));
  return inboxes.get(notifier);
}

export function createInbox(notifier, random = Math.random) {
  const listeners = new Set();
  let known = notifier.inbox ?? {}; // {counts, revision, expires_at}
  let expired; // what of `expires_at` has been done
  let timer;

  notifier.on("inbox", hear);
  notifier.on("notification", (_, { channel }) => tell("arrive", channel));
  notifier.on("removed", ({ id }) => tell("remove", id));
  notifier.on("lost", () => tell("stale"));

  function on(listener) {
    listeners.add(listener);
    watchExpiry();
    return () => listeners.delete(listener);
  }

  function tell(method, ...details) {
    return [...listeners].map((listener) => listener[method]?.(...details));
  }

  function hear({ counts, revision, expires_at, changes = [] }) {
    const fresh = changes.filter((change) => change.revision > known.revision);
    const isComplete = revision === known.revision + fresh.length;
    learn({ counts, revision, expires_at });
    if (!isComplete) tell("stale");
    else if (!changes.length) tell("arrive");
    else fresh.forEach((change) => tell("change", change));
  }

  function learn(news) {
    known = { ...known, ...news };
    watchExpiry();
    tell("count");
  }

  /** Optimistic update; rolled back if the request fails. */
  async function act(action, what) {
    const changes = tell("change", { action, ...what });
    try {
      await ask(`inbox/${action}`, what);
    } catch (problem) {
      for (const takeBack of changes.reverse()) takeBack?.();
      throw problem;
    }
  }

  function list(query) {
    return ask(`inbox?${new URLSearchParams(query)}`);
  }

  /** Returns the answer, and learns its counts unless a frame, which may be newer, came in the meantime. */
  async function ask(path, body) {
    const before = known;
    const answer = await request(notifier, path, body);
    const { counts, expires_at = known.expires_at } = answer;
    if (known === before) learn({ counts, expires_at });
    return answer;
  }

  function watchExpiry() {
    clearTimeout(timer);
    const { expires_at: next } = known;
    if (!next || next === expired || !listeners.size) return;
    timer = setTimeout(expire, Math.min(Date.parse(next) - Date.now(), LONGEST_TIMER));
  }

  function expire() {
    if (Date.parse(known.expires_at) > Date.now()) return watchExpiry();
    expired = known.expires_at;
    tell("expire", expired);
    timer = setTimeout(() => ask("inbox/counts").catch(ignore), random() * SPREAD);
  }

  return {
    on,
    act,
    list,
    get counts() {
      return known.counts;
    },
    get revision() {
      return known.revision;
    },
  };
}

/**
 * Calls the service beside the stream; throws the problem that it answers with. A token may have expired by its clock
 * before it has by ours, so it tries again with a new one.
 */
async function request(notifier, path, body, anew) {
  const { url, token } = notifier;
  const headers = {};
  const bearer = await token(anew);
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(new URL(path, url), {
    method: body ? "POST" : "GET",
    headers,
    credentials: bearer ? "omit" : "include",
    body: body && JSON.stringify(body),
    keepalive: Boolean(body), // to read something may be to leave the page
    signal: AbortSignal.timeout(ANSWER_WITHIN),
  });
  if (answer.status === 401 && !anew) return request(notifier, path, body, true);
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.title), said);
  return said;
}

function ignore() {}
