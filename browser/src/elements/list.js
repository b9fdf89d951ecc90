import { compareCursors, isBefore } from "../cursor.js";
import { createArrivals, idOf, keyOf } from "./arrivals.js";

const PAGE = 20; // items
const LONGEST_PAGE = 100; // items: the most that the service returns at once
const SOON = 500; // ms: a notification and the counts that include it arrive one after the other
const SEEN_EVERY = 1_000; // ms: items that arrive are marked as seen together
const PAUSE = 250; // ms: notifications that arrive at once are fetched together
const SPREAD = 4_000; // ms: for many users at once, the counts arrive gradually, and requests are spread

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
 * A notification of the stream becomes an item if the counts of the service change as they do for items: not every
 * notification belongs in the inbox. Otherwise the list is fetched.
 */
export function createList(inbox, changed, { random = Math.random } = {}) {
  let status = "all";
  let items = [];
  let next = null; // where the next page of older items begins
  let cursor; // everything up to this was fetched
  let seen; // everything up to this was marked as seen
  let added = new Set(); // ids of items that `cursor` may not cover: most have come into the list after it was fetched
  let unmatched; // the timer until the list is fetched because the counts and the items that arrived differ
  let seenSoon; // the timer until added items are marked as seen
  let problem; // why the list could not be fetched
  let isShown = false;
  let isStale = true;
  let isPatchy = false; // changes were missed, and older items may have changed
  let isLoaded = false;
  let loading; // resolves when the newest items have been fetched
  let older; // the same for older items
  let rest; // the timer of the pause between two fetches
  const arrivals = createArrivals();
  const end = inbox.on({ change, arrive, counted, renew, remove, expire, stale, count });

  // Showing

  function show(shown) {
    if (!shown) markAdded();
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
    await Promise.all([older?.catch(ignore), inbox.begun()]);
    const asked = status;
    isStale = false;
    unmatched = clearTimeout(unmatched);
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
    if (!answer.counts.unseen) seen = cursor;
    added.clear();
    for (const item of fresh) {
      if (isBefore(cursor, item.cursor)) added.add(idOf(item)); // a cursor does not cover its own millisecond
    }
    arrivals.begin(answer.counts);
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
    if (!isShown || !isLoaded || status === "archived" || !inbox.counts?.unseen) return;
    if (seen !== cursor) act("seen", { up_to: (seen = cursor) }).catch(ignore);
    if (unseenIds().length) seenSoon ??= setTimeout(markAdded, SEEN_EVERY);
  }

  function markAdded() {
    seenSoon = clearTimeout(seenSoon);
    const ids = unseenIds();
    if (isShown && ids.length) act("seen", { ids }).catch(ignore);
  }

  function unseenIds() {
    return items.filter((item) => !item.seen && added.has(idOf(item))).map(idOf);
  }

  // Actions

  function act(action, what) {
    return inbox.act(action, what);
  }

  /** Marks what is in the list: added items by ids, because others with earlier cursors may not have arrived yet. */
  function markAllRead() {
    const ids = items.map(idOf).filter((id) => added.has(id));
    const actions = [act("read", { up_to: cursor }), ids.length && act("read", { ids })];
    return Promise.all(actions);
  }

  // Events

  function change({ action, ids, up_to: upTo }) {
    const done = DONE[action];
    if (!done) return reload();
    const [before, asked] = [items, status];
    const isMeant = ids ? (item) => ids.includes(idOf(item)) : ({ cursor: place }) => !isBefore(upTo, place);
    const after = items.map((item) => (isMeant(item) ? { ...item, ...done } : item));
    arrivals.change(items, after);
    keep(after.filter(SHOWS[status]));
    const isAllHere = ids?.every((id) => before.some((item) => idOf(item) === id));
    const isShort = next && items.length < before.length;
    if (isShort || (BRINGS[status].includes(action) && !isAllHere)) reload();
    return () => {
      if (asked === status) keep(before);
      reload();
    };
  }

  function arrive(notified) {
    // A list is complete up to its cursor. Without one, it has not been fetched.
    if (cursor && !isBefore(cursor, notified.cursor)) return;
    if (items.some((item) => idOf(item) === idOf(notified))) return;
    arrivals.add(notified);
    match(notified.channel);
  }

  function counted(counts) {
    arrivals.count(counts);
    match();
  }

  /** Adds the items that arrived if they explain the counts. Otherwise fetches the list, a bit later. */
  function match(channel) {
    if (!isShown || !isLoaded || isStale || loading || problem || added.size > LONGEST_PAGE) return renew(channel);
    const found = arrivals.match(items);
    if (found) addAll(found);
    else unmatched ??= setTimeout(reload, delay(channel));
  }

  function addAll({ arrived, all }) {
    unmatched = clearTimeout(unmatched);
    for (const item of arrived) added.add(idOf(item));
    keep(all.filter(SHOWS[status]).sort((first, second) => compareCursors(second.cursor, first.cursor)));
    markSeen();
  }

  function renew(channel) {
    isStale = true;
    setTimeout(wake, delay(channel));
  }

  function delay(channel = "user:") {
    return channel.startsWith("user:") ? SOON : SOON + random() * SPREAD;
  }

  function remove(id) {
    const others = items.filter((item) => idOf(item) !== id);
    arrivals.remove(id);
    arrivals.change(items, others);
    keep(others);
    if (isLoaded && !isStale) match();
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
    markAllRead,
    end: () => {
      markAdded();
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

function ignore() {}
