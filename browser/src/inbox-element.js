import { whenOlder } from "./ages.js";
import { NotifierElement, make } from "./element.js";
import { freshen, makeAction, makeBody, makeSeverity, makeTime, makeTitle } from "./item.js";
import { createList, idOf } from "./list.js";
import { COMMON, INBOX } from "./styles.js";

const STATUSES = ["all", "unread", "archived"];
const NEAR = 200; // px: so near to the end older items are fetched
const AWAY = ["reconnecting", "offline", "unauthorized", "closed"];

/** The list of what is in the inbox. */
export class NotifierInbox extends NotifierElement {
  static styles = COMMON + INBOX;
  #list;
  #parts;

  start(inbox) {
    this.#list = createList(inbox, () => this.#show());
    this.#parts = this.#build();
    this.shadowRoot.append(...this.#parts.all);
    this.until(
      () => this.#list.end(),
      whenOlder(() => this.#freshen()),
      this.notifier.subscribe(() => this.#show()),
      this.#watch(),
    );
    this.listen(document, "visibilitychange", () => this.#look());
    this.#show();
  }

  // It fetches only while somebody can see it.

  #isVisible = false;

  #watch() {
    const observer = new IntersectionObserver((entries) => {
      this.#isVisible = entries.at(-1).isIntersecting;
      this.#look();
    });
    observer.observe(this);
    return () => observer.disconnect();
  }

  #look() {
    this.#list.show(this.#isVisible && !document.hidden);
  }

  // What it is made of

  #build() {
    const filters = STATUSES.map((status) => {
      const onclick = () => this.#filter(status);
      return make("button", { part: "filter", type: "button", "data-status": status, onclick }, this.say(status));
    });
    const readAll = make("button", { part: "read-all", type: "button", onclick: () => this.#try(this.#list.markAllRead()) });
    readAll.append(this.say("markAllRead"));
    const notice = make("p", { part: "notice", role: "status" });
    const retry = make("button", { part: "retry", type: "button", onclick: () => this.#list.reload() }, this.say("retry"));
    const list = make("ul", { part: "list", role: "list", "aria-label": this.say("title") });
    const empty = make("p", { part: "empty" });
    const more = make("button", { part: "more", type: "button", onclick: () => this.#more() }, this.say("more"));
    const scroller = make("div", { part: "scroller", tabindex: "-1" }, list, empty, more);
    const bar = make(
      "div",
      { part: "bar" },
      make("div", { part: "filters", role: "group", "aria-label": this.say("show") }, ...filters),
      readAll,
    );
    list.addEventListener("keydown", (event) => this.#move(event));
    scroller.addEventListener("scroll", () => this.#scrolled());
    return { all: [bar, make("div", { part: "trouble" }, notice, retry), scroller], filters, readAll, notice, retry, list, empty, more, scroller };
  }

  #show() {
    const { filters, readAll, retry, list, empty, more } = this.#parts;
    const { status, items, hasMore, hasLoaded, problem } = this.#list;
    for (const filter of filters) filter.setAttribute("aria-pressed", filter.dataset.status === status);
    this.#showItems(items);
    list.hidden = !items.length;
    readAll.disabled = !items.some(({ read }) => !read);
    more.hidden = !hasMore;
    retry.hidden = !problem;
    empty.hidden = items.length > 0 || Boolean(problem);
    setText(empty, this.say(hasLoaded ? { all: "noneAll", unread: "noneUnread", archived: "noneArchived" }[status] : "loading"));
    this.#notice(problem ? "unavailable" : AWAY.includes(this.notifier.state) ? "offline" : undefined);
  }

  #notice(name) {
    setText(this.#parts.notice, name ? this.say(name) : "");
  }

  /** Keeps the nodes of what has not changed, and the focus where it was, or near to it. */
  #showItems(items) {
    const { list } = this.#parts;
    const before = [...list.children];
    const focused = this.shadowRoot.activeElement?.closest("li");
    const control = focused && this.shadowRoot.activeElement.dataset.control;
    const known = new Map(before.map((node) => [node.dataset.id, node]));
    const nodes = items.map((item) => nodeFor(item, known) ?? this.#makeItem(item));
    for (const node of before) if (!nodes.includes(node)) node.remove();
    nodes.forEach((node, index) => list.children[index] !== node && list.insertBefore(node, list.children[index] ?? null));
    if (!focused || focused.isConnected) return;
    const next = nodes.find(({ dataset }) => dataset.id === focused.dataset.id) ?? nodes[before.indexOf(focused)] ?? nodes.at(-1);
    (next?.querySelector(`[data-control="${control}"]`) ?? next?.querySelector("[data-control]") ?? this.#parts.scroller).focus();
  }

  #makeItem(item) {
    const { notification, channel, read, archived, muted } = item;
    const id = idOf(item);
    const act = (action) => this.#try(this.#list.act(action, { ids: [id] }));
    const title = makeTitle(this, notification, channel, () => read || act("read"));
    const named = (name) => `${this.say(name)}: ${title.textContent}`;
    const actions = [
      read && !muted && makeAction("unread", named("markUnread"), () => act("unread")),
      !read && makeAction("read", named("markRead"), () => act("read")),
      archived
        ? makeAction("unarchive", named("unarchive"), () => act("unarchive"))
        : makeAction("archive", named("archive"), () => act("archive")),
    ];
    const node = make(
      "li",
      { part: read ? "item" : "item unread", "data-id": id, "data-severity": notification.severity },
      makeSeverity(this, notification),
      make("div", { part: "content" }, ...[
        make("div", { part: "head" }, title, !read && make("span", { part: "dot" }, make("span", { class: "unseen" }, this.say("unread")))),
        makeBody(notification),
        make("p", { part: "meta" }, makeTime(this, notification), muted && make("span", { part: "muted" }, this.say("muted"))),
      ]),
      make("div", { part: "actions" }, ...actions),
    );
    node.item = JSON.stringify(item);
    return node;
  }

  #freshen() {
    for (const time of this.#parts.list.querySelectorAll("time")) freshen(this, time);
  }

  // What its user does

  #filter(status) {
    this.#list.filter(status);
    this.#parts.scroller.scrollTop = 0;
  }

  #more() {
    this.#try(this.#list.more());
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#parts.scroller;
    if (this.#list.hasMore && scrollTop + clientHeight > scrollHeight - NEAR) this.#more();
  }

  /** What was done optimistically has been taken back when this says so. */
  async #try(done) {
    try {
      await done;
    } catch {
      this.#notice("failed");
    }
  }

  /** The arrow keys go from item to item; Tab goes through all controls. */
  #move(event) {
    const titles = [...this.#parts.list.querySelectorAll("[data-control=title]")];
    const here = titles.indexOf(this.shadowRoot.activeElement.closest("li").querySelector("[data-control=title]"));
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: titles.length - 1 }[event.key];
    if (!titles[there]) return;
    event.preventDefault();
    titles[there].focus();
  }
}

function nodeFor(item, known) {
  const node = known.get(idOf(item));
  return node?.item === JSON.stringify(item) ? node : undefined;
}

/** A screen reader speaks what is written into a status, even if it is the same. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
