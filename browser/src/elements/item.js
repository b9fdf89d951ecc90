import { ageOf } from "./ages.js";
import { make } from "./element.js";
import { icon } from "./icons.js";
import { tryTo } from "../storage.js";

const SAFE = ["http:", "https:"];

/**
 * The title of a notification, which opens it: a link if it has a URL, otherwise a button. The page may handle a
 * click by preventing the default of the event `notifier-open`.
 */
export function makeTitle(element, notification, channel, opened) {
  const { title, type, action_url: url } = notification;
  const isLink = url && SAFE.includes(tryTo(() => new URL(url, document.baseURI).protocol));
  const attributes = { dir: "auto", ...(isLink ? { href: url } : { type: "button" }) };
  const text = [title, type].find((text) => text?.trim()) ?? element.say("untitled"); // a control needs a name
  return make(isLink ? "a" : "button", { part: "title", "data-control": "title", ...attributes, onclick }, text);

  function onclick(event) {
    const detail = { notification, channel };
    const open = new CustomEvent("notifier-open", { detail, bubbles: true, composed: true, cancelable: true });
    if (!element.dispatchEvent(open)) event.preventDefault();
    opened();
  }
}

/** The icon of the severity, with a word for screen readers. */
export function makeSeverity(element, { severity }) {
  return make("span", { part: "severity" }, icon(severity), make("span", { class: "unseen" }, element.say(severity)));
}

export function makeBody({ body }) {
  return body ? make("p", { part: "body", dir: "auto" }, body) : undefined;
}

export function makeTime(element, { created_at: at }) {
  const time = make("time", { part: "time", datetime: at, dir: "auto" });
  time.title = new Date(at).toLocaleString(element.language);
  freshen(element, time);
  return time;
}

export function freshen(element, time) {
  time.textContent = ageOf(Date.parse(time.dateTime) - Date.now(), element.language);
}

/** A button that shows only an icon; its label has the words. */
export function makeAction(name, label, onclick, title = label) {
  const called = { "data-control": name, "aria-label": label, title };
  return make("button", { part: "action", type: "button", ...called, onclick }, icon(name));
}
