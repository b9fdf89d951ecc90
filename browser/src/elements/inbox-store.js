/**
 * A user's inbox. All elements of a page that have the same Notifier share it. The service counts, never the page.
 *
 * `on(listener)` calls these methods of the listener, if it has them, and returns a function that ends this:
 * - `count()`: the counts have changed
 * - `change({action, ids | up_to})`: items become seen, read, ...; may return a function that undoes the change
 * - `arrive({notification, channel, cursor})`: a notification arrived, which may belong into the inbox
 * - `counted({unread, unseen})`: a frame has these counts
 * - `renew()`: the stream has begun again, so the list may have changed
 * - `remove(id)`, `expire(until)`: items are recalled or expire
 * - `stale()`: changes were missed, so fetched items may be wrong
 */

const ANSWER_WITHIN = 30_000; // ms
const BEGINS_WITHIN = 1_000; // ms: a list that is fetched before the stream begins is fetched again then
const SPREAD = 2_000; // ms: if an item expires for many users, their requests are spread
const LONGEST_TIMER = 2 ** 31 - 1; // ms: a longer one would fire at once

const inboxes = new WeakMap(); // by Notifier

export function inboxOf(notifier) {
  if (!inboxes.has(notifier)) inboxes.set(notifier, createInbox(notifier));
  return inboxes.get(notifier);
}

export function createInbox(notifier, random = Math.random) {
  const listeners = new Set();
  let known = notifier.inbox ?? {}; // {counts, revision, expires_at}
  let connection = known.counts && notifier.connection; // that of the last frame
  let begins; // called when the stream begins
  let expired; // the last `expires_at` that was handled
  let timer;
  let reported; // the kind of the last failure, if no request has succeeded since

  notifier.on("inbox", hear);
  notifier.on("notification", (notification, { channel, cursor }) => notify("arrive", { notification, channel, cursor }));
  notifier.on("removed", ({ id }) => notify("remove", id));
  notifier.on("lost", () => notify("stale"));

  function on(listener) {
    listeners.add(listener);
    watchExpiry();
    return () => listeners.delete(listener);
  }

  function notify(method, ...details) {
    return [...listeners].map((listener) => listener[method]?.(...details));
  }

  function hear({ counts, revision, expires_at, changes = [] }) {
    const fresh = changes.filter((change) => change.revision > known.revision);
    const isComplete = revision === known.revision + fresh.length;
    const isAnother = connection !== notifier.connection;
    connection = notifier.connection;
    learn({ counts, revision, expires_at });
    if (!isComplete) notify("stale");
    else if (isAnother) notify("renew");
    else {
      for (const change of fresh) notify("change", change);
      notify("counted", counts);
    }
    begins?.();
  }

  /** Resolves when the stream has begun: what it reports from then on is what a list lacks that is fetched then. */
  async function begun() {
    if (known.revision !== undefined || notifier.state !== "connecting") return;
    await new Promise((resolve) => {
      begins = resolve;
      setTimeout(resolve, BEGINS_WITHIN);
    });
  }

  function learn(news) {
    known = { ...known, ...news };
    watchExpiry();
    notify("count");
  }

  /** Optimistic update; rolled back if the request fails. */
  async function act(action, what) {
    const changes = notify("change", { action, ...what });
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

  /** Returns the answer, and applies its counts, unless a frame, which may be newer, arrived in the meantime. */
  async function ask(path, body) {
    const before = known;
    const answer = await request(notifier, path, body).catch(report);
    reported = undefined;
    const { counts, expires_at = known.expires_at } = answer;
    if (known === before) learn({ counts, expires_at });
    return answer;
  }

  /** Logs a failure for developers, once until a request succeeds or fails for another reason. */
  function report(problem) {
    const { kind, explanation, cause = problem } = problem;
    if (kind !== reported) console.error(`Notifier: ${explanation}`, cause);
    reported = kind;
    throw problem;
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
    notify("expire", expired);
    timer = setTimeout(() => ask("inbox/counts").catch(ignore), random() * SPREAD);
  }

  return {
    on,
    act,
    list,
    begun,
    get counts() {
      return known.counts;
    },
    get revision() {
      return known.revision;
    },
  };
}

/** Why a request failed. `kind` is the name of the text for users, `explanation` is for developers. */
class Failure extends Error {
  constructor(kind, explanation, problem) {
    super(explanation);
    Object.assign(this, problem, { kind, explanation, cause: problem });
  }
}

/**
 * Sends a request to the service over HTTP; throws a Failure, which has the fields of the problem. By the service's
 * clock a token may expire earlier than by this one, so the request is repeated with a new token.
 */
async function request(notifier, path, body, mustBeNew) {
  const signal = AbortSignal.timeout(ANSWER_WITHIN);
  const headers = {};
  const bearer = await tokenOf(notifier, mustBeNew, signal);
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await send(notifier, new URL(path, notifier.url), {
    method: body ? "POST" : "GET",
    headers,
    credentials: bearer ? "omit" : "include",
    body: body && JSON.stringify(body),
    keepalive: Boolean(body), // reading an item may leave the page
    signal,
  });
  if (answer.status === 401 && !mustBeNew) return request(notifier, path, body, true);
  const said = await answer.json().catch((error) => ({ title: `${error}` }));
  if (answer.status === 401) throw new Failure("signedOut", "the service refused the token", said);
  if (!answer.ok || !said?.counts) throw new Failure("unavailable", `${path}: HTTP ${answer.status}`, said);
  return said;
}

/** Resolves to a token. getToken may never answer. */
async function tokenOf(notifier, mustBeNew, signal) {
  const timeout = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  try {
    return await Promise.race([notifier.token(mustBeNew), timeout]);
  } catch (error) {
    // fetch() throws a TypeError without an answer, and so does the Notifier for a token that it will never accept.
    const isOutage = error?.name === "TimeoutError" || (error instanceof TypeError && notifier.state !== "closed");
    throw new Failure(isOutage ? "unavailable" : "signedOut", "getToken failed", error);
  }
}

async function send(notifier, url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "TimeoutError") throw new Failure("unavailable", `${url} did not answer`, error);
    // A page cannot read why. WebSockets are not subject to CORS.
    const isUp = notifier.state === "connected";
    const why = isUp ? "the browser blocked it (CORS)" : "the service is down, or the browser blocked it (CORS)";
    throw new Failure("unreachable", `no answer from ${url}: ${why}`, error);
  }
}

function ignore() {}
