"""The same in aiohttp: `/ws` joins, `POST /publish` sends to all who joined.

It keeps its connections in a set of one process: no Redis, no users, no tokens, no history. That is to its
advantage. Usage: `aiohttp_app.py PORT`.
"""

import json
import sys

from aiohttp import web

connections = set()


async def stream(request):
    """Hold one connection for as long as it lives."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    connections.add(ws)
    try:
        async for _ in ws:
            pass
    finally:
        connections.discard(ws)
    return ws


async def publish(request):
    """Publish the JSON body, or each line of an NDJSON body, to all connections."""
    text = await request.text()
    lines = text.splitlines() if request.content_type == "application/x-ndjson" else [text]
    for line in lines:
        json.loads(line)  # any service checks what it is given
        await fan_out(line)
    return web.Response(text='{"published":true}\n' * len(lines))


async def fan_out(text):
    """Send one text to every connection, in turn; who is gone is left out."""
    for ws in list(connections):
        try:
            await ws.send_str(text)
        except ConnectionError:
            connections.discard(ws)


async def ready(request):
    """Say that the service answers."""
    return web.Response(text="ready")


def main(port):
    """Serve on a port of 127.0.0.1 until a signal comes."""
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.get("/ws", stream), web.post("/publish", publish), web.get("/ready", ready)])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, shutdown_timeout=1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
