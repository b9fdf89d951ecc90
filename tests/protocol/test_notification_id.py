"""Ids of notifications."""

from notifier.protocol.notification_id import canonical_id
from tests.kit.cases import rows

ID = "019a0000-abcd-7000-8000-00000000000f"


@rows("text", [ID, ID.upper(), ID.title()])
def test_capitals(text: str) -> None:
    """An id in capitals is the same id."""
    assert canonical_id(text) == ID


@rows("text", ["", "A", ID.upper() + "0", ID.upper()[:-1], ID.upper().replace("-7", "-4"), f"{{{ID}}}"])
def test_others(text: str) -> None:
    """Texts that are not ids keep their capitals."""
    assert canonical_id(text) == text
