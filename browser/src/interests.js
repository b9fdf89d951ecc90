import { isBefore } from "./cursor.js";

// No invisible characters, spaces, braces or wildcards; and not . or .. alone.
const NAME = /^(?!\.\.?$)[^\p{Cc}\p{Cf}\p{Cs}\p{Z}{}*]{1,128}$/u;

/**
 * The interests of the tabs of a group: topics, and which tab runs callbacks that run once per browser.
 *
 * A subscription is {topic, since, exceeds}. It has a `since` only while the past of its topic has not been delivered. It
 * `exceeds` if the service rejected it because the connection had too many topics.
 */
export function createInterests() {
  const tabs = new Map(); // id -> {topics: Map of name -> since, once}
  const subscriptions = new Map(); // topic -> the latest subscription to it

  /**
   * Stores the complete interests of a tab. Returns the subscriptions to request: `since` is the cursor from which
   * the tab needs topics that no other tab has.
   */
  function declare({ tab, topics, once }, since) {
    const before = tabs.get(tab)?.topics;
    const wanted = new Map(topics);
    tabs.set(tab, { topics: wanted, once });
    const isNew = ([topic, past]) => !subscriptions.has(topic) || (past && past !== before?.get(topic));
    return [...wanted].filter(isNew).map(([topic, past]) => subscribe(topic, past ?? since));
  }

  function subscribe(topic, since) {
    const past = pastOf(topic);
    const subscription = { topic, since: isBefore(past, since) ? past : (since ?? past) };
    subscriptions.set(topic, subscription);
    return subscription;
  }

  /** Removes the topics that no tab wants any longer, and returns them. */
  function prune() {
    const isUnwanted = (topic) => ![...tabs.values()].some((tab) => tab.topics.has(topic));
    return [...subscriptions.keys()].filter(isUnwanted).filter((topic) => subscriptions.delete(topic));
  }

  /** Returns the cursor after which the past of a topic is still to be delivered. */
  function pastOf(topic) {
    return subscriptions.get(topic)?.since;
  }

  /**
   * Ends a subscription's past. Returns {topic, since, tabs} where tabs waited for it. A tab that asks for it now is not
   * among them: its request is on the way. Nor does the end of an earlier subscription count for a later one.
   */
  function settle(subscription) {
    const { topic, since } = subscription;
    subscription.since = undefined;
    if (!since || subscriptions.get(topic) !== subscription) return;
    return { topic, since, tabs: [...tabs.keys()].filter((id) => tabs.get(id).topics.get(topic)) };
  }

  /** Returns the tab that runs callbacks for this channel, rather than another one. */
  function chosen(channel, inbox) {
    return [...tabs].find(([, { topics, once }]) => once && isWanted(topics, channel, inbox))?.[0];
  }

  function clear() {
    tabs.clear();
    subscriptions.clear();
  }

  return {
    declare,
    prune,
    pastOf,
    settle,
    chosen,
    clear,
    knows: (tab) => tabs.has(tab),
    forget: (tab) => tabs.delete(tab),
    wants: (topic) => subscriptions.has(topic),
    all: () => [...subscriptions.values()],
  };
}

/** Returns the name. Throws if the service would reject it: one page's mistake must not end the stream of all tabs. */
export function checkTopic(name) {
  if (typeof name !== "string" || !NAME.test(name)) throw new TypeError(`no name of a topic: ${name}`);
  return name;
}

/** Whether a tab with these topics receives the channel. Topics of which the user is a member need not be joined. */
export function isWanted(topics, channel, inbox) {
  const topic = topicOf(channel);
  return !topic || topics.has(topic) || inbox?.memberships?.includes(topic);
}

/** Returns the topic of a channel; undefined for other channels. */
export function topicOf(channel) {
  return /^topic:(.*)/.exec(channel)?.[1];
}
