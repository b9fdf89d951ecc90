"""`notifier send`: data that the service would reject."""

import pytest

from tests.cli.conftest import Run

DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (
            "9" * 5000,
            4,
            "422 invalid_notification: The notification is not valid. /data: Numbers have at most 308 digits",
        ),
        ("1e400", 4, "422 invalid_notification: The notification is not valid. /data: Numbers have at most 308 digits"),
        (DEEP, 4, "422 invalid_notification: The notification is not valid. the request: At most 64 levels"),
        ("NaN", 2, "--data is not JSON: NaN is not a number of JSON."),
        ("Hello", 2, "--data is not JSON"),
    ],
    ids=["digits", "exponent", "levels", "nan", "text"],
)
@pytest.mark.parametrize("more", [[], ["--explain"]], ids=["send", "explain"])
def test_data(run: Run, data: str, code: int, said: str, more: list[str]) -> None:
    """Nothing is sent. Data that is not JSON is wrong usage; all else is rejected as the service does."""
    url = ("--url", "http://127.0.0.1:9", "--api-key", "a-key-of-the-tests")
    ended = run("send", *url, "--all", "--data", data, *more)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.words and ended.words.count("\n") == 1
