// A client on the `eventsource` package: node eventsource_client.js URL TOKEN COUNT prints each notification's title.
import { EventSource } from "eventsource";

const [url, token, count] = process.argv.slice(2);
let titles = 0;

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
source.addEventListener("message", (event) => {
  const frame = JSON.parse(event.data);
  if (frame.type === "welcome" || frame.type === "close") console.log(frame.type);
  if (frame.type !== "notification") return;
  if (event.lastEventId !== frame.cursor) console.log("the id is", event.lastEventId);
  console.log(frame.notification.title);
  if (++titles === Number(count)) source.close();
});
