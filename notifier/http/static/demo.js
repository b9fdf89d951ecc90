/** The demo page: one Notifier for each user, and a form that publishes. */

import "./notifier-inbox.js";
import { Notifier } from "./notifier.js";

const SHOWN = 100; // notifications shown per stream

const REASONS = {
  1001: "the service went away",
  1006: "the connection was lost",
  1011: "the service failed unexpectedly",
  1012: "the service is restarting",
  4000: "nothing was received for too long",
  4001: "the token is no longer valid",
  4004: "the service is overloaded",
  4501: "the service forbids it",
  4502: "an operator disconnected this client",
};

const RETAIN_HINTS = {
  inbox: "Stored in the log and in the inbox: users who are offline receive it when they reconnect.",
  history: "Stored in the log, but in no inbox: for live dashboards.",
  none: "Not stored: only clients connected right now receive it.",
};

document.querySelectorAll("[data-client]").forEach(startClient);
startForm(document.querySelector("#publish"));

// The client of a user

function startClient(section) {
  const part = (role) => section.querySelector(`[data-role="${role}"]`);
  const getToken = async () => (await fetchJson(section.dataset.tokenUrl)).token;
  const notifier = new Notifier({ getToken, topics: ["orders"] });
  for (const element of section.querySelectorAll("notifier-bell, notifier-inbox, notifier-toasts")) {
    element.texts = { title: `Notifications for ${section.dataset.client}` }; // there are two users on this page
    element.notifier = notifier;
  }

  const showPosition = () => {
    // The cursor moves when all callbacks have returned.
    queueMicrotask(() => {
      part("connection").textContent = notifier.connection ?? "none";
      part("cursor").textContent = notifier.cursor ?? "none";
    });
  };
  const showNotice = (text) => {
    part("notice").textContent = text;
    part("notice").hidden = !text;
  };

  notifier.on("state", (change) => {
    section.dataset.state = change.current;
    part("state").textContent = describeState(change);
    countDown(part("retry"), change.retryInMs);
    if (change.current === "connected") showNotice("");
    if (change.current === "closed") part("switch").checked = false; // switching it on tries again
    showPosition();
  });
  notifier.on("notification", (notification, details) => {
    showNotification(part("list"), notification, details);
    showPosition();
  });
  notifier.on("removed", ({ id }) => {
    part("list").querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
    showPosition();
  });
  notifier.on("lost", ({ channels }) => {
    const where = channels.join(", ");
    showNotice(`Notifications in ${where} are lost permanently. An application would now load its state again.`);
  });
  notifier.on("error", (problem) => showNotice(problem.detail ?? problem.title ?? problem.message));

  part("switch").addEventListener("change", ({ target }) => {
    if (target.checked) notifier.connect();
    else notifier.disconnect();
  });
  // A browser may restore the switch from the last visit.
  part("switch").checked = true;
  notifier.connect();
}

function describeState({ current, reason }) {
  if (!reason) return current;
  return `${current}: ${REASONS[parseInt(reason)] ?? reason}`;
}

/** Shows the time until the next attempt, outside the status: a screen reader must not announce every change. */
function countDown(element, ms) {
  clearInterval(element.timer);
  element.textContent = "";
  if (ms === undefined) return;
  const end = Date.now() + ms;
  const show = () => {
    element.textContent = `next attempt in ${Math.max(0, (end - Date.now()) / 1000).toFixed(1)} s`;
  };
  element.timer = setInterval(show, 100);
  show();
}

/** Adds a notification at the top, or in place of the one of its publisher with the same collapse key. */
function showNotification(list, notification, { channel, replay }) {
  const item = notificationItem(notification, channel, replay);
  const earlier = item.dataset.key && list.querySelector(`[data-key="${CSS.escape(item.dataset.key)}"]`);
  if (earlier) earlier.replaceWith(item);
  else list.prepend(item);
  while (list.children.length > SHOWN) list.lastElementChild.remove();
}

