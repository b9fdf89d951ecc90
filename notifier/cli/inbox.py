"""`notifier inbox`: shows and changes the inbox of a user."""

import itertools

import click

from notifier.cli.failure import FAILED, USAGE, Failure, say
from notifier.cli.options import InOrder, json_option, user_options
from notifier.cli.terminal import printable
from notifier.cli.text import counts_document, counts_line, json_line, notification_line
from notifier.client import Inbox, Item, Marked, Mutes, NotifierClient
from notifier.client.inbox import Action, Status

_ACTIONS: dict[Action, str] = {
    "seen": "Mark items as seen.",
    "read": "Mark items as read and seen.",
    "unread": "Mark items as unread, and unarchive them.",
    "archive": "Archive items, and mark them as read.",
    "unarchive": "Unarchive items.",
}
_PRINTS = (
    "Prints the counts after the change. The IDs are those that `notifier inbox list` prints; if one is not in this "
    "inbox, the exit code is 1."
)
_TYPES = click.option("--type", "types", multiple=True, help="A notification type. May be repeated.")
_TOPICS = click.option("--topic", "topics", multiple=True, help="A topic. May be repeated.")


@click.group(cls=InOrder, short_help="Show and change the inbox of a user.")
def inbox() -> None:
    """Show and change the inbox of the user of the token."""


@inbox.command("list", short_help="Print items, the newest first.")
@click.option("--status", type=click.Choice(["all", "unread", "archived"]), default="all", show_default=True)
@_TYPES
@_TOPICS
@click.option("--severity", "severities", multiple=True, help="info, success, ... May be repeated.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many items.")
@click.option("--all", "everything", is_flag=True, help="All items, without a limit.")
@json_option
@user_options
def show(
    status: Status,
    types: tuple[str, ...],
    topics: tuple[str, ...],
    severities: tuple[str, ...],
    limit: int,
    everything: bool,
    as_json: bool,
    url: str,
    token: str | None,
    deadline: float,
) -> None:
    """Print items, the newest first, each with its id and its state: new, seen, read, archived or muted.

    By default archived items are left out.
    """
    with NotifierClient(url, token=token, deadline=deadline) as client:
        items = client.inbox().items(status=status, type=types, topic=topics, severity=severities)
        for item in items if everything else itertools.islice(items, limit):
            click.echo(json_line(item._asdict()) if as_json else _line(item))
        if not everything and next(items, None):
            say("There are more items: see --limit and --all.")


@inbox.command()
@json_option
@user_options
def counts(as_json: bool, url: str, token: str | None, deadline: float) -> None:
    """Print how many items are unread, and how many are unseen."""
    with NotifierClient(url, token=token, deadline=deadline) as client:
        found = client.inbox().counts()
    click.echo(json_line(counts_document(found)) if as_json else counts_line(found))


def _add_action(action: Action, text: str) -> None:
    @inbox.command(action, short_help=text)
    @click.argument("ids", metavar="[ID]...", nargs=-1)
    @click.option("--up-to", metavar="CURSOR", help="All items up to this cursor.")
    @click.option("--all", "everything", is_flag=True, help="All items in the inbox now.")
    @json_option
    @user_options
    def act(
        ids: tuple[str, ...],
        up_to: str | None,
        everything: bool,
        as_json: bool,
        url: str,
        token: str | None,
        deadline: float,
    ) -> None:
        if sum((bool(ids), up_to is not None, everything)) != 1:
            raise Failure("Name the items by one of these: IDs, --up-to CURSOR or --all.", USAGE)
        with NotifierClient(url, token=token, deadline=deadline) as client:
            _act(client.inbox(), action, ids, up_to, everything, as_json)

    act.help = f"{text}\n\n{_PRINTS}"


for _action, _text in _ACTIONS.items():
    _add_action(_action, _text)


@inbox.command()
@json_option
@user_options
def mutes(as_json: bool, url: str, token: str | None, deadline: float) -> None:
    """Print the types and topics that are muted."""
    with NotifierClient(url, token=token, deadline=deadline) as client:
        _print_mutes(client.inbox().mutes(), as_json)


@inbox.command(short_help="Mute types or topics.")
@_TYPES
@_TOPICS
@json_option
@user_options
def mute(
    types: tuple[str, ...], topics: tuple[str, ...], as_json: bool, url: str, token: str | None, deadline: float
) -> None:
    """Mute types or topics: their new notifications are neither pushed nor counted. Prints everything that is muted."""
    _require_some(types, topics)
    with NotifierClient(url, token=token, deadline=deadline) as client:
        now = client.inbox().mutes()
        muted = client.inbox().set_mutes((*now.types, *types), (*now.topics, *topics))
        _print_mutes(muted, as_json)


@inbox.command(short_help="Unmute types or topics.")
@_TYPES
@_TOPICS
@json_option
@user_options
def unmute(
    types: tuple[str, ...], topics: tuple[str, ...], as_json: bool, url: str, token: str | None, deadline: float
) -> None:
    """Unmute types or topics. Prints everything that is still muted."""
    _require_some(types, topics)
    with NotifierClient(url, token=token, deadline=deadline) as client:
        now = client.inbox().mutes()
        left = ([name for name in now.types if name not in types], [name for name in now.topics if name not in topics])
        _print_mutes(client.inbox().set_mutes(*left), as_json)


def _line(item: Item) -> str:
    flags = ((item.muted, "muted"), (item.archived, "archived"), (item.read, "read"), (item.seen, "seen"))
    state = next((word for flag, word in flags if flag), "new")
    return printable(f"{item.id}  {state:8}  {notification_line(item.channel, item.notification)}")


def _act(
    inbox: Inbox, action: Action, ids: tuple[str, ...], up_to: str | None, everything: bool, as_json: bool
) -> None:
    do = getattr(inbox, action)
    up_to = inbox.list(limit=1).cursor if everything else up_to
    marked: Marked = do(up_to=up_to) if up_to is not None else do(ids)
    changed = {"changed": marked.changed, "unknown": marked.unknown}
    click.echo(json_line(counts_document(marked.counts) | changed) if as_json else counts_line(marked.counts))
    if marked.unknown:
        raise Failure(f"Not in this inbox: {', '.join(marked.unknown)}", FAILED)


def _require_some(types: tuple[str, ...], topics: tuple[str, ...]) -> None:
    if not types and not topics:
        raise Failure("Name what to mute or unmute: --type or --topic.", USAGE)


def _print_mutes(mutes: Mutes, as_json: bool) -> None:
    if as_json:
        click.echo(json_line(mutes._asdict()))
        return
    for kind, names in (("type", mutes.types), ("topic", mutes.topics)):
        for name in names:
            click.echo(printable(f"{kind} {name}"))
