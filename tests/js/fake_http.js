/** HTTP, as the client sees it: requests that wait until the test answers them. */

import { provide } from "./fake_browser.js";
import { settled } from "./fake_service.js";

export class FakeHttp {
  requests = []; // every one so far, the latest last

  /** Makes it the fetch of this test. */
  constructor(t) {
    provide(t, "fetch", (url, options) => {
      const request = new FakeRequest(url, options);
      this.requests.push(request);
      return request.answered;
    });
  }

  get latest() {
    return this.requests.at(-1);
  }
}

class FakeRequest {
  #resolve;
  #body; // the controller of a streamed answer

  constructor(url, { signal, ...options }) {
    const { pathname, searchParams } = new URL(url);
    Object.assign(this, { path: pathname, query: searchParams, options, signal });
    this.answered = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.fail = () => reject(new TypeError("Failed to fetch"));
      signal.addEventListener("abort", () => {
        reject(signal.reason);
        this.#body?.error(signal.reason);
      });
    });
  }

  get accept() {
    return this.options.headers.Accept;
  }

  async answer(body, status = 200) {
    this.#resolve(new Response(JSON.stringify(body), { status }));
    await settled();
  }

  /** Answers without content. */
  async empty() {
    this.#resolve(new Response(null, { status: 204 }));
    await settled();
  }

  /** Answers with the beginning of an answer. */
  async cut() {
    this.#resolve(new Response('{"frames":[{"type":', { status: 200 }));
    await settled();
  }

  /** Answers with a page, as proxies do. */
  async page(status) {
    this.#resolve(new Response("<h1>No</h1>", { status }));
    await settled();
  }

  /** Answers with frames to a poll. */
  async frames(...frames) {
    await this.answer({ frames });
  }

  /** Begins a stream; nothing of it has come yet. */
  async stream() {
    const body = new ReadableStream({ start: (controller) => (this.#body = controller) });
    this.#resolve(new Response(body, { status: 200 }));
    await settled();
  }

  async text(text) {
    this.#body.enqueue(new TextEncoder().encode(text));
    await settled();
  }

  async event(frame) {
    await this.text(`${frame.cursor ? `id: ${frame.cursor}\n` : ""}data: ${JSON.stringify(frame)}\n\n`);
  }

  async end() {
    this.#body.close();
    await settled();
  }
}

export function welcome(members) {
  return { type: "welcome", connection: "h1", topics: [], cursor: "1000-0", heartbeat: 25, lost: [], ...members };
}

export function notification(id, cursor, members) {
  return { type: "notification", cursor, channel: "user:alice", notification: { id, title: id }, ...members };
}
