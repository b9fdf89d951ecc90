/**
 * The ways to the service. Each takes a line and returns {send(frame), close()}. A line is what the stream lends to it:
 *
 * - `url` (http), `token()`, `WebSocket`
 * - `greet(all)`: {since, topics}, what to ask for at this moment: all, or what shares one `since`
 * - `alive()`, `take(frame)`, `closed(code, reason)`: to be called when it happens
 */

const JSON_TYPE = "application/json";
const SUBPROTOCOL = "notifier.v1";
// What a WebSocket would have been closed with.
const CODES = { 400: 4500, 401: 4001, 403: 4501, 429: 4004, 503: 4004 };

export function websocket({ url, token, greet, alive, take, closed, WebSocket }) {
  const socket = new WebSocket(url.replace("http", "ws"), SUBPROTOCOL);
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.onopen = () => {
    alive();
    // A topic that is owed its past is subscribed after the welcome: `hello` has one `since` for all.
    const { since, topics } = greet();
    send({ type: "hello", token: token(), since, topics: topics.map(({ topic }) => topic) });
  };
  socket.onmessage = ({ data }) => take(JSON.parse(data));
  socket.onclose = ({ code, reason }) => closed(code, reason);
  return { send, close: () => socket.close(1000) };
}

/** Server-Sent Events. An EventSource could not send the token. */
export function sse(line) {
  return overHttp(line, async (ask) => {
    const { body } = await ask("text/event-stream");
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw {};
      line.alive();
      const events = (text + value).split("\n\n");
      text = events.pop();
      events.map(frameOf).forEach(line.take);
    }
  });
}

/** A comment is a ping, `retry` says nothing to us. */
function frameOf(event) {
  const { data, id: cursor } = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/)));
  return data ? JSON.parse(data) : { type: "ping", cursor };
}

/** Long polls. The first does not wait, so that the welcome comes at once. */
export function poll(line) {
  return overHttp(line, async (ask) => {
    for (let wait = "&wait=0"; ; wait = "") {
      const answer = await ask(JSON_TYPE, wait);
      const { frames } = await answer.json();
      frames.forEach(line.take);
    }
  });
}

function overHttp({ url, token, greet, take, closed }, run) {
  const end = new AbortController();
  const fail = ({ code, message }) => closed(code ?? 1006, message);
  const request = async (query, type, body) => {
    const bearer = token();
    const answer = await fetch(url + query, {
      method: body ? "POST" : "GET",
      body,
      headers: { Accept: type, "Content-Type": JSON_TYPE, ...(bearer && { Authorization: `Bearer ${bearer}` }) },
      credentials: bearer ? "omit" : "include",
      cache: "no-store",
      signal: end.signal,
    });
    const { status } = answer;
    if (body ? status === 401 : !answer.ok) throw { code: CODES[status], message: `HTTP ${status}` };
    return answer;
  };
  const ask = (type, more = "") => request(`?${queryOf(greet(true))}${more}`, type);
  const send = async (frame) => {
    const answer = await request("", JSON_TYPE, JSON.stringify(frame));
    const said = await answer.json();
    take(answer.ok ? said : { type: "error", ref: frame.ref, problem: said });
  };
  run(ask).catch(fail);
  return { send: (frame) => send(frame).catch(fail), close: () => end.abort() };
}

function queryOf({ since, topics }) {
  const query = new URLSearchParams(since && { since });
  for (const { topic, since: owed, reached = owed } of topics) {
    query.append("topic", reached ? `${topic} ${reached}` : topic);
  }
  return query;
}
