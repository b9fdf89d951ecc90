"""The configuration of `gunicorn wsgi:app` when it is started in this folder."""

from notifier.server.gunicorn_conf import *  # noqa: F403
