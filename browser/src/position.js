import { isBefore, isMissed } from "./cursor.js";

const EVERYTHING = "Infinity-0"; // later than every cursor

/** How far the leader has passed entries on to its tabs. */
export class Position {
  cursor; // everything up to here has been passed on
  newest; // entry of this connection
  acked; // the end of what was acknowledged: the next acknowledgement covers the entries from here to the cursor
  ackedFrom; // the beginning of the last acknowledgement, which may have been lost

  /** Forgets everything: the tabs of a new leader report their cursors. */
  clear() {
    this.cursor = this.newest = this.acked = this.ackedFrom = undefined;
  }

  /** Starts a connection, which delivers everything after the cursor. The last acknowledgement may have been lost. */
  begin() {
    this.newest = undefined;
    this.acked = this.ackedFrom ?? this.acked;
  }

  /** Starts at a cursor if there is none: with one, the replay still follows, and may be interrupted. */
  startAt(place) {
    this.cursor ??= place;
    this.acked ??= this.cursor;
  }

  /** Returns what to acknowledge. Entries before `since` may never have been sent to this client. */
  acknowledge() {
    const { cursor, acked: since } = this;
    this.ackedFrom = since;
    this.acked = cursor;
    return { cursor, since };
  }

  reach(place) {
    if (isBefore(this.cursor, place)) this.cursor = place;
  }

  deliver(place) {
    if (!isBefore(place, this.newest)) this.newest = place;
  }

  /** Entries were lost: tabs that come back later must go back to get the report of it. */
  lose() {
    this.newest = EVERYTHING;
  }

  /** Moves back to a tab's cursor; returns whether that takes another connection. */
  goBack(since) {
    const isEarlier = !this.cursor || isBefore(since, this.cursor);
    if (isEarlier) this.cursor = this.acked = this.ackedFrom = since;
    return isEarlier || isMissed(this.newest, since);
  }
}
