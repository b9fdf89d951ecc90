import { topicOf } from "./interests.js";

const MOST = 1_000; // as many as a channel stores
const KEPT = 60_000; // milliseconds: a frame with a new membership may follow its first notifications much later

/**
 * The latest frames of topics of which the user is not known to be a member. Tabs that have not joined the topic have
 * skipped them. They are kept from one connection to the next, because a membership may have begun before them.
 */
export function createSkipped() {
  let kept = []; // {frame, at}

  function add(frame) {
    const now = Date.now();
    kept = [...kept.filter(({ at }) => now - at < KEPT), { frame, at: now }].slice(-MOST);
  }

  /** Removes and returns the frames of these topics, in their order. */
  function take(topics) {
    const isTheirs = ({ frame }) => topics.includes(topicOf(frame.channel));
    const found = kept.filter(isTheirs);
    kept = kept.filter((each) => !found.includes(each));
    return found.map(({ frame }) => frame);
  }

  return { add, take };
}
