/**
 * The browser library of Notifier: one connection for all tabs that reconnects automatically and misses nothing.
 *
 *     const notifier = new Notifier({ getToken: () => fetch("/my-token").then((answer) => answer.text()) });
 *     notifier.on("notification", (notification, { channel, replay }) => show(notification));
 *     notifier.on("lost", ({ channels }) => reload(channels));
 *     notifier.connect();
 *
 * ../index.d.ts documents the API, docs/protocol.md the frames.
 */
export { createTab as Notifier } from "./tab.js";
