/** A place in time: `<milliseconds>-<sequence>`. */
export type Cursor = string;

/** What somebody published. */
export interface Notification {
  /** A UUID, the same for every copy in several channels. */
  id: string;
  /** RFC 3339. */
  created_at: string;
  severity: "info" | "success" | "warning" | "error" | "critical";
  type?: string;
  title?: string;
  body?: string;
  action_url?: string;
  collapse_key?: string;
  data?: unknown;
  /** RFC 3339. */
  expires_at?: string;
  /** The user who published it, where a client did. */
  sender?: string;
}

/** What a client may publish: a notification without what the service adds. */
export interface Draft {
  type?: string;
  title?: string;
  body?: string;
  severity?: Notification["severity"];
  action_url?: string;
  data?: unknown;
  collapse_key?: string;
  /** Seconds. */
  ttl?: number;
  retain?: "inbox" | "history" | "none";
}

export interface Circumstances {
  /** `user:<name>`, `topic:<name>` or `all`. */
  channel: string;
  cursor: Cursor;
  /** Whether it comes from the log: it was missed. */
  replay: boolean;
}

/**
 * `idle` until connect(); `connecting`, `connected`; `reconnecting`, `offline` and `unauthorized` wait for the next
 * try; `closed`: the service or the token wants us to stay away, and we do until connect().
 */
export type State = "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "unauthorized" | "closed";

export type Transport = "websocket" | "sse" | "poll";

export interface Change {
  current: State;
  previous: State;
  /** Why: a close code and its text, or what getToken threw. */
  reason?: string;
  /** Milliseconds until the next try. */
  retryInMs?: number;
}

/** Frozen, and the same object while nothing changes. */
export interface Snapshot {
  readonly state: State;
  readonly connected: boolean;
  readonly reason?: string;
  readonly retryInMs?: number;
  readonly transport?: Transport;
}

/** A refusal of the service; `code` is stable, the rest is for people. */
export interface Problem {
  code: string;
  title: string;
  status?: number;
  detail?: string;
  /** The topic that was refused. */
  topic?: string;
  /** Seconds, with `rate_limited`. */
  retry_after?: number;
}

/** What was done to items of the inbox, to the user's memberships or to what is muted. */
export interface InboxChange {
  revision: number;
  action: "seen" | "read" | "unread" | "archive" | "unarchive" | "topics" | "mutes";
  ids?: string[];
  /** All items up to there. */
  up_to?: Cursor;
}

/** How the user's inbox stands. If the revision is not the last one plus the changes, something was missed. */
export interface InboxState {
  counts: Counts;
  revision: number;
  /** RFC 3339: when the next item expires. */
  expires_at: string | null;
  changes?: InboxChange[];
  /** Topics of which the user is a member; in the first, and where they have changed. */
  memberships?: string[];
}

/** As the service counts: muted and archived items are neither. */
export interface Counts {
  unread: number;
  unseen: number;
}

export interface Events {
  /** Each id once, in order per channel; what was missed before, or was asked for with `since`, has `replay`. */
  notification: (notification: Notification, circumstances: Circumstances) => void;
  /** It was recalled: take it away. May come for one that was never shown. */
  removed: (removed: { id: string; channel: string }) => void;
  /** Something of these channels is gone for good: load your state anew. */
  lost: (lost: { channels: string[] }) => void;
  /** All that was missed has come: so many notifications with `replay`, and nothing of the lost channels. */
  replayed: (replayed: { count: number; lost: string[] }) => void;
  /** Of the user's inbox. */
  counts: (counts: Counts) => void;
  /** On connecting, and whenever something in the user's inbox has changed, on whatever device. */
  inbox: (state: InboxState) => void;
  state: (change: Change) => void;
  /** A problem that the service told, or what getToken threw. */
  error: (error: Problem | Error) => void;
}

export interface Options {
  /** The stream's path, or its URL with http(s) or ws(s). Default: `/v1/stream`. */
  url?: string;
  /** Resolves to a token whenever a new one is needed. Not given where a cookie says who it is. */
  getToken?: () => Promise<string> | string;
  /** To join from the start. */
  topics?: string[];
  /** For example sessionStorage: keeps the cursor, so that a page that is reloaded resumes, too. */
  storage?: Pick<Storage, "getItem" | "setItem">;
  /** Whether the tabs of this browser share a connection. They do where their tokens are the same user's. Default: true. */
  shared?: boolean;
  /** Keeps apart what shares. Needed for sharing where the token cannot be read, or a cookie is used. */
  name?: string;
  /** What may be used, in the order in which to try. Default: all. */
  transports?: Transport[];
  /** For where there is none, as in old versions of Node. */
  WebSocket?: unknown;
  /** For tests: from 0 to 1. */
  random?: () => number;
}

export class Notifier {
  /** Throws a TypeError where the options have an API key in place of getToken. */
  constructor(options?: Options);
  readonly state: State;
  /** The place to resume from. */
  readonly cursor: Cursor | undefined;
  /** The id that the service's logs know the connection by. */
  readonly connection: string | undefined;
  /** How the user's inbox stood last. */
  readonly inbox: InboxState | undefined;
  /** The stream's URL, with http(s): others of the service are relative to it. */
  readonly url: string;
  /** Resolves to a token for a request of one's own; to undefined where a cookie says who it is. */
  token(): Promise<string | undefined>;
  /** Calls back on each such event; returns what ends it. */
  on<Event extends keyof Events>(event: Event, callback: Events[Event]): () => void;
  /** With `perBrowser` a notification calls back in one of the tabs that share a connection. */
  on(event: "notification", callback: Events["notification"], options: { perBrowser?: boolean }): () => void;
  /** Connects and stays so. While it waits for the next try, this is the next try. */
  connect(): void;
  /** Ends this tab's part of the connection. connect() resumes where it was. */
  disconnect(): void;
  /**
   * Joins a topic, now and after each reconnect; with `since`, what it had since that cursor comes before anything else
   * of it. In a tab beside one that has joined it already, live notifications may come before that past.
   */
  join(topic: string, options?: { since?: Cursor }): void;
  leave(topic: string): void;
  /**
   * Publishes to a topic that the token grants. It is repeated after a reconnect, and published once. Rejects with an
   * Error that has the problem's members; after 30 seconds without an answer its `code` is `timeout`, and it may have
   * been published or not. Without `echo` this tab is not called back.
   */
  publish(topic: string, notification: Draft, options?: { echo?: boolean }): Promise<{ id: string; cursor: Cursor }>;
  /** Calls back when getSnapshot() has another answer; returns what ends it. Both may be taken off the object. */
  subscribe: (callback: () => void) => () => void;
  getSnapshot: () => Snapshot;
}
