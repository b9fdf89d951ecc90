"""The application, for a WSGI server. It reads its settings from the environment; see docs/settings.md."""

from gevent import monkey

monkey.patch_all()  # gunicorn_conf has done so already; another server may not have

import os

from notifier.http.app import create_app
from notifier.server.configuration import current

app = create_app(current(os.environ))
