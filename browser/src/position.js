import { isBefore, isMissed } from "./cursor.js";

const EVERYTHING = "Infinity-0"; // later than every cursor

/** How far the leader has passed entries on to its tabs. */
export class Position {
  cursor; // everything up to here has been passed on
  newest; // entry of this connection

  /** Forgets everything: the tabs of a new leader report their cursors. */
  clear() {
    this.cursor = this.newest = undefined;
  }

  /** Starts a connection, which delivers everything after the cursor. */
  begin() {
    this.newest = undefined;
  }

  /** Starts at a cursor if there is none: with one, the replay still follows, and may be interrupted. */
  startAt(place) {
    this.cursor ??= place;
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
    if (isEarlier) this.cursor = since;
    return isEarlier || isMissed(this.newest, since);
  }
}
