"""The application, for `gunicorn wsgi:app` in this folder."""

from notifier.wsgi import app as app