function notificationItem(notification, channel, replay) {
  const { id, type, title, severity, collapse_key: collapseKey, created_at: createdAt, sender } = notification;
  const item = document.querySelector("#notification").content.cloneNode(true).firstElementChild;
  const part = (role) => item.querySelector(`[data-role="${role}"]`);
  item.dataset.id = id;
  item.dataset.severity = severity;
  if (collapseKey) item.dataset.key = `${channel} ${sender ?? ""} ${collapseKey}`;
  part("title").textContent = title ?? type ?? "Notification";
  part("channel").textContent = channel;
  part("collapse-key").textContent = collapseKey ?? "";
  part("time").textContent = new Date(createdAt).toLocaleTimeString();
  part("time").dateTime = createdAt;
  part("replayed").hidden = !replay;
  return item;
}

// The form

function startForm(form) {
  const result = document.querySelector("#result");
  const curl = document.querySelector("#curl");
  const update = () => {
    curl.textContent = curlCommand(form.action, form.dataset.apiKey, readForm(form));
    document.querySelector("#retain-hint").textContent = RETAIN_HINTS[form.elements.retain.value];
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      showPublished(result, form, await callApi(form, "POST", "", readForm(form)));
    } catch (problem) {
      showProblem(result, problem);
    }
  });
  document.querySelector("#copy").addEventListener("click", ({ target }) => copy(curl, target));
  update();
}

/** Returns the notification: only the fields that were filled in. */
function readForm(form) {
  const filled = Object.fromEntries(new FormData(form));
  const { to, title, body, severity, retain, collapse_key: collapseKey } = filled;
  const [kind, name] = to.split(":");
  return {
    to: { [kind]: name ? [name] : true },
    title,
    ...(body && { body }),
    ...(severity !== "info" && { severity }),
    ...(retain !== "inbox" && { retain }),
    ...(collapseKey && { collapse_key: collapseKey }),
  };
}

function curlCommand(url, apiKey, notification) {
  return [
    `curl ${url}`,
    `-H ${quoted(`Authorization: Bearer ${apiKey}`)}`,
    `-H 'Content-Type: application/json'`,
    `-d ${quoted(JSON.stringify(notification))}`,
  ].join(" \\\n  ");
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Calls the API at the origin of this page, even if the form shows another address. */
function callApi(form, method, path, body) {
  return fetchJson(new URL(form.action).pathname + path, {
    method,
    headers: { Authorization: `Bearer ${form.dataset.apiKey}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
}

function showPublished(result, form, { id, channels }) {
  const where = channels.map(({ channel, online }) => `${channel} (${online ? "online" : "nobody online"})`);
  const recall = newElement("button", "Recall it");
  recall.type = "button";
  recall.addEventListener("click", async () => {
    try {
      await callApi(form, "DELETE", `/${id}`);
      result.replaceChildren(newElement("p", "Recalled."));
    } catch (problem) {
      showProblem(result, problem);
    }
  });
  result.className = "published";
  result.replaceChildren(newElement("p", `Published to ${where.join(", ")}`), newElement("code", id), recall);
}

function showProblem(result, { title, detail, message, errors = [] }) {
  const pointers = errors.map(({ pointer, detail: what }) => `${pointer ?? ""} ${what ?? ""}`);
  result.className = "problem";
  result.replaceChildren(
    newElement("p", title ?? "The service could not be reached"),
    ...[detail ?? message, ...pointers].filter(Boolean).map((text) => newElement("p", text)),
  );
}

async function copy(source, button) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  } catch {
    getSelection().selectAllChildren(source); // not allowed here: select it for the browser's own copy command
  }
}

/** Returns the JSON of the response; throws the problem that the service answered with. */
async function fetchJson(url, options) {
  const answer = await fetch(url, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw { title: `${answer.status} ${answer.statusText}`, ...body };
  return body;
}

function newElement(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}
