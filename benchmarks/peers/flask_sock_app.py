"""A plain flask-sock app: `/ws` joins, `POST /publish` sends to all who joined.

It keeps its connections in a set of one process: no Redis, no users, no tokens, no history. That is to its
advantage.
"""

import json

from flask import Flask, request
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)
connections = set()


@sock.route("/ws")
def stream(ws):
    """Hold one connection for as long as it lives."""
    connections.add(ws)
    try:
        while True:
            ws.receive()
    finally:
        connections.discard(ws)


@app.post("/publish")
def publish():
    """Publish the JSON body, or each line of an NDJSON body, to all connections."""
    many = request.mimetype == "application/x-ndjson"
    lines = request.get_data(as_text=True).splitlines() if many else [request.get_data(as_text=True)]
    for line in lines:
        json.loads(line)  # any service checks what it is given
        fan_out(line)
    return '{"published":true}\n' * len(lines), 200, {"Content-Type": request.mimetype}


def fan_out(text):
    """Send one text to every connection, in turn; who is gone is left out."""
    for ws in list(connections):
        try:
            ws.send(text)
        except Exception:  # closed, or in use by another request: flask-sock has no answer to either
            connections.discard(ws)


@app.get("/ready")
def ready():
    """Say that the worker answers."""
    return "ready"
