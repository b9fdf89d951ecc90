/**
 * The transports of the stream. Each connects at once and returns {send(frame), close()}. It takes
 *
 * - `url` (http), `token()`, `WebSocket`
 * - `greet()`: returns what to ask for at this moment, {since, topics: Map of name -> {since}}
 * - `reached()`: returns the cursor up to which everything has been delivered
 * - `alive()`, `take(frame)`, `over(code, reason)`: called when bytes arrive, for each frame (an object, or its JSON), and
 *   at the end
 */

const PAUSE = 1_000; // ms
const SUBPROTOCOL = "notifier.v1";
const CODES = { 400: 4500, 401: 4001, 403: 4501, 429: 4005 }; // HTTP status -> the close code of a WebSocket

export function websocket({ url, token, greet, alive, take, over, WebSocket = globalThis.WebSocket }) {
  const socket = new WebSocket(url.replace("http", "ws"), SUBPROTOCOL);
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.onopen = () => {
    alive();
    const { since, topics } = greet();
    send({ type: "hello", token: token(), since, topics: [...topics.keys()] });
  };
  socket.onmessage = ({ data }) => take(data);
  socket.onclose = ({ code, reason }) => over(code, reason);
  return { send, close: () => socket.close(1000) };
}

/** Server-Sent Events by fetch(): an EventSource cannot send the token. */
export function sse(options) {
  return overHttp(options, async (ask) => {
    const { body } = await ask({ Accept: "text/event-stream" });
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw {};
      options.alive();
      const events = (text + value).split("\n\n");
      text = events.pop();
      events.map(frameOf).forEach(options.take);
    }
  });
}

/** A comment is a ping; `retry` is ignored. Not /: (.*)/, because a dot does not match U+2028 and U+2029 in JSON. */
function frameOf(event) {
  const { data, id: cursor } = Object.fromEntries(event.split("\n").map((line) => line.split(/: ([^]*)/)));
  return data || { type: "ping", cursor };
}

/** Long polls. The first does not wait, so the welcome comes at once. A poll without news is repeated after a pause. */
export function poll(options) {
  return overHttp(options, async (ask) => {
    for (let wait = "&wait=0"; ; wait = "") {
      const before = options.reached();
      const answer = await ask({}, wait);
      const { frames } = await answer.json();
      frames.forEach(options.take);
      if (before === options.reached()) await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  });
}

function overHttp({ url, token, greet, take, over }, run) {
  const end = new AbortController();
  const fail = ({ code, message }) => over(code ?? 1006, message);
  const request = async (query, headers, body) => {
    const bearer = token();
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    const credentials = bearer ? "omit" : "include";
    const method = body && "POST";
    const answer = await fetch(url + query, { method, headers, credentials, body, signal: end.signal });
    const { status } = answer;
    if (body ? status === 401 : !answer.ok) throw { code: CODES[status], message: `HTTP ${status}` };
    return answer;
  };
  const ask = (headers, more = "") => request(`?${queryOf(greet())}${more}`, headers);
  const send = async (frame) => {
    const answer = await request("", {}, JSON.stringify(frame));
    if (answer.status === 204) return;
    const result = await answer.json().catch((error) => problemOf(answer.status, error));
    take(answer.ok ? result : { type: "error", ref: frame.ref, problem: result });
  };
  run(ask).catch(fail);
  return { send: (frame) => send(frame).catch(fail), close: () => end.abort() };
}

/** A proxy may reject what is too long with a page of its own. Other pages are those of a service that is down. */
function problemOf(status, error) {
  if (status < 400 || status >= 500) throw error;
  return { code: `http_${status}`, title: `HTTP ${status}`, status };
}

function queryOf({ since, topics }) {
  const query = new URLSearchParams(since && { since });
  for (const [topic, { since: own }] of topics) query.append("topic", own ? `${topic} ${own}` : topic);
  return query;
}
