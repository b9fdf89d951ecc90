"""The composition root: makes the parts and registers the routes. It does no I/O; the worker starts the node."""

from collections.abc import Iterator

from flask import Blueprint, Flask

from notifier.http import answers
from notifier.http.auditor import Auditor
from notifier.http.batch import Batches
from notifier.http.body import Pace
from notifier.http.credentials import Credentials
from notifier.http.doorman import Doorman
from notifier.http.front import Front
from notifier.http.hosts import Hosts
from notifier.http.routes.audit import AuditViews
from notifier.http.routes.frames import FrameViews
from notifier.http.routes.health import HealthViews
from notifier.http.routes.inbox import InboxViews
from notifier.http.routes.keys import KeyViews
from notifier.http.routes.notifications import PUBLISH, NotificationViews
from notifier.http.routes.pages import create_pages
from notifier.http.routes.stream import StreamViews
from notifier.http.routes.tokens import TokenViews
from notifier.http.routes.topics import TopicViews
from notifier.http.routes.users import UserViews
from notifier.http.routes.websocket import WebSocketViews
from notifier.http.sharing import Sharing
from notifier.node import Node
from notifier.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Return the application. Its node, `app.extensions["notifier"]`, must be started by the worker."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    node = app.extensions["notifier"] = Node(settings.require_secrets())
    access, usage = node.access, node.usage
    credentials = Credentials(settings.auth, access.tokens.admit, access.api_keys.find, usage.requests)
    auditor = Auditor(access.audit_log, usage.requests.client_of, usage.keys.count_entry)
    notifications = _notifications(settings, node, credentials, auditor)
    for blueprint in (
        notifications.blueprint(),
        HealthViews(credentials, node.database, access.tokens, lambda: node.is_ready, settings).blueprint(),
        TopicViews(credentials, node.members, settings.inbox, auditor).blueprint(),
        UserViews(credentials, node.users, auditor, usage.requests).blueprint(),
        TokenViews(credentials, settings.auth, access.revocations, auditor).blueprint(),
        KeyViews(
            credentials, access.key_changes, access.api_keys.of_settings, auditor, usage.keys.count_change
        ).blueprint(),
        AuditViews(credentials, access.audit_log).blueprint(),
        *_client_routes(settings, node, credentials),
        create_pages(settings),
    ):
        app.register_blueprint(blueprint)
    sharing = Sharing(credentials)
    sharing.install(app)
    answers.install(app)
    pace = Pace(settings.limits.body_timeout, settings.limits.body_rate)
    hosts = Hosts(settings.auth.public_url)
    front = Front(app.wsgi_app, PUBLISH, notifications.publish, node.name, hosts, usage.requests, pace, sharing)
    app.wsgi_app = front  # type: ignore[method-assign]
    if settings.connections.fast_handshakes:
        verify, limits = access.tokens.verify, usage.requests
        app.extensions["notifier.doorman"] = Doorman(
            hosts, credentials, verify, limits, node.acceptor, settings.connections
        )
    return app


def _notifications(settings: Settings, node: Node, credentials: Credentials, auditor: Auditor) -> NotificationViews:
    usage = node.usage
    batches = Batches(node.publisher, node.limits, settings.publishing, usage.payer_of_key)
    return NotificationViews(
        credentials,
        node.publisher,
        batches,
        node.explanation,
        node.receipts,
        node.log,
        node.limits,
        auditor,
        usage.requests,
        usage.payer_of_key,
        usage.keys.recipients.take,
    )


def _client_routes(settings: Settings, node: Node, credentials: Credentials) -> Iterator[Blueprint]:
    """Yield the routes that clients use with tokens."""
    connections, addresses, users = settings.connections, node.usage.addresses, node.usage.users
    max_frame, max_ids = connections.max_message_bytes, settings.inbox.max_inbox_ids
    has_echo = connections.echo or settings.server.dev
    yield InboxViews(
        credentials,
        node.inbox,
        node.inbox_lists,
        max_ids=max_ids,
        max_mutes=max_frame,
        count_action=users.actions.take,
    ).blueprint()
    yield WebSocketViews(credentials, node.acceptor, connections, addresses, has_echo=has_echo).blueprint()
    yield StreamViews(credentials, node.acceptor, connections, addresses).blueprint()
    yield FrameViews(
        credentials,
        node.publisher,
        users,
        node.usage.payer_of_user,
        node.inbox,
        node.limits,
        max_frame=max_frame,
        max_ids=max_ids,
    ).blueprint()
