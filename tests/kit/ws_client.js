// A client on the `ws` package: node ws_client.js URL TOKEN COUNT prints each notification's title, then ends.
import WebSocket from "ws";

const [url, token, count] = process.argv.slice(2);
const socket = new WebSocket(url, "notifier.v1");
let titles = 0;

socket.on("open", () => socket.send(JSON.stringify({ type: "hello", token })));
socket.on("message", (data) => {
  const frame = JSON.parse(data);
  if (frame.type === "welcome") console.log("welcome", socket.protocol, JSON.stringify(socket.extensions));
  if (frame.type === "notification") console.log(frame.notification.title);
  if (frame.type === "notification" && ++titles === Number(count)) socket.close(1000);
});
socket.on("close", (code) => {
  console.log("closed", code);
  process.exit(0);
});
