import type { Notification, Notifier } from "notifierd";

/** A text, or one for each plural category of Intl.PluralRules, or for a number. `{count}` and the like are filled in. */
export type Text = string | { [categoryOrNumber: string]: string };

export interface Texts {
  title: Text;
  /** The bell's name, with `{count}`. */
  unreadLabel: Text;
  /** The same for a bell that counts what is new. */
  unseenLabel: Text;
  close: Text;
  /** The name of the three filters together. */
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
  unavailable: Text;
  retry: Text;
  offline: Text;
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
  /** The toast for all that was missed, with `{count}`. */
  missed: Text;
}

/** What all elements have. They are empty as long as they have no Notifier. */
export interface NotifierElement extends HTMLElement {
  get notifier(): Notifier | undefined;
  set notifier(notifier: Notifier | undefined);
  get texts(): Texts;
  /** Those that are left out are English. */
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

/** What `notifier-open` and `notifier-toast` tell. To prevent the default is to do it oneself. */
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
