import type { Notification, Notifier } from "notifierd";

/** A text, or one per plural category of Intl.PluralRules or per number. `{count}` and other names are filled in. */
export type Text = string | { [categoryOrNumber: string]: string };

export interface Texts {
  title: Text;
  /** The accessible name of the bell, with `{count}`. */
  unreadLabel: Text;
  /** The same for a bell with `count="unseen"`. */
  unseenLabel: Text;
  close: Text;
  /** The accessible name of the group of three filters. */
  show: Text;
  all: Text;
  unread: Text;
  archived: Text;
  markAllRead: Text;
  markRead: Text;
  markUnread: Text;
  archive: Text;
  unarchive: Text;
  more: Text;
  loading: Text;
  noneAll: Text;
  noneUnread: Text;
  noneArchived: Text;
  /** The service cannot answer. */
  unavailable: Text;
  /** There was no answer: the service is down, or the browser blocked the request. */
  unreachable: Text;
  /** There is no token, or the service refused it. */
  signedOut: Text;
  retry: Text;
  /** The browser has no network. */
  offline: Text;
  /** The connection was lost, and another attempt follows. */
  reconnecting: Text;
  /** There was no token for the connection, or the service refused it. */
  unauthorized: Text;
  /** The connection was closed, and no attempt follows. */
  closed: Text;
  failed: Text;
  /** For a notification that has neither title nor type. */
  untitled: Text;
  muted: Text;
  info: Text;
  success: Text;
  warning: Text;
  error: Text;
  critical: Text;
  dismiss: Text;
  /** The line below the toasts for critical notifications that wait for room, with `{count}`. */
  waiting: Text;
  /** The toast for all missed notifications, with `{count}`. */
  missed: Text;
}

/** The properties of all elements. An element is empty until it has a Notifier. */
export interface NotifierElement extends HTMLElement {
  get notifier(): Notifier | undefined;
  set notifier(notifier: Notifier | undefined);
  get texts(): Texts;
  /** Omitted texts are the English ones. */
  set texts(texts: Partial<Texts>);
}

export interface NotifierBell extends NotifierElement {
  readonly open: boolean;
  /** Opens the panel, and moves the focus into it. */
  show(): void;
  close(): void;
}

export interface NotifierInbox extends NotifierElement {}

export interface NotifierToasts extends NotifierElement {}

export declare const NotifierBell: { new (): NotifierBell };
export declare const NotifierInbox: { new (): NotifierInbox };
export declare const NotifierToasts: { new (): NotifierToasts };

/** Prevent the default of `notifier-open` or `notifier-toast` to handle the notification yourself. */
export type NotificationEvent = CustomEvent<{ notification: Notification; channel: string }>;

declare global {
  interface HTMLElementTagNameMap {
    "notifier-bell": NotifierBell;
    "notifier-inbox": NotifierInbox;
    "notifier-toasts": NotifierToasts;
  }
  interface HTMLElementEventMap {
    /** A title was clicked. */
    "notifier-open": NotificationEvent;
    /** A toast is about to be shown. */
    "notifier-toast": NotificationEvent;
    /** The bell's panel was opened or closed. */
    "notifier-toggle": CustomEvent<{ open: boolean }>;
  }
}
