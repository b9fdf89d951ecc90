"""The application, for `gunicorn wsgi:app` in this folder."""

from notifier.server.wsgi import app as app
