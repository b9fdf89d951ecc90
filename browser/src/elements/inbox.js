import { whenOlder } from "./ages.js";
import { idOf } from "./arrivals.js";
import { NotifierElement, make, setText } from "./element.js";
import { INBOX } from "./inbox-styles.js";
import { freshen, makeAction, makeBody, makeSeverity, makeTime, makeTitle } from "./item.js";
import { createList } from "./list.js";
import { COMMON } from "./styles.js";

const NONE = { all: "noneAll", unread: "noneUnread", archived: "noneArchived" };
// The text for each state of the stream in which no notifications arrive.
const AWAY = { reconnecting: "reconnecting", offline: "offline", unauthorized: "unauthorized", closed: "closed" };
const NEAR = 200; // px: older items are fetched when the end is this near

/** The list of items in the inbox. It fetches only while it is visible. */
export class NotifierInbox extends NotifierElement {
  static styles = COMMON + INBOX;
  #inbox;
  #list;
  #parts;
  #isVisible = false;
  #hasFailed; // whether the last action failed

  start(inbox) {
    this.#inbox = inbox;
    this.#hasFailed = false;
    this.#list = createList(inbox, () => this.#show());
    this.#parts = this.#build();
    const { bar, trouble, scroller } = this.#parts;
    this.shadowRoot.append(bar, trouble, scroller);
    this.until(
      this.#list.end,
      this.#watch(),
      whenOlder(() => this.#freshen()),
      this.notifier.subscribe(() => this.#show()),
    );
    this.followLanguage();
    this.listen(document, "visibilitychange", () => this.#look());
    this.listen(this.shadowRoot, "click", () => this.#fail(false));
    this.#show();
  }

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

  // Building

  #build() {
    const filters = Object.keys(NONE).map((status) => this.#button("filter", status, () => this.#filter(status)));
    const readAll = this.#button("read-all", "markAllRead", () => this.#try(this.#list.markAllRead()));
    const group = make("div", { part: "filters", role: "group", "aria-label": this.say("show") }, ...filters);
    const bar = make("div", { part: "bar" }, group, readAll);

    const notice = make("p", { part: "notice", role: "status", dir: "auto" });
    const retry = this.#button("retry", "retry", () => this.#list.reload());
    const trouble = make("div", { part: "trouble" }, notice, retry);

    const onkeydown = (event) => this.#move(event);
    const list = make("ul", { part: "list", role: "list", "aria-label": this.say("title"), onkeydown });
    const empty = make("p", { part: "empty", dir: "auto" });
    const more = this.#button("more", "more", () => this.#more());
    const onscroll = () => this.#fill();
    const scroller = make("div", { part: "scroller", tabindex: "-1", onscroll }, list, empty, more);

    return { bar, filters, readAll, trouble, notice, retry, scroller, list, empty, more };
  }

  #button(part, text, onclick) {
    return make("button", { part, type: "button", dir: "auto", onclick }, this.say(text));
  }

  /** Skips an item that cannot be shown: the others still are. */
  #tryToMake(item) {
    try {
      return this.#makeItem(item);
    } catch (error) {
      console.error("Notifier: an item was skipped", error);
      return [];
    }
  }

  #makeItem(item) {
    const { notification, channel, read, muted } = item;
    const { id, severity } = notification;
    const opened = () => read || this.#act("read", id);
    const title = makeTitle(this, notification, channel, opened);
    const unread = make("span", { part: "dot" }, make("span", { class: "unseen" }, this.say("unread")));
    const meta = make("p", { part: "meta" }, makeTime(this, notification));
    if (muted) meta.append(make("span", { part: "muted", dir: "auto" }, this.say("muted")));
    const node = make(
      "li",
      { part: read ? "item" : "item unread", "data-id": id, "data-severity": severity },
      makeSeverity(this, notification),
      !read && unread,
      make("div", { part: "content" }, title, makeBody(notification), meta),
      make("div", { part: "actions" }, ...this.#makeActions(item, title.textContent)),
    );
    node.item = JSON.stringify(item);
    return node;
  }

  #makeActions(item, title) {
    const action = (action, text) =>
      makeAction(action, `${this.say(text)}: ${title}`, () => this.#act(action, idOf(item)), this.say(text));
    return [
      !item.read && action("read", "markRead"),
      item.read && !item.muted && action("unread", "markUnread"),
      item.archived ? action("unarchive", "unarchive") : action("archive", "archive"),
    ];
  }

  // Showing

  #show() {
    const { filters, readAll, retry, list, empty, more } = this.#parts;
    const { status, items, cursor, hasMore, hasLoaded, problem } = this.#list;
    const last = list.lastElementChild;
    filters.forEach((filter, index) => filter.setAttribute("aria-pressed", Object.keys(NONE)[index] === status));
    this.#showItems(items);
    list.hidden = !items.length;
    this.#hide(readAll, status === "archived" || !cursor || !this.#inbox.counts?.unread);
    this.#hide(retry, !problem);
    this.#hide(more, !hasMore, last?.nextElementSibling ?? last);
    empty.hidden = Boolean(items.length || hasMore || problem);
    setText(empty, this.say(hasLoaded ? NONE[status] : "loading"));
    this.#notify();
    this.#fill();
  }

  #notify() {
    const text = this.#list.problem?.kind ?? (this.#hasFailed ? "failed" : AWAY[this.notifier?.state]);
    setText(this.#parts.notice, text ? this.say(text) : "");
  }

  /** Hides a button that has no use now. If it has the focus, the focus moves to another control. */
  #hide(button, isHidden, near) {
    const refuge = near?.querySelector("[data-control]") ?? this.#parts.scroller;
    if (isHidden && this.shadowRoot.activeElement === button) refuge.focus();
    button.hidden = isHidden;
  }

