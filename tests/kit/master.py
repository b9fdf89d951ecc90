"""gunicorn, with the packages that the service needs, and none of its modules: each worker imports these, as always."""

from gevent import monkey

monkey.patch_all()  # before anything else, as in gunicorn_conf.py

from importlib import import_module

# Not prometheus_client: it reads the environment when it is imported.
_PACKAGES = (
    "flask_sock",
    "gunicorn.arbiter",
    "gunicorn.workers.ggevent",
    "hiredis",
    "jwt",
    "msgspec",
    "redis.asyncio",
    "werkzeug.serving",
    "wsproto.frame_protocol",
)

for package in _PACKAGES:
    import_module(package)

main = import_module("gunicorn.app.wsgiapp").run
