import { keyOf } from "./arrivals.js";
import { NotifierElement, make, setText } from "./element.js";
import { isBefore } from "../cursor.js";
import { makeAction, makeBody, makeSeverity, makeTitle } from "./item.js";
import { COMMON, TOASTS } from "./styles.js";
import { createToastQueue } from "./toast-queue.js";

const MOST = 3; // toasts at once, and as many critical ones
const STAYS = { info: 6_000, success: 6_000, warning: 10_000, error: 15_000, critical: Infinity }; // ms
const CRITICAL = "critical";
const REMOVING = ["read", "archive"];

/**
 * Shows each new notification briefly, and critical ones until they are dismissed. All missed ones are one toast.
 * Dismissing a toast does not mark it as read.
 */
export class NotifierToasts extends NotifierElement {
  static styles = COMMON + TOASTS;
  #toasts = new Map(); // node -> {notification, channel, cursor, timer}
  #critical; // the queue of critical toasts
  #parts;
  #inbox;
  #isHeld = false; // no toast disappears: the user is on one, or the page is hidden
  #isPointedAt = false;
  #from; // what had the focus before the toasts

  start(inbox) {
    this.#inbox = inbox;
    this.#toasts.clear();
    this.#parts = this.#build();
    const { region, waiting, polite, urgent } = this.#parts;
    this.shadowRoot.append(region, polite, urgent);
    this.#critical = createToastQueue(MOST, (toast) => this.#show(toast), (count) => {
      waiting.hidden = !count;
      setText(waiting, this.say("waiting", { count }));
    });
    const remove = (isMeant) => this.#removeWhere(isMeant);
    this.until(
      this.notifier.on("notification", (notification, where) => where.replay || this.#arrive(notification, where)),
      this.notifier.on("replayed", ({ count }) => count && this.#summarise(count)),
      inbox.on({
        change: (change) => {
          if (REMOVING.includes(change.action)) remove((toast) => isMeant(change, toast));
        },
        remove: (id) => remove(({ notification }) => notification?.id === id),
        expire: (until) => remove(({ notification }) => Date.parse(notification?.expires_at) <= Date.parse(until)),
      }),
      () => this.#toasts.forEach(({ timer }) => clearTimeout(timer)),
    );
    for (const event of ["pointerover", "pointerleave", "focusin", "focusout"]) {
      region.addEventListener(event, (happened) => this.#hold(happened));
    }
    this.listen(document, "visibilitychange", () => this.#hold());
    this.#hold();
  }

  #build() {
    const list = make("ul", { part: "list", role: "list" });
    const waiting = make("p", { part: "waiting", hidden: true });
    const region = make("section", { part: "toasts", "aria-label": this.say("title") }, list, waiting);
    const polite = make("p", { class: "unseen", role: "status" });
    const urgent = make("p", { class: "unseen", role: "alert" });
    region.addEventListener("keydown", ({ key, target }) => key === "Escape" && this.#dismiss(target.closest("li")));
    return { list, region, waiting, polite, urgent };
  }

  // Arriving

  #arrive(notification, { channel, cursor }) {
    const { title, body, severity } = notification;
    if (!title && !body) return; // meant for programs only
    const detail = { notification, channel };
    if (!this.dispatchEvent(new CustomEvent("notifier-toast", { detail, bubbles: true, cancelable: true }))) return;
    this.#removeWhere((toast) => toast.notification && keyOf(toast) === keyOf(detail));
    const toast = { notification, channel, cursor };
    if (severity === CRITICAL) this.#critical.add(toast);
    else this.#show(toast);
    this.#speak(severity, [title, body].filter(Boolean).join(". "));
  }

  #show(toast) {
    const { notification, channel } = toast;
    const opened = () => {
      this.#inbox.act("read", { ids: [notification.id] }).catch(() => {});
      this.#dismiss(node);
    };
    const heading = makeTitle(this, notification, channel, opened);
    const content = make("div", { part: "content" }, heading, makeBody(notification));
    const node = this.#makeToast(notification.severity, makeSeverity(this, notification), content);
    this.#add(node, toast);
  }

  #summarise(count) {
    const text = this.say("missed", { count });
    const title = make("p", { part: "title", dir: "auto" }, text);
    const node = this.#makeToast("info", makeSeverity(this, { severity: "info" }), title);
    this.#add(node, {});
    this.#speak("info", text);
  }

  #makeToast(severity, ...content) {
    const node = make("li", { part: "toast", "data-severity": severity }, ...content);
    node.append(makeAction("close", this.say("dismiss"), () => this.#dismiss(node)));
    return node;
  }

  #add(node, toast) {
    this.#hold();
    this.#toasts.set(node, toast);
    this.#parts.list.prepend(node);
    if (!this.#isHeld) this.#start(node);
    const passing = [...this.#toasts.keys()].filter((other) => other.dataset.severity !== CRITICAL);
    if (passing.length > MOST) this.#dismiss(passing[0]);
  }

  #speak(severity, text) {
    const { polite, urgent } = this.#parts;
    (severity === CRITICAL ? urgent : polite).textContent = text;
  }

  // Staying

  #start(node) {
    const stays = STAYS[node.dataset.severity] ?? STAYS.info;
    if (stays < Infinity) this.#toasts.get(node).timer = setTimeout(() => this.#dismiss(node), stays);
  }

  /** While the pointer or the focus is on a toast, or the page is hidden, all timers stop. Then they start again. */
  #hold({ type, relatedTarget } = {}) {
    const { region } = this.#parts;
    // After a touch, :hover stays set; after a toast is removed under a mouse, no pointerleave may be fired.
    const isStill = this.#isPointedAt && region.matches(":hover");
    this.#isPointedAt = type === "pointerover" || (type !== "pointerleave" && isStill);
    if (type === "focusin" && relatedTarget && !region.contains(relatedTarget)) this.#from = relatedTarget;
    const hasFocus = type === "focusin" || (type !== "focusout" && region.contains(this.shadowRoot.activeElement));
    const isHeld = document.hidden || hasFocus || this.#isPointedAt;
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    for (const [node, { timer }] of this.#toasts) isHeld ? clearTimeout(timer) : this.#start(node);
  }

  #removeWhere(isMeant) {
    this.#critical.removeWhere(isMeant);
    for (const [node, toast] of [...this.#toasts]) if (isMeant(toast)) this.#dismiss(node);
  }

  #dismiss(node) {
    const { activeElement } = this.shadowRoot;
    const focused = node.contains(activeElement) ? activeElement : undefined;
    // With the keyboard, the focus moves to the next toast. With a pointer it must not: it would keep that toast open.
    const next = focused?.matches(":focus-visible") && (node.nextElementSibling ?? node.previousElementSibling);
    const toast = this.#toasts.get(node);
    clearTimeout(toast?.timer);
    this.#toasts.delete(node);
    node.remove();
    this.#critical.remove(toast);
    if (focused) (next ? next.querySelector("[data-control=close]") : this.#from)?.focus();
    this.#hold();
  }
}

/** Whether a change of items concerns a toast. */
function isMeant({ ids, up_to: upTo }, { notification, cursor }) {
  return notification && (ids ? ids.includes(notification.id) : !isBefore(upTo, cursor));
}
