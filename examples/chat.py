"""Chat with rooms and names: pages publish to all others in the room.

make run    # in another terminal
. examples/environment.sh
.venv/bin/flask --app examples/chat.py run --port 5001    # then open http://127.0.0.1:5001/ in two windows
"""

import os
import time

import jwt
from flask import Flask, render_template_string, request

SERVICE = os.environ["NOTIFIER_URL"]
SECRET = os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0]
PAGE = """<!doctype html>
<title>Chat</title>
<form id="enter">
  <input name="name" placeholder="Name" pattern="[^ {}]+" required>
  <input name="room" placeholder="Room" pattern="[^ {}]+" value="lobby" required> <button>Enter</button>
</form>
<form id="say"><input name="text" placeholder="Text" required> <button>Say</button></form>
<p id="problem"></p>
<ol id="said"></ol>
<script type="module">
  import { Notifier } from "{{ service }}/static/notifier.js";

  const [enter, say] = document.forms;
  const problem = document.querySelector("#problem"), said = document.querySelector("#said");
  const key = crypto.randomUUID(); // the backend recognizes this page by it
  let notifier, topic;

  async function getToken() {
    const body = new URLSearchParams({ name: enter.elements.name.value, key });
    const answer = await fetch("/token", { method: "POST", body });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.text();
  }

  function show(name, text) {
    said.append(Object.assign(document.createElement("li"), { textContent: `${name}: ${text}` }));
  }

  enter.onsubmit = (event) => {
    event.preventDefault();
    notifier?.disconnect();
    said.textContent = problem.textContent = "";
    topic = `room:${enter.elements.room.value}`;
    notifier = new Notifier({ url: "{{ service }}/v1/stream", getToken, shared: false }); // each window is a person
    notifier.join(topic, { since: `${Date.now() - 3_600_000}-0` }); // replays the last hour first
    notifier.on("notification", ({ type, sender, body }) => type === "chat.said" && show(sender, body));
    notifier.on("error", (error) => (problem.textContent = error.detail ?? error.message));
    notifier.connect();
  };

  say.onsubmit = async (event) => {
    event.preventDefault();
    const body = say.elements.text.value;
    try {
      await notifier.publish(topic, { type: "chat.said", body }, { echo: false }); // to all others
      show(enter.elements.name.value, body);
      say.reset();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
</script>
"""

app = Flask(__name__)
names: dict[str, str] = {}  # name -> key of the page that chose it first


@app.get("/")
def show() -> str:
    """Show the page."""
    return render_template_string(PAGE, service=SERVICE)


@app.post("/token")
def token():
    """Return a token that lets the page subscribe to and publish in every room, under a name that nobody else has."""
    name, key = request.form["name"], request.form["key"]
    if names.setdefault(name, key) != key:
        return f"Somebody else is called {name}.", 409
    now = int(time.time())
    claims = {"sub": name, "iat": now, "exp": now + 3600, "topics": ["room:*"], "publish": ["room:*"]}
    return jwt.encode(claims, SECRET, algorithm="HS256")
