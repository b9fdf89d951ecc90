import { inboxOf } from "./inbox-store.js";
import { tryTo } from "../storage.js";
import { TEXTS, say } from "./texts.js";

const Base = globalThis.HTMLElement ?? class {}; // so that the module can be imported on a server

/** The base class of the elements: a Notifier, texts, a language, and a shadow tree while a Notifier is set. */
export class NotifierElement extends Base {
  static styles = "";
  #notifier;
  #texts = TEXTS;
  #ends = [];

  get notifier() {
    return this.#notifier;
  }

  set notifier(notifier) {
    if (notifier === this.#notifier) return;
    this.#notifier = notifier;
    this.#restart();
  }

  get texts() {
    return this.#texts;
  }

  set texts(texts) {
    this.#texts = { ...TEXTS, ...texts };
    this.#restart();
  }

  connectedCallback() {
    for (const name of ["notifier", "texts"]) this.#upgrade(name);
    this.#restart();
  }

  disconnectedCallback() {
    this.#stop();
  }

  /** Properties that were set before the element was defined are on the object itself, and hide the accessors. */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  #restart() {
    this.#stop();
    if (!this.isConnected || !this.#notifier) return;
    this.#root();
    this.start(inboxOf(this.#notifier));
  }

  #root() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheetOf(this.constructor)];
  }

  #stop() {
    for (const end of this.#ends.splice(0)) end();
    this.shadowRoot?.replaceChildren();
  }

  /** Focuses the first button or link. */
  focus(options) {
    this.shadowRoot?.querySelector("button, a")?.focus(options);
  }

  /** Fills the shadow tree. Functions that end something later are passed to until(). */
  start() {}

  /** Takes functions, and calls them when the element is removed. */
  until(...ends) {
    this.#ends.push(...ends);
  }

  /** Listens to an event until the element is removed. */
  listen(target, event, callback) {
    const end = new AbortController();
    target.addEventListener(event, callback, { signal: end.signal });
    this.until(() => end.abort());
  }

  /** Restarts when the page changes its language: otherwise the contents would stay in the previous one. */
  followLanguage() {
    const { language } = this;
    const observer = new MutationObserver(() => language !== this.language && this.#restart());
    observer.observe(this.getRootNode(), { attributeFilter: ["lang"], subtree: true });
    this.until(() => observer.disconnect());
  }

  say(name, values) {
    return say(this.#texts[name], this.language, values, TEXTS[name]);
  }

  get language() {
    return tryTo(() => Intl.getCanonicalLocales(this.closest("[lang]").lang)[0]);
  }
}

const sheets = new Map(); // class -> the style sheet of all its elements

function sheetOf(type) {
  if (!sheets.has(type)) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(type.styles);
    sheets.set(type, sheet);
  }
  return sheets.get(type);
}

/** Makes an element. Attributes that begin with "on" are listeners; false and undefined attributes are omitted. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(Boolean));
  return element;
}

/** Sets a text only if it has changed: a screen reader announces every write to a status. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function define(name, type) {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, type);
}
