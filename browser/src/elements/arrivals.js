/**
 * Notifications of the stream that may become items of a list. Not every notification belongs in the inbox, and only the
 * service knows which: they do if its counts have changed by as much as these items change them.
 */
export function createArrivals() {
  let arrived = []; // items that the list does not have yet
  let explained = {}; // the counts that the list explains: {unread, unseen}
  let counts = {}; // those of the service
  let isUnconfirmed; // an action or a recall has changed the list, and the counts do not show it yet
  let isMixed; // arrivals and such a change may cancel each other out, so nothing can be concluded from the counts

  /** Begins with a list that was fetched, and the counts in the same answer. */
  function begin(fetched) {
    arrived = [];
    explained = { ...fetched };
    counts = fetched;
    isUnconfirmed = isMixed = false;
  }

  function add({ notification, channel, cursor }) {
    isMixed ||= isUnconfirmed;
    arrived.push({ cursor, channel, notification, seen: false, read: false, archived: false, muted: false });
  }

  function count(current) {
    counts = current;
  }

  /** Notes that an action or a recall has changed items of the list. */
  function change(before, after) {
    const unread = total("read", after) - total("read", before);
    const unseen = total("seen", after) - total("seen", before);
    explained = { unread: explained.unread + unread, unseen: explained.unseen + unseen };
    isUnconfirmed ||= Boolean(unread || unseen);
    isMixed ||= isUnconfirmed && arrived.length > 0;
  }

  /** Notes that a notification was recalled. */
  function remove(id) {
    isMixed ||= arrived.some((item) => idOf(item) === id); // the counts may have included it
  }

  /** Returns the items that arrived, and all of a list with them; undefined if they do not explain the counts. */
  function match(items) {
    if (isMixed) return;
    const all = new Map(items.map((item) => [keyOf(item), item]));
    let { unread, unseen } = explained;
    for (const item of arrived) {
      const replaced = all.get(keyOf(item));
      unread += 1 - countsAs("read", replaced);
      unseen += 1 - countsAs("seen", replaced);
      all.set(keyOf(item), item);
    }
    if (unread !== counts.unread || unseen !== counts.unseen) return;
    const found = { arrived, all: [...all.values()] };
    begin(counts);
    return found;
  }

  return { begin, add, count, change, remove, match };
}

export function idOf({ notification }) {
  return notification.id;
}

/** Returns the same key for notifications that replace each other. */
export function keyOf({ channel, notification: { id, sender = "", collapse_key: key } }) {
  return key ? `${channel} ${sender} ${key}` : id; // channels and senders have no spaces
}

function total(flag, items) {
  return items.reduce((sum, item) => sum + countsAs(flag, item), 0);
}

/** Whether the service counts an item as unread or unseen, by the flag that it lacks: 1 or 0. */
function countsAs(flag, item) {
  return item && !item[flag] && !item.archived && !item.muted ? 1 : 0;
}
