/** Titles of items: which URLs become links. */

import assert from "node:assert/strict";
import test from "node:test";
import { makeTitle } from "../../browser/src/elements/item.js";

/** The tag and the link that a title with this URL has on a page. */
function titleOf(t, url, page = "https://shop.example/orders") {
  const title = { setAttribute: (name, value) => (title[name] = value), addEventListener() {}, append() {} };
  globalThis.document = { baseURI: page, createElement: (tag) => Object.assign(title, { tag }) };
  t.after(() => delete globalThis.document);
  makeTitle({ say: String }, { title: "Order", action_url: url }, "all", () => {});
  return [title.tag, title.href];
}

for (const url of ["/orders/1042", "https://example.org/", "HTTP://example.org/", "//example.org/x"]) {
  test(`${url} is a link`, (t) => assert.deepEqual(titleOf(t, url), ["a", url]));
}

for (const url of [
  "javascript:alert(1)",
  " JavaScript:alert(1)",
  "java\nscript:alert(1)",
  "data:text/html,x",
  "vbscript:x",
  "file:///etc/passwd",
  "https://",
  "",
  undefined,
]) {
  test(`${JSON.stringify(url)} is no link`, (t) => assert.deepEqual(titleOf(t, url), ["button", undefined]));
}

test("a path on a page that is a file is no link", (t) =>
  assert.deepEqual(titleOf(t, "/orders", "file:///home/page.html"), ["button", undefined]));
