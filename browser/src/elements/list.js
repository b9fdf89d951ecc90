import { isBefore } from "../cursor.js";

const PAGE = 20; // items
const LONGEST_PAGE = 100; // items: the most that the service returns at once
const SOON = 100; // ms: a notification arrives together with new counts; one fetch is enough for both
const PAUSE = 250; // ms: notifications that arrive at once are fetched together
const SPREAD = 1_000; // ms: if a notification arrives for many users, their requests are spread

const DONE = {
  seen: { seen: true },
  read: { seen: true, read: true },
  unread: { read: false, archived: false },
  archive: { seen: true, read: true, archived: true },
  unarchive: { archived: false },
};

const SHOWS = {
  all: ({ archived }) => !archived,
  unread: ({ archived, read }) => !archived && !read,
  archived: ({ archived }) => archived,
};

const BRINGS = { all: ["unread", "unarchive"], unread: ["unread"], archived: ["archive"] };

/**
 * A list of the items in an inbox. It fetches only while it is shown; it calls `changed()` whenever the list changes.
 *
 * Items are fetched, not built from notifications of the stream: only the service knows what belongs in the inbox.
 */
export function createList(inbox, changed, { random = Math.random } = {}) {
  let status = "all";
  let items = [];
  let next = null; // where the next page of older items begins
  let cursor; // everything up to this is in the list
  let seen; // everything up to this was marked as seen
  let problem; // why the list could not be fetched
  let isShown = false;
  let isStale = true;
  let isPatchy = false; // changes were missed, and older items may have changed
  let isLoaded = false;
  let loading; // resolves when the newest items have been fetched
  let older; // the same for older items
  let rest; // the timer of the pause between two fetches
  const end = inbox.on({ change, arrive, remove, expire, stale, count });

  // Showing

  function show(shown) {
    isShown = shown;
    if (isStale || problem) load();
    else markSeen();
  }

  function filter(wanted) {
    status = wanted;
    next = null;
    isLoaded = false;
    rest = clearTimeout(rest);
    keep([]);
    reload();
  }

  function reload() {
    isStale = true;
    load();
  }

  function load() {
    if (isShown && !rest) loading ??= fetchNewest();
  }

  async function fetchNewest() {
    await older?.catch(ignore);
    const asked = status;
    isStale = false;
    try {
      const limit = Math.min(Math.max(items.length, PAGE), LONGEST_PAGE);
      const answer = await inbox.list({ status, limit });
      if (asked === status) take(answer);
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    loading = undefined;
    if (asked !== status) return load();
    changed();
    rest = setTimeout(() => {
      rest = undefined;
      wake();
    }, PAUSE);
  }

  function wake() {
    if (isStale) load();
  }

  /** Takes the newest items. Older items that were fetched before stay. */
  function take(answer) {
    const fresh = answer.items;
    const oldest = fresh.at(-1)?.cursor;
    const keys = new Set(fresh.map(keyOf));
    const isOlder = (item) => isBefore(item.cursor, oldest) && !keys.has(keyOf(item));
    const older = answer.next && !isPatchy ? items.filter(isOlder) : [];
    items = [...fresh, ...older];
    if (!older.length) next = answer.next;
    cursor = answer.cursor;
    isPatchy = false;
    isLoaded = true;
    if (answer.revision < inbox.revision) isStale = true; // a frame has reported later changes
    markSeen();
  }

  function more() {
    older ??= fetchOlder().finally(() => (older = undefined));
    return older;
  }

  async function fetchOlder() {
    await loading;
    if (!next) return;
    const before = next;
    const answer = await inbox.list({ status, limit: PAGE, before });
    if (before !== next) return; // the list has changed meanwhile
    const ids = new Set(items.map(idOf));
    items.push(...answer.items.filter((item) => !ids.has(idOf(item))));
    next = answer.next;
    if (answer.revision < inbox.revision) stale(); // a frame reported changes before these items arrived
    changed();
  }

  function markSeen() {
    if (!isShown || !isLoaded || status === "archived" || !inbox.counts?.unseen || seen === cursor) return;
    seen = cursor;
    act("seen", { up_to: cursor }).catch(ignore);
  }

  // Actions

  function act(action, what) {
    return inbox.act(action, what);
  }

  // Events

  function change({ action, ids, up_to: upTo }) {
    const done = DONE[action];
    if (!done) return reload();
    const [before, asked] = [items, status];
    const isMeant = ids ? (item) => ids.includes(idOf(item)) : ({ cursor: place }) => !isBefore(upTo, place);
    keep(items.map((item) => (isMeant(item) ? { ...item, ...done } : item)).filter(SHOWS[status]));
    const isAllHere = ids?.every((id) => before.some((item) => idOf(item) === id));
    const isShort = next && items.length < before.length;
    if (isShort || (BRINGS[status].includes(action) && !isAllHere)) reload();
    return () => {
      if (asked === status) keep(before);
      reload();
    };
  }

  function arrive(channel = "user:") {
    isStale = true;
    setTimeout(wake, channel.startsWith("user:") ? SOON : SOON + random() * SPREAD);
  }

  function remove(id) {
    keep(items.filter((item) => idOf(item) !== id));
  }

  function expire(until) {
    keep(items.filter(({ notification: { expires_at: end } }) => !end || Date.parse(end) > Date.parse(until)));
  }

  function stale() {
    isPatchy = true;
    reload();
  }

  function count() {
    if (problem) reload(); // the service can be reached again
    else markSeen();
    changed();
  }

  function keep(kept) {
    items = kept;
    changed();
  }

  return {
    show,
    filter,
    reload,
    more,
    act,
    markAllRead: () => act("read", { up_to: cursor }),
    end: () => {
      isShown = false;
      changed = ignore; // a running fetch may still end
      end();
    },
    get status() {
      return status;
    },
    get items() {
      return items;
    },
    get cursor() {
      return cursor;
    },
    get hasMore() {
      return Boolean(next);
    },
    get hasLoaded() {
      return isLoaded;
    },
    get problem() {
      return problem;
    },
  };
}

export function idOf({ notification }) {
  return notification.id;
}

/** Returns the same key for notifications that replace each other. */
function keyOf({ channel, notification: { id, collapse_key: key } }) {
  return key ? `${channel} ${key}` : id;
}

function ignore() {}
