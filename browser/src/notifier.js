/**
 * The browser's side of Notifier: one connection for all tabs that comes back by itself and misses nothing.
 *
 *     const notifier = new Notifier({ getToken: () => fetch("/my-token").then((answer) => answer.text()) });
 *     notifier.on("notification", (notification, { channel, replay }) => show(notification));
 *     notifier.on("lost", ({ channels }) => loadAnew(channels));
 *     notifier.connect();
 *
 * ../index.d.ts says what there is, docs/protocol.md what goes over the wire.
 */
export { createTab as Notifier } from "./tab.js";
