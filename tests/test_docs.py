"""The documentation matches the code: settings, errors, routes, requirements, commands and links."""

import html
import json
import re
import tomllib
from dataclasses import Field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from notifier import errors
from notifier.http.app import create_app
from notifier.protocol.api_key import ApiKey
from notifier.protocol.forwarded import Proxies
from notifier.protocol.notification_fields import MAX_TEXT, MAX_TTL
from notifier.settings import PREFIX, PublishingSettings, Settings
from tests.kit.cases import every

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *(ROOT / "examples").glob("**/*.md"), ROOT / "browser/README.md"]
)
HTTP_API = (DOCS / "http-api.md").read_text()
PROBLEMS = sorted(errors.Problem.__subclasses__(), key=lambda kind: kind.code)
DISCONNECTS = sorted(errors.Disconnect.__subclasses__(), key=lambda kind: kind.close_code)


@pytest.fixture(scope="module")
def app() -> Flask:
    """Return the application in development mode, which has all routes. Nothing is started."""
    return create_app(
        Settings.of(
            redis_url="redis://localhost",
            dev=True,
            api_keys=(ApiKey("docs", "a-key-that-nobody-uses"),),
            token_secrets=("a-secret-that-nobody-uses-to-sign-anything",),
        )
    )


def cells(page: str) -> list[list[str]]:
    """Return the cells of all rows of a page's tables."""
    lines = (DOCS / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]


def rows(page: str) -> list[list[str]]:
    """Return the cells of all rows of a page's tables, without the code marks around them."""
    return [[cell.strip("`") for cell in row] for row in cells(page)]


def explained(error: type[errors.Problem | errors.Disconnect]) -> list[str]:
    """Return what happened and what to do, as in the tables: without the last period."""
    return [(error.__doc__ or "").rstrip("."), error.remedy.rstrip(".")]


def shown(item: Field[Any]) -> str:
    """Return a setting's default as the table shows it."""
    default = item.default
    if item.name == "workers":
        return "the cores"
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, float):
        return f"{default:g}"
    return "none" if default in ("", (), Proxies()) else str(default)


def test_settings() -> None:
    """The tables of settings have every setting in the order of the code, with its default and its unit."""
    documented = [row[:3] for row in rows("settings.md") if row[0].startswith(PREFIX)]
    settings = Settings.described().values()
    assert documented == [[PREFIX + item.name.upper(), shown(item), item.metadata["unit"]] for item in settings]


def test_problems() -> None:
    """The table of problems has every code with its status, meaning and remedy, and no others."""
    documented = sorted((row for row in cells("errors.md") if row[1].isdecimal()), key=lambda row: row[0].strip("`"))
    assert documented == [[f"`{kind.code}`", str(kind.status), *explained(kind)] for kind in PROBLEMS]


def test_close_codes() -> None:
    """The table of close codes has every code with its reason, meaning and remedy, in order, and no others."""
    documented = [row for row in cells("errors.md") if row[0].isdecimal()]
    assert documented == [[str(kind.close_code), kind.reason, *explained(kind)] for kind in DISCONNECTS]


def test_close_codes_of_protocol() -> None:
    """The protocol explains every code with which the service closes a connection."""
    documented = {code for row in rows("protocol.md") for code in row[0].split(", ") if code.isdecimal()}
    assert {str(kind.close_code) for kind in DISCONNECTS} <= documented


def test_error_page(app: Flask) -> None:
    """The page that the `type` of a problem links to explains every problem, under its code, and every close code."""
    page = app.test_client().get("/docs/errors").text
    for kind in PROBLEMS:
        assert f'<tr id="{kind.code}"><td><code>{kind.code}</code></td><td>{kind.status}</td>' in page
    for disconnect in DISCONNECTS:
        assert f"<td>{disconnect.close_code}</td><td>{disconnect.reason}</td>" in page
    shown = html.unescape(re.sub(r"</?code>", "`", page))
    for error in [*PROBLEMS, *DISCONNECTS]:
        assert f"<td>{error.__doc__}</td><td>{error.remedy}</td>" in shown


def test_routes(app: Flask) -> None:
    """The HTTP API's table has every route with its methods, and no others."""
    routes = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", rule.rule)
        routes |= {f"{method} {path}" for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    documented = [row[0] for row in rows("http-api.md") if re.match(r"[A-Z]+ /", row[0])]
    assert sorted(documented) == sorted(routes)


def test_metrics(app: Flask) -> None:
    """The HTTP API explains every metric, and no others."""
    exposed = re.findall(r"^# HELP (notifier_\w+)", app.test_client().get("/metrics").text, re.MULTILINE)
    documented = [row[0] for row in rows("http-api.md") if row[0].startswith("notifier_")]
    assert sorted(documented) == sorted(name for name in exposed if not name.endswith("_created"))


@every(field=MAX_TEXT)
def test_limits_of_texts(field: str) -> None:
    """The HTTP API states the greatest length of a text field."""
    [limits] = [row[2] for row in rows("http-api.md") if row[:2] == [field, "string"]]
    assert f"{MAX_TEXT[field]:,} characters" in limits


def test_limits_of_numbers() -> None:
    """The HTTP API states the longest ttl and the default limits of a publication."""
    defaults = PublishingSettings()
    limits = (
        f"1 to {MAX_TTL:,} seconds",
        f"at most {defaults.max_notification_bytes:,} bytes",
        f"at most {defaults.max_users:,} users and {defaults.max_topics:,} topics",
        f"at most {defaults.max_batch_bytes:,} bytes",
    )
    text = " ".join(HTTP_API.split())
    assert [limit for limit in limits if limit not in text] == []


def test_requirements() -> None:
    """The table of dependencies has every direct requirement, in the order of the files, and no others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = [ROOT / "requirements-dev.in", ROOT / "requirements-tools.in", ROOT / "examples" / "requirements.txt"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    lines += [line for file in files for line in file.read_text().splitlines()]
    required = [re.split(r"[\[<=>]", line)[0] for line in lines if re.match(r"\w", line)]
    python = (DOCS / "dependencies.md").read_text().partition("| package |")[0]
    assert re.findall(r"^\| `(.+?)` \|", python, re.MULTILINE) == required


def test_api_keys() -> None:
    """API keys in the documentation begin with `nk_`, by which the libraries recognize them."""
    made = [key for page in PAGES for key in re.findall(r"NOTIFIER_API_KEYS=\"?\w+:(\S*openssl)", page.read_text())]
    assert made and all(key.startswith("nk_") for key in made)


def test_npm_packages() -> None:
    """The table of dependencies has every package from npm, and no others."""
    required = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    lines = (DOCS / "dependencies.md").read_text().partition("| package |")[2].splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == sorted(required)


def test_make_targets() -> None:
    """The make targets that the documentation names exist."""
    [phony] = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {target for page in PAGES for target in re.findall(r"(?:`|^)make (\w+)", page.read_text(), re.MULTILINE)}
    assert {"run", "test"} <= named <= set(phony.split())


@every(page=PAGES)
def test_links(page: Path) -> None:
    """Relative links lead to files of the repository, and their fragments to headings."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link:
            continue
        if not target.exists() or (fragment and fragment not in headings(target)):
            broken.append(link)
    assert broken == []


def headings(page: Path) -> set[str]:
    """Return the fragments of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_examples() -> None:
    """The table of examples lists every example, and no others."""
    folder = ROOT / "examples"
    listed = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\)", (folder / "README.md").read_text(), re.MULTILINE)
    files = [*folder.glob("*.py"), *folder.glob("*/*.html")]
    assert sorted(listed) == sorted(str(path.relative_to(folder)) for path in files)
