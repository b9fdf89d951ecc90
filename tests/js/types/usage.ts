/** Code that users may write, and code that they may not: `tsc --noEmit` is the test. */

import { Notifier, type Problem, type Snapshot } from "notifierd";
import { NotifierBell } from "notifierd/inbox";

const notifier = new Notifier({ getToken: async () => "token", topics: ["orders"], storage: sessionStorage });

const end: () => void = notifier.on("notification", ({ id, title, data }, { channel, cursor, replay }) => {
  const texts: (string | undefined)[] = [id, title, channel, cursor];
  const missed: boolean = replay;
  console.log(texts, missed, data);
});
notifier.on("notification", ({ id }) => console.log(id), { perBrowser: true });
notifier.on("removed", ({ id, channel }) => console.log(id, channel));
notifier.on("lost", ({ channels }) => channels.map((channel) => channel.length));
notifier.on("replayed", ({ count, lost }) => console.log(count + lost.length));
notifier.on("counts", ({ unread, unseen }) => console.log(unread + unseen));
notifier.on("inbox", ({ revision, changes = [] }) => console.log(revision, changes[0]?.action, notifier.inbox?.counts));
notifier.token().then((token) => fetch(new URL("inbox", notifier.url), { headers: { Authorization: `Bearer ${token}` } }));
notifier.on("state", ({ current, previous, reason, retryInMs }) => console.log(current, previous, reason, retryInMs));
notifier.on("error", (error) => console.log("code" in error ? error.code : error.message));
notifier.connect();
notifier.join("invoices", { since: notifier.cursor });
notifier.leave("invoices");
notifier
  .publish("orders", { title: "Hi", data: { n: 1 }, ttl: 60 }, { echo: false })
  .then(({ id, cursor }) => console.log(id, cursor))
  .catch((problem: Problem) => console.log(problem.code, problem.retry_after));
const { subscribe, getSnapshot } = notifier;
const unsubscribe = subscribe(() => {
  const { state, connected, transport }: Snapshot = getSnapshot();
  console.log(state, connected, transport);
});
unsubscribe();
end();
notifier.disconnect();

const bell: NotifierBell = document.createElement("notifier-bell");
bell.notifier = notifier;
bell.texts = { close: "Zu", unreadLabel: { one: "Eine", other: "{count} neue" } };
bell.addEventListener("notifier-open", (event) => console.log(event.detail.notification.title, event.preventDefault()));
if (!bell.open) bell.show();

// @ts-expect-error: there is no such text
bell.texts = { schliessen: "Zu" };
// @ts-expect-error: an element takes a Notifier, not a URL
document.createElement("notifier-inbox").notifier = "/v1/stream";
// @ts-expect-error: there is no such event
notifier.on("notifcation", () => {});
// @ts-expect-error: only notifications are for one tab
notifier.on("state", () => {}, { perBrowser: true });
// @ts-expect-error: a token is fetched
new Notifier({ getToken: "token" });
// @ts-expect-error: there is no such transport
new Notifier({ transports: ["carrier pigeon"] });
// @ts-expect-error: the service adds the sender
notifier.publish("orders", { sender: "me" });
// @ts-expect-error: a snapshot is frozen
getSnapshot().state = "idle";
