/** Texts of the elements. An object has a text for each plural category of Intl.PluralRules, or for a number. */
export const TEXTS = {
  title: "Notifications",
  unreadLabel: { 0: "Notifications", other: "Notifications, {count} unread" },
  unseenLabel: { 0: "Notifications", other: "Notifications, {count} new" },
  close: "Close",
  show: "Show",
  all: "All",
  unread: "Unread",
  archived: "Archived",
  markAllRead: "Mark all as read",
  markRead: "Mark as read",
  markUnread: "Mark as unread",
  archive: "Archive",
  unarchive: "Move back to the inbox",
  more: "Show more",
  loading: "Loading …",
  noneAll: "Nothing here yet.",
  noneUnread: "All read.",
  noneArchived: "Nothing archived.",
  unavailable: "Notifications are not available right now.",
  unreachable: "The notification service cannot be reached.",
  signedOut: "Sign in again to see your notifications.",
  retry: "Try again",
  offline: "You're offline. New notifications appear when you reconnect.",
  reconnecting: "The connection was lost. New notifications appear when it is back.",
  unauthorized: "You may have to sign in again to receive new notifications.",
  closed: "New notifications appear after you reload the page.",
  failed: "That did not work, please try again.",
  untitled: "Notification",
  muted: "Muted",
  info: "Info",
  success: "Success",
  warning: "Warning",
  error: "Error",
  critical: "Critical",
  dismiss: "Dismiss",
  waiting: "and {count} more",
  missed: { one: "{count} notification while you were away", other: "{count} notifications while you were away" },
};

/**
 * Fills in a text: `{count}` and other names in braces are replaced. If a page's text, or its form for a number, is
 * missing, the built-in text is used: half a translation is better than an empty element.
 */
export function say(text, lang, values = {}, builtIn = "") {
  const chosen = choose(text, lang, values) ?? choose(builtIn, lang, values);
  return chosen.replace(/\{(\w+)\}/g, (braces, name) => values[name]?.toLocaleString(lang) ?? braces);
}

function choose(text, lang, { count }) {
  if (typeof text === "string") return text;
  return text?.[count] ?? text?.[new Intl.PluralRules(lang).select(count)] ?? text?.other;
}
