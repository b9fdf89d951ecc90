/** A position in time: `<milliseconds>-<sequence>`. */
export type Cursor = string;

/** A published notification. */
export interface Notification {
  /** A UUID, the same in every channel. */
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
  /** The user who published it, if a client did. */
  sender?: string;
}

/** A notification that a client publishes, without the fields that the service adds. */
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
  /** Whether it was sent from the log, because it was missed. */
  replay: boolean;
}

/**
 * `idle` until connect(). `reconnecting`, `offline` and `unauthorized` wait for the next attempt. `closed`: the service
 * or the token rules out a reconnect, until connect() is called.
 */
export type State = "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "unauthorized" | "closed";

export type Transport = "websocket" | "sse" | "poll";

export interface Change {
  current: State;
  previous: State;
  /** A close code and its text, or the error of getToken. */
  reason?: string;
  /** Milliseconds until the next attempt. */
  retryInMs?: number;
}

/** Frozen. The object stays the same until something changes. */
export interface Snapshot {
  readonly state: State;
  readonly connected: boolean;
  readonly reason?: string;
  readonly retryInMs?: number;
  readonly transport?: Transport;
}

/** An error that the service returned. `code` is stable, the rest is for people. */
export interface Problem {
  code: string;
  title: string;
  status?: number;
  detail?: string;
  /** The topic that was rejected. */
  topic?: string;
  /** Seconds, with `rate_limited`. */
  retry_after?: number;
}

/** A change of inbox items, of the user's memberships or of the mutes. */
export interface InboxChange {
  revision: number;
  action: "seen" | "read" | "unread" | "archive" | "unarchive" | "topics" | "mutes";
  ids?: string[];
  /** All items up to this cursor. */
  up_to?: Cursor;
}

/** The state of the inbox. If `revision` is not the last one plus the number of `changes`, changes were missed. */
export interface InboxState {
  counts: Counts;
  revision: number;
  /** RFC 3339: when the next item expires. */
  expires_at: string | null;
  changes?: InboxChange[];
  /** Topics that the user is a member of: in the first state, and after they have changed. */
  memberships?: string[];
}

/** As the service counts: muted and archived items are not included. */
export interface Counts {
  unread: number;
  unseen: number;
}

export interface Events {
  /** Called once per id, in order per channel. `replay` is set if it was missed before or requested with `since`. */
  notification: (notification: Notification, circumstances: Circumstances) => void;
  /** The notification was recalled: remove it. It may be one that was never shown. */
  removed: (removed: { id: string; channel: string }) => void;
  /** Notifications of these channels are lost permanently: load your state again. */
  lost: (lost: { channels: string[] }) => void;
  /** The replay has ended. `count`: notifications with `replay`; `lost`: channels that have lost something. */
  replayed: (replayed: { count: number; lost: string[] }) => void;
  /** The counts of the user's inbox. */
  counts: (counts: Counts) => void;
  /** On connecting, and whenever the user's inbox has changed on any device. */
  inbox: (state: InboxState) => void;
  state: (change: Change) => void;
  /** A problem that the service returned, or the error of getToken. */
  error: (error: Problem | Error) => void;
}

export interface Options {
  /** The path of the stream, or its URL with http(s) or ws(s). Default: `/v1/stream`. */
  url?: string;
  /** Returns or resolves to a token. Called whenever a new one is needed. Omit it if a cookie identifies the user. */
  getToken?: () => Promise<string> | string;
  /** Topics to join at the start. */
  topics?: string[];
  /** For example sessionStorage: stores the cursor, so that a reloaded page resumes. */
  storage?: Pick<Storage, "getItem" | "setItem">;
  /** Whether tabs of this browser whose tokens are the same user's share one connection. Default: true. */
  shared?: boolean;
  /** Only tabs with the same name share. Required for sharing if tokens cannot be read, or a cookie is used. */
  name?: string;
  /** The transports to use, in order of preference. Default: all. */
  transports?: Transport[];
  /** An implementation, if the environment has none, for example old versions of Node. */
  WebSocket?: unknown;
  /** For tests: returns a number from 0 to 1. */
  random?: () => number;
}

export class Notifier {
  /** Throws a TypeError if the options have an API key instead of getToken, or a topic whose name cannot be valid. */
  constructor(options?: Options);
  readonly state: State;
  /** The position to resume from. Everything before it was delivered, except for older notifications that join() requested. */
  readonly cursor: Cursor | undefined;
  /** The id of the connection in the service's logs. */
  readonly connection: string | undefined;
  /** The last known state of the user's inbox. */
  readonly inbox: InboxState | undefined;
  /** The URL of the stream, with http(s). Other URLs of the service are relative to it. */
  readonly url: string;
  /** Resolves to a token for your own requests, or to undefined if a cookie identifies the user. */
  token(): Promise<string | undefined>;
  /** Calls back on each event of this kind. Returns an unsubscribe function. */
  on<Event extends keyof Events>(event: Event, callback: Events[Event]): () => void;
  /** With `perBrowser` the callback runs in only one of the tabs that share a connection. */
  on(event: "notification", callback: Events["notification"], options: { perBrowser?: boolean }): () => void;
  /** Connects, and reconnects whenever needed. During a wait for the next attempt, it attempts at once. */
  connect(): void;
  /** Disconnects this tab. connect() resumes at the same position. */
  disconnect(): void;
  /**
   * Joins a topic, now and after each reconnect. With `since`, the notifications after that cursor are replayed before
   * live ones: the topic's callbacks wait until all have arrived, and then come in order. Other channels do not wait.
   * Throws a TypeError if the name or the cursor cannot be valid.
   */
  join(topic: string, options?: { since?: Cursor }): void;
  leave(topic: string): void;
  /**
   * Publishes to a topic that the token grants. Rejects with a TypeError if it has no JSON. Retried after a reconnect, but published only once. Rejects with an
   * Error that has the fields of the problem. After 30 seconds without an answer its `code` is `timeout`, and the
   * notification may or may not have been published. With `echo: false` this tab does not receive it.
   */
  publish(topic: string, notification: Draft, options?: { echo?: boolean }): Promise<{ id: string; cursor: Cursor }>;
  /** Calls back when the snapshot changes. Returns an unsubscribe function. Both methods may be passed on unbound. */
  subscribe: (callback: () => void) => () => void;
  getSnapshot: () => Snapshot;
}
