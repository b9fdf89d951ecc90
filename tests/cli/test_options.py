"""Options that several commands have: the URL, credentials and durations."""

from pathlib import Path

import click
import pytest

from notifier.cli.options import LOCAL, Duration, known_key, local_url
from notifier.server.development import provide_secrets, store_address
from tests.cli.conftest import Run
from tests.kit.cases import rows


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which development mode has run."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".notifier"
    provide_secrets(folder, {})
    return folder


class TestDevelopmentKey:
    @rows("bind", ["127.0.0.1:9000", "localhost:9000", "0.0.0.0:9000", "[::]:9000", ":9000"])
    @rows("url", ["http://127.0.0.1:9000", "http://localhost:9000/", "http://[::1]:9000", "http://LOCALHOST:9000"])
    def test_found(self, data_dir: Path, bind: str, url: str) -> None:
        """The key is found for the port of the service, by any name of this machine."""
        store_address(data_dir, bind)
        assert known_key(url, None) == (data_dir / "api-key").read_text().strip()
        assert local_url() in ("http://127.0.0.1:9000", "http://localhost:9000")

    @rows(
        "url",
        [
            "http://127.0.0.1:8080",
            "http://127.0.0.1",
            "https://127.0.0.1:9000",
            "http://127.0.0.1:9000/path",
            "http://127.0.0.1.example:9000",
            "http://example.org:9000",
            "http://localhost:port",
            "http://[",
            "",
        ],
    )
    def test_not_found(self, data_dir: Path, url: str) -> None:
        """The key is sent to no other service."""
        store_address(data_dir, "127.0.0.1:9000")
        assert known_key(url, None) is None
        assert known_key(url, "given") == "given"

    def test_unknown_address(self, data_dir: Path) -> None:
        """Without a stored address it is the default."""
        store_address(data_dir, "127.0.0.1:9000")
        store_address(data_dir, "unix:/run/notifier.sock")
        assert local_url() == LOCAL
        assert known_key("http://localhost:8080", None)


class TestDuration:
    @rows(("text", "seconds"), [("0", 0), ("0s", 0), ("30s", 30), ("1.5m", 90), ("2h", 7200), (7, 7)])
    def test_valid(self, text: str, seconds: float) -> None:
        """A duration has a unit, unless it is 0."""
        assert Duration().convert(text, None, None) == seconds

    @rows("text", ["8", "60", "0.5"])
    def test_no_unit(self, text: str) -> None:
        """A number could be seconds, or hours."""
        with pytest.raises(click.BadParameter, match=f"needs a unit: write {text}s"):
            Duration().convert(text, None, None)

    @rows("text", ["", "s", "-1s", "1 s", "1S", "1w", "1h30m", "1e3s", "\u0663s", "nan", "inf"])
    def test_invalid(self, text: str) -> None:
        """Any other text is not a duration."""
        with pytest.raises(click.BadParameter, match="is not a duration"):
            Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("send --all --title x", "give --api-key, or set NOTIFIER_API_KEY"),
        ("members list t", "give --api-key"),
        ("inbox list", "give --token, or set NOTIFIER_TOKEN"),
        ("listen", "give --token"),
        ("bench", "give --token"),
    ],
)
def test_missing(run: Run, words: str, said: str) -> None:
    """A command names its options, not the arguments of the client."""
    ended = run(*words.split(), "--url", "http://127.0.0.1:9")
    assert (ended.code, said in ended.words) == (2, True)
    assert "api_key" not in ended.words


@pytest.mark.parametrize("words", ["Hello", "orders.json"])
def test_text(run: Run, words: str) -> None:
    """A text in the place of the file is probably a title."""
    ended = run("send", "--all", words)
    assert ended.code == 2
    assert f"--title '{words}'" in ended.words


def test_no_keys(run: Run) -> None:
    """Without an API key `keys list` fails, and names the variable."""
    ended = run("keys", "list")
    assert (ended.code, ended.out) == (2, "") and "NOTIFIER_API_KEY" in ended.words