  /** Keeps the nodes of unchanged items, and the focus where it was or near to it. */
  #showItems(items) {
    const { list } = this.#parts;
    const before = [...list.children];
    const control = this.shadowRoot.activeElement;
    const focused = before.find((node) => node.contains(control));
    const known = new Map(before.map((node) => [node.item, node]));
    const nodes = items.flatMap((item) => known.get(JSON.stringify(item)) ?? this.#tryToMake(item));
    for (const node of before) if (!nodes.includes(node)) node.remove();
    nodes.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
    if (!focused || focused.isConnected) return;
    this.#focusNear(focused.dataset.id, before.indexOf(focused), control.dataset.control);
  }

  /** Focuses the same control of the same item, or of the item that is now in its place. */
  #focusNear(id, index, control) {
    const { list, scroller } = this.#parts;
    const nodes = [...list.children];
    const node = nodes.find(({ dataset }) => dataset.id === id) ?? nodes[index] ?? nodes.at(-1);
    const find = (selector) => node?.querySelector(selector);
    (find(`[data-control=${control}]`) ?? find("[data-control]") ?? scroller).focus();
  }

  #freshen() {
    for (const time of this.#parts.list.querySelectorAll("time")) freshen(this, time);
  }

  // User actions

  #act(action, id) {
    return this.#try(this.#list.act(action, { ids: [id] }));
  }

  /** Awaits an action. If it fails, the list has already undone it. */
  async #try(done) {
    try {
      await done;
    } catch {
      this.#fail(true);
    }
  }

  /** The message stays until the next action: the list is fetched again at once, and that succeeds. */
  #fail(hasFailed) {
    this.#hasFailed = hasFailed;
    this.#notify();
  }

  #filter(status) {
    this.#list.filter(status);
    this.#parts.scroller.scrollTop = 0;
  }

  async #more() {
    const { list, more } = this.#parts;
    const isButton = this.shadowRoot.activeElement === more;
    const before = list.lastElementChild;
    await this.#try(this.#list.more());
    const first = before ? before.nextElementSibling : list.firstElementChild;
    if (isButton) first?.querySelector("[data-control]").focus();
  }

  /** Fetches more when the user has scrolled to the end, also if the list has become shorter and fires no event. */
  #fill() {
    const { scrollTop, clientHeight, scrollHeight } = this.#parts.scroller;
    if (scrollTop && this.#list.hasMore && scrollTop + clientHeight > scrollHeight - NEAR) this.#more();
  }

  /** The arrow keys move between items; Tab moves through all controls. */
  #move(event) {
    const titles = [...this.#parts.list.querySelectorAll("[data-control=title]")];
    const here = [...this.#parts.list.children].indexOf(event.target.closest("li"));
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: titles.length - 1 }[event.key];
    if (!titles[there]) return;
    event.preventDefault();
    titles[there].focus();
  }
}
