/**
 * The inbox as elements for any page: <notifier-bell>, <notifier-inbox> and <notifier-toasts>.
 *
 *     document.querySelector("notifier-bell").notifier = notifier;
 *
 * They do nothing until they have a Notifier. ../README.md describes how to style them.
 */
import { NotifierBell } from "./elements/bell.js";
import { define } from "./elements/element.js";
import { NotifierInbox } from "./elements/inbox.js";
import { NotifierToasts } from "./elements/toasts.js";

define("notifier-inbox", NotifierInbox); // the bell contains one
define("notifier-bell", NotifierBell);
define("notifier-toasts", NotifierToasts);

export { NotifierBell, NotifierInbox, NotifierToasts };
