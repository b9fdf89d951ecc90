"""`POST /v1/stream`: one frame of a client whose transport cannot send frames on the stream itself."""

from collections.abc import Callable

from flask import Blueprint, request
from werkzeug import Response

from notifier.errors import InvalidFrame, MalformedJson, Problem, ProtocolViolation
from notifier.http import body
from notifier.http.answers import JSON
from notifier.http.credentials import Credentials
from notifier.inbox.inbox import Inbox
from notifier.limits.users import UserLimits
from notifier.protocol import frames
from notifier.protocol.frames import Ack, InboxFrame, Publish
from notifier.protocol.identity import Identity
from notifier.protocol.inbox_frames import read_ack, read_marking
from notifier.protocol.json_text import utf8_of
from notifier.protocol.notification import Limits
from notifier.protocol.publishing import read as read_publishing
from notifier.publishing.client_queue import confirmation
from notifier.publishing.publisher import Payer, Post, Publisher


class FrameViews:
    """The view of single frames."""

    def __init__(
        self,
        credentials: Credentials,
        publisher: Publisher,
        users: UserLimits,
        payer: Callable[[str], Payer | None],
        inbox: Inbox,
        limits: Limits,
        *,
        max_frame: int,
        max_ids: int,
    ) -> None:
        self._credentials = credentials
        self._publisher = publisher
        self._users = users
        self._payer = payer
        self._inbox = inbox
        self._limits = limits
        self._max_frame = max_frame  # bytes
        self._max_ids = max_ids

    def blueprint(self) -> Blueprint:
        """Return the route."""
        blueprint = Blueprint("frames", __name__)
        blueprint.post("/v1/stream", provide_automatic_options=False)(self.take)
        return blueprint

    def take(self) -> Response:
        """Carry out a frame."""
        who = self._credentials.require_identity(request)
        try:
            frame = frames.decode(utf8_of(body.read(request, self._max_frame)).decode())
        except (ProtocolViolation, UnicodeDecodeError) as error:
            raise MalformedJson("Post one frame, as a JSON object in UTF-8.") from error
        if isinstance(frame, Ack):
            return self._acknowledge(frame, who)
        if isinstance(frame, InboxFrame):
            return self._act(frame, who)
        if isinstance(frame, Publish):
            return self._publish(frame, who)
        raise InvalidFrame("Only publish, ack and inbox frames may be posted.")

    def _acknowledge(self, frame: Ack, who: Identity) -> Response:
        self._users.actions.take(who.user)  # before it is known whether the frame is valid: to check it takes time
        ack = read_ack(frame)
        self._inbox.acknowledge({who.user: ack})
        return Response(status=204)

    def _act(self, frame: InboxFrame, who: Identity) -> Response:
        self._users.actions.take(who.user)
        ref, action, target = read_marking(frame, self._max_ids)
        change = self._inbox.act(who.user, action, target)
        return Response(frames.changed(ref, change.view, change.changed, change.unknown), content_type=JSON)

    def _publish(self, frame: Publish, who: Identity) -> Response:
        self._users.publications.take(who.user)
        publishing = read_publishing(frame, who, self._limits)
        payer = self._payer(who.user)
        [answer] = self._publisher.publish([Post(publishing.publication, publishing.body, publishing.key, payer=payer)])
        if isinstance(answer, Problem):
            raise answer
        return Response(confirmation(publishing, answer), content_type=JSON)
