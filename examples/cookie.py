"""Authentication by cookie: the page needs no token once the user has logged in, and no script can read it.

    NOTIFIER_ALLOWED_ORIGINS=http://127.0.0.1:5000 make run    # in another terminal
    . examples/environment.sh
    .venv/bin/flask --app examples/cookie.py run --port 5000    # then open http://127.0.0.1:5000/

A cookie goes to every port of its host. In production let your page and Notifier share a host or a domain: then
`set_cookie(domain="example.com", secure=True)` reaches both.
"""

import os
import time

import jwt
from flask import Flask, redirect, render_template_string, request

SERVICE = os.environ["NOTIFIER_URL"]
SECRET = os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0]
AGE = 3600  # seconds
PAGE = """<!doctype html>
<title>Cookie</title>
<form method="post" action="/login"><input name="user" placeholder="Name" required> <button>Log in</button></form>
<p>The stream is <b id="state">idle</b>.</p>
<ul id="list"></ul>
<script type="module">
  import { Notifier } from "{{ service }}/static/notifier.js";

  const notifier = new Notifier({ url: "{{ service }}/v1/stream" }); // no getToken: the cookie identifies the user
  notifier.on("state", ({ current }) => (document.querySelector("#state").textContent = current));
  notifier.on("notification", ({ title }) => {
    const item = document.createElement("li");
    item.textContent = title;
    document.querySelector("#list").prepend(item);
  });
  if ({{ user | tojson }}) notifier.connect();
</script>
"""

app = Flask(__name__)


@app.get("/")
def show() -> str:
    """Show the page; it connects if somebody has logged in."""
    return render_template_string(PAGE, service=SERVICE, user="notifier_token" in request.cookies)


@app.post("/login")
def log_in():
    """Set the cookie. A real backend would ask for a password first."""
    now = int(time.time())
    claims = {"sub": request.form["user"], "iat": now, "exp": now + AGE}
    response = redirect("/", 303)
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    response.set_cookie("notifier_token", token, max_age=AGE, httponly=True, samesite="Lax")
    return response
