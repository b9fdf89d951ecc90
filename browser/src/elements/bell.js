import { NotifierElement, make } from "./element.js";
import { icon } from "./icons.js";
import { BELL, COMMON } from "./styles.js";

const MOST = 99; // largest number that fits on a badge
const SPEAK_AFTER = 1_000; // ms: notifications that arrive at once are announced once
const MARGIN = 8; // px: between the panel and the edge of the window

/** A button that opens the inbox. It shows the number of unread items, or with `count="unseen"` of unseen ones. */
export class NotifierBell extends NotifierElement {
  static styles = COMMON + BELL;
  static observedAttributes = ["count"];
  #inbox;
  #parts;
  #counted;
  #speaking;

  attributeChangedCallback() {
    if (this.#parts) this.#count();
  }

  start(inbox) {
    this.#inbox = inbox;
    this.#counted = Infinity; // the first count is not announced
    this.#parts = this.#build();
    const { button, panel, status } = this.#parts;
    this.shadowRoot.append(button, status, panel);
    this.until(inbox.on({ count: () => this.#count() }), () => this.#end());
    this.followLanguage();
    this.listen(this, "keydown", (event) => this.#pressed(event));
    this.listen(this, "notifier-open", () => this.close());
    this.listen(document, "pointerdown", (event) => event.composedPath().includes(this) || this.close());
    this.listen(window, "resize", () => this.#keepInView());
    this.#count();
  }

  #end() {
    clearTimeout(this.#speaking);
    this.close();
    this.#parts = undefined;
  }

  get open() {
    return this.#parts?.button.getAttribute("aria-expanded") === "true";
  }

  /** Opens the panel, and moves the focus into it. Without a Notifier there is no panel. */
  show() {
    if (!this.#parts) return;
    this.#expand(true);
    this.#keepInView();
    this.#parts.panel.focus();
  }

  /** Closes the panel. If the focus was in the panel, it returns to the button. */
  close() {
    if (!this.open) return;
    const { button, panel } = this.#parts;
    const hadFocus = panel.contains(this.shadowRoot.activeElement);
    this.#expand(false);
    if (hadFocus) button.focus();
  }

  #build() {
    const badge = make("span", { part: "badge", "aria-hidden": "true" });
    const onclick = () => (this.open ? this.close() : this.show());
    const popup = { "aria-haspopup": "dialog", "aria-expanded": "false", "aria-controls": "panel" };
    const glyph = make("slot", { name: "icon" }, icon("bell"));
    const button = make("button", { part: "button", type: "button", ...popup, onclick }, glyph, badge);
    const status = make("p", { class: "unseen", role: "status" });
    return { badge, button, status, panel: this.#buildPanel() };
  }

  #buildPanel() {
    const title = this.say("title");
    const onclick = () => this.close();
    const label = this.say("close");
    const close = make("button", { part: "close", type: "button", "aria-label": label, onclick }, icon("close"));
    const header = make("div", { part: "header" }, make("strong", { part: "heading", dir: "auto" }, title), close);
    const inbox = make("notifier-inbox", { part: "inbox", exportparts: PARTS, lang: this.language });
    Object.assign(inbox, { notifier: this.notifier, texts: this.texts });
    const onfocusout = ({ relatedTarget: next }) => next && !this.shadowRoot.contains(next) && this.close();
    const dialog = { id: "panel", role: "dialog", "aria-label": title, tabindex: "-1", hidden: true };
    return make("div", { part: "panel", ...dialog, onfocusout }, header, inbox);
  }

  #expand(isOpen) {
    const { button, panel } = this.#parts;
    panel.hidden = !isOpen;
    button.setAttribute("aria-expanded", isOpen);
    this.dispatchEvent(new CustomEvent("notifier-toggle", { detail: { open: isOpen } }));
  }

  #pressed(event) {
    if (event.key !== "Escape" || !this.open) return;
    event.stopPropagation();
    this.close();
    this.#parts.button.focus();
  }

  #count() {
    const kind = this.getAttribute("count") === "unseen" ? "unseen" : "unread";
    const count = this.#inbox.counts?.[kind] ?? 0;
    const { badge, button, status } = this.#parts;
    const label = this.say(`${kind}Label`, { count });
    badge.hidden = !count;
    badge.textContent = Math.min(count, MOST).toLocaleString(this.language) + (count > MOST ? "+" : "");
    button.setAttribute("aria-label", label);
    if (count > this.#counted) this.#speak(() => (status.textContent = label));
    if (this.#inbox.counts) this.#counted = count;
  }

  #speak(speak) {
    clearTimeout(this.#speaking);
    this.#speaking = setTimeout(speak, SPEAK_AFTER);
  }

  /** Moves the panel sideways until all of it is visible. */
  #keepInView() {
    const { panel } = this.#parts;
    panel.style.setProperty("--shift", "0px");
    const { left, right } = panel.getBoundingClientRect();
    const width = document.documentElement.clientWidth - MARGIN;
    const shift = left < MARGIN ? MARGIN - left : Math.min(0, width - right);
    panel.style.setProperty("--shift", `${shift}px`);
  }
}

/** Parts that a page may style through the bell. */
const PARTS =
  "bar, filters, filter, read-all, trouble, notice, retry, scroller, list, item, unread, severity, icon, content, " +
  "title, dot, body, meta, time, muted, actions, action, empty, more";
