"""Notifications: every rule of a publication with its JSON pointer, and its encoding."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.errors import BodyTooLarge, InvalidNotification, MalformedJson, Problem
from notifier.protocol import notification
from notifier.protocol.notification import Limits, Publication
from notifier.protocol.notification_fields import MAX_TEXT, MAX_TTL, RETAINS, SEVERITIES
from tests.kit.cases import rows

LIMITS = Limits(users=3, topics=2)
ID = "019aa2bd-3c4b-7000-8000-000000000001"
CREATED = 1_763_661_600.123


def parse(body: bytes | str | dict[str, Any], limits: Limits = LIMITS) -> Publication:
    if isinstance(body, dict):
        body = json.dumps(body)
    return notification.parse(body.encode() if isinstance(body, str) else body, limits)


def good(**members: object) -> dict[str, Any]:
    """Return a publication that is valid but for these members."""
    return {"to": {"users": ["alice"]}, "title": "Hello"} | members


def faults(body: bytes | str | dict[str, Any], limits: Limits = LIMITS) -> list[tuple[str, str]]:
    """Return pointer and code of everything that is wrong."""
    with pytest.raises(InvalidNotification) as caught:
        parse(body, limits)
    assert all(fault.detail for fault in caught.value.faults)
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def outgoing(body: bytes | str | dict[str, Any]) -> dict[str, Any]:
    """Return the notification that subscribers are sent."""
    sent: dict[str, Any] = json.loads(parse(body).encode(ID, CREATED))
    return sent


class TestAddress:
    def test_channels(self) -> None:
        """Users, topics and all become channels, in the order in which they were named."""
        to = {"topics": ["orders"], "users": ["alice", "bob"], "all": True}
        assert parse(good(to=to)).channels == ["topic:orders", "user:alice", "user:bob", "all"]

    def test_each_once(self) -> None:
        """A name that is given twice is one channel; a user and a topic of one name are two."""
        to = {"users": ["alice", "alice"], "topics": ["alice", "alice"]}
        assert parse(good(to=to)).channels == ["user:alice", "topic:alice"]

    def test_not_all(self) -> None:
        """`all: false` and empty lists are allowed next to a name, and mean nothing."""
        assert parse(good(to={"users": ["alice"], "topics": [], "all": False})).channels == ["user:alice"]

    def test_missing(self) -> None:
        """A publication must have an address."""
        assert faults({"title": "x"}) == [("/to", "required")]

    @rows("to", [{}, {"users": []}, {"all": False}, {"users": [], "topics": [], "all": False}])
    def test_nobody(self, to: dict[str, Any]) -> None:
        """An address without recipients is a fault."""
        assert faults(good(to=to)) == [("/to", "empty")]

    @rows("to", [None, "alice", 5, True, ["alice"]])
    def test_no_object(self, to: object) -> None:
        """The address is an object."""
        assert faults(good(to=to)) == [("/to", "wrong_type")]

    @rows("kind", ["users", "topics"])
    @rows("names", [None, "alice", 5, {"alice": True}])
    def test_no_list(self, kind: str, names: object) -> None:
        """Users and topics are lists."""
        assert faults(good(to={kind: names})) == [(f"/to/{kind}", "wrong_type")]

    @rows("kind", ["users", "topics"])
    def test_no_strings(self, kind: str) -> None:
        """Names are strings; the pointers name all that are not."""
        assert faults(good(to={kind: ["a", 5]})) == [(f"/to/{kind}/1", "wrong_type")]
        assert faults(good(to={kind: [None, {}]})) == [(f"/to/{kind}/{at}", "wrong_type") for at in range(2)]

    @rows("kind", ["users", "topics"])
    @rows("name", ["", "a b", "a\n", "{a}", "a" * 129])
    def test_bad_names(self, kind: str, name: str) -> None:
        """Each name that breaks a rule is pointed at."""
        assert faults(good(to={kind: ["a", name]})) == [(f"/to/{kind}/1", "invalid_name")]

    def test_wildcards(self) -> None:
        """A wildcard is not a topic to publish to."""
        assert faults(good(to={"topics": ["project:*"]})) == [("/to/topics/0", "invalid_name")]

    @rows(("kind", "most"), [("users", 3), ("topics", 2)])
    def test_too_many(self, kind: str, most: int) -> None:
        """The number of users and topics of a publication is limited."""
        names = [f"name-{index}" for index in range(most + 1)]
        assert len(parse(good(to={kind: names[:most]})).channels) == most
        assert faults(good(to={kind: names})) == [(f"/to/{kind}", "too_many")]

    @rows("everybody", [None, 1, "true", []])
    def test_no_flag(self, everybody: object) -> None:
        """`all` is true or false."""
        assert faults(good(to={"all": everybody})) == [("/to/all", "wrong_type")]

    def test_unknown(self) -> None:
        """Unknown fields of an address are rejected."""
        assert faults(good(to={"users": ["a"], "groups": ["b"]})) == [("/to/groups", "unknown_field")]


class TestMembers:
    @rows("name", ["type", "title", "body"])
    def test_something_to_show(self, name: str) -> None:
        """A type, a title, a body or data makes a notification."""
        assert outgoing({"to": {"all": True}, name: "x"})[name] == "x"

    def test_null_is_data(self) -> None:
        """Data may be anything that JSON has, null too."""
        assert outgoing({"to": {"all": True}, "data": None})["data"] is None

    def test_nothing_to_show(self) -> None:
        """A severity, a URL and a key alone are not a notification; the fault is that of the whole."""
        body = {"to": {"all": True}, "severity": "info", "action_url": "/", "collapse_key": "k", "ttl": 5}
        assert faults(body) == [("", "required")]

    @rows("name", MAX_TEXT)
    @rows("value", [None, 5, True, [], {}])
    def test_no_string(self, name: str, value: object) -> None:
        """Texts are strings, and null is not a text."""
        assert faults(good(**{name: value})) == [(f"/{name}", "wrong_type")]

    @rows(("name", "most"), MAX_TEXT.items())
    def test_too_long(self, name: str, most: int) -> None:
        """Texts are limited in characters, not bytes."""
        text = "/" + "é" * (most - 1)
        wide = Limits(size=10**6)
        assert json.loads(parse(good(**{name: text}), wide).encode(ID, CREATED))[name] == text
        assert faults(good(**{name: text + "é"}), wide) == [(f"/{name}", "too_long")]

    @rows("name", ["type", "collapse_key"])
    def test_empty(self, name: str) -> None:
        """An empty type or key is a mistake."""
        assert faults(good(**{name: ""})) == [(f"/{name}", "empty")]

    @rows("name", ["title", "body"])
    def test_empty_text(self, name: str) -> None:
        """An empty title or body is not an error."""
        assert outgoing(good(**{name: ""}))[name] == ""

    def test_url(self) -> None:
        """A path or a web address may be opened."""
        assert outgoing(good(action_url="/orders/1042?a=b#c"))["action_url"] == "/orders/1042?a=b#c"

    @rows("data", ["9" * 5000, "1e999", '{"a":[-1e999]}'])
    def test_numbers_of_data(self, data: str) -> None:
        """Numbers that some clients could not read are rejected."""
        assert faults(f'{{"to":{{"all":true}},"title":"x","data":{data}}}') == [("/data", "number_out_of_range")]

    @rows("depth", [65, 500, 970, 50_000])
    @rows("name", ["data", "title", "unknown"])
    def test_deep_body(self, depth: int, name: str) -> None:
        """A body that is nested too deeply is rejected alike wherever it is, on every version of Python."""
        body = f'{{"to":{{"all":true}},"{name}":\n{"[" * depth}{"]" * depth}}}'
        assert faults(body, Limits(size=10**6)) == [("", "too_deep")]

    @rows("text", ["a\tb", "a\u2028b", "a\nb", "\x00"])
    def test_type_that_nobody_can_mute(self, text: str) -> None:
        """A type is a name: it has no control characters and no line breaks."""
        assert faults(good(type=text)) == [("/type", "invalid_name")]

    def test_unsafe_url(self) -> None:
        """A URL that would run a script may not be opened."""
        assert faults(good(action_url="javascript:alert(1)")) == [("/action_url", "invalid_url")]

    @rows("severity", SEVERITIES)
    def test_severity(self, severity: str) -> None:
        """There are five severities."""
        assert outgoing(good(severity=severity))["severity"] == severity

    def test_default_severity(self) -> None:
        """Without a severity a notification is an information."""
        assert outgoing(good())["severity"] == "info"

    @rows("retain", RETAINS)
    def test_retain(self, retain: str) -> None:
        """How a notification is kept is for the service, not for the subscriber."""
        assert parse(good(retain=retain)).retain == retain
        assert "retain" not in outgoing(good(retain=retain))

    def test_default_retain(self) -> None:
        """By default a notification is stored for the inbox."""
        assert parse(good()).retain == "inbox"

    @rows("name", ["severity", "retain"])
    @rows(
        ("value", "code"), [("Info", "unknown_value"), ("", "unknown_value"), (None, "wrong_type"), (1, "wrong_type")]
    )
    def test_no_choice(self, name: str, value: object, code: str) -> None:
        """Other values are rejected, and case counts."""
        assert faults(good(**{name: value})) == [(f"/{name}", code)]

    @rows("ttl", [1, 604800, MAX_TTL])
    def test_ttl(self, ttl: int) -> None:
        """A time to live becomes the time of the end."""
        assert parse(good(ttl=ttl)).ttl == ttl
        sent = outgoing(good(ttl=ttl))
        assert "ttl" not in sent
        assert datetime.fromisoformat(sent["expires_at"]).timestamp() == pytest.approx(CREATED + ttl, abs=0.001)

    @rows("ttl", [0, -1, MAX_TTL + 1, 10**40, -(10**40)])
    def test_ttl_out_of_range(self, ttl: int) -> None:
        """A time to live is from a second to a year."""
        assert faults(good(ttl=ttl)) in ([("/ttl", "out_of_range")], [("/ttl", "wrong_type")])

    @rows("ttl", [None, "5", 1.5, True, []])
    def test_no_ttl(self, ttl: object) -> None:
        """A time to live is a whole number."""
        assert faults(good(ttl=ttl)) == [("/ttl", "wrong_type")]

    def test_collapse_key(self) -> None:
        """The collapse key is known to the service and to the subscriber."""
        assert parse(good(collapse_key="order-1042")).collapse_key == "order-1042"
        assert outgoing(good(collapse_key="order-1042"))["collapse_key"] == "order-1042"

    @rows("name", ["id", "created_at", "expires_at", "Title", "", "a/b~c"])
    def test_unknown(self, name: str) -> None:
        """A member that is not known is a fault; its pointer is escaped (RFC 6901 section 3)."""
        assert faults(good(**{name: 1})) == [("/" + name.replace("~", "~0").replace("/", "~1"), "unknown_field")]

    def test_several(self) -> None:
        """All faults are reported at once."""
        body = {"to": {"users": ["a", "b c", 5], "topics": "x"}, "ttl": 0, "colour": "red", "severity": "loud"}
        assert faults(body) == [
            ("/to/users/1", "invalid_name"),
            ("/to/users/2", "wrong_type"),
            ("/to/topics", "wrong_type"),
            ("/ttl", "out_of_range"),
            ("/colour", "unknown_field"),
            ("/severity", "unknown_value"),
            ("", "required"),
        ]


class TestJson:
    @rows(
        "body",
        [
            "",
            " ",
            "null",
            "5",
            '"text"',
            "[]",
            "[{}]",
            "{",
            "{}}",
            '{"to":{"all":true},"title":"x"',
            '{"to":{"all":true},"title":"x",}',
            '{"to":{"all":true},"title":"x"} {}',
            "{'to':{'all':true}}",
            '{"to":{"all":true},title:"x"}',
            '{"to":{"all":true},"title":"a\nb"}',
            '{"to":{"all":true},"data":"\\q"}',
            '{"to":{"all":true},"data":"\\u12"}',
            '{"to":{"all":true},"data":"\x00"}',
            '{"to":{"all":true},"data":\n"a\nb"}',
            '{"to":{"all":true},"data":NaN}',
            '{"to":{"all":true},"data":-Infinity}',
            '{"to":{"all":true},"data":01}',
            '{"to":{"all":true},"data":+1}',
            '{"to":{"all":true},"data":1.}',
            '{"to":{"all":true},"data":.5}',
            '{"to":{"all":true},"data":[1,]}',
            '{"to":{"all":true},"data":{"a":1,}}',
            '{"to":{"all":true},"data":{1:2}}',
            '{"to":{"all":true},"data":[1 2]}',
            '{"to":{"all":true},"data":// comment\n1}',
            "[" * 60_000,
        ],
    )
    def test_malformed(self, body: str) -> None:
        """A body that is not a strict JSON object is rejected, also within `data`: no browser could read it."""
        with pytest.raises(MalformedJson):
            parse(body, Limits(size=10**6))

    @rows("place", [b'"title":"%b"', b'"title":"x","data":"%b"', b'"title":"x","%b":1'])
    @rows("text", [b"\xff", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
    def test_not_utf8(self, place: bytes, text: bytes) -> None:
        """JSON must be UTF-8 everywhere, also in fields that are not validated."""
        with pytest.raises(MalformedJson, match="UTF-8"):
            parse(b'{"to":{"all":true},' + place % text + b"}")

    def test_size(self) -> None:
        """A publication is limited in bytes."""
        body = json.dumps(good())
        assert parse(body, Limits(size=len(body)))
        with pytest.raises(BodyTooLarge):
            parse(body, Limits(size=len(body) - 1))

    def test_size_first(self) -> None:
        """A body that is too long is not read."""
        with pytest.raises(BodyTooLarge):
            parse(b"\xff" * 9, Limits(size=8))


class TestEncode:
    def test_head(self) -> None:
        """The JSON begins with the id, where the recall script looks for it."""
        body = parse(good()).encode(ID, CREATED)
        assert body.startswith(b'{"id":"%b","created_at":"2025-11-20T18:00:00.123Z"' % ID.encode())
        assert body[7:43] == ID.encode()

    def test_members(self) -> None:
        """The posted members are sent, and otherwise only id, time and severity."""
        posted = {
            "type": "order.shipped",
            "title": "On its way",
            "body": "Your order\nis on its way: 100 €",
            "severity": "success",
            "action_url": "/orders/1042",
            "data": {"order": 1042, "lines": [1.5, None, True]},
            "collapse_key": "order-1042",
        }
        sent = outgoing({"to": {"all": True}} | posted)
        assert sent == {"id": ID, "created_at": "2025-11-20T18:00:00.123Z"} | posted

    @rows(
        "member",
        [
            rb'"title":"caf\u00e9 \/ \ud83d\ude00"',
            '"title":"café 😀 \u2028"'.encode(),
            b'"data":{"b":1,"a":1.50,"b":1e300,"c":12345678901234567890123}',
            rb'"data":"\n\r\t\u0000"',
            b'"data":[ 1 , 2 ]',
            b'"data":"\x7f"',
            b'"body":"<script>&"',
        ],
    )
    def test_raw(self, member: bytes) -> None:
        """Fields are encoded as the bytes that were received: no number is rounded, no escape changed."""
        body = parse(b'{"to":{"all":true},"type":"t",' + member + b"}").encode(ID, CREATED)
        assert b"," + member + b"," in body

    @rows("data", ['{"a":\n[1,\r\n2.50],\r"b c":"\\n"}', '\n"x"\n', "\r\n1e300\r\n", "[\n\n]"])
    def test_one_line(self, data: str) -> None:
        """Data that was received on several lines is encoded on one, with the same value."""
        body = parse(f'{{"to":{{"all":true}},"data":{data}\n}}').encode(ID, CREATED)
        assert b"\n" not in body
        assert b"\r" not in body
        assert json.loads(body)["data"] == json.loads(data)

    def test_last_wins(self) -> None:
        """If a field is given twice, the last value counts, for the rules and for the subscribers."""
        assert parse('{"to":{"users":["a"]},"to":{"users":["b"]},"title":"x"}').channels == ["user:b"]
        body = parse('{"to":{"all":true},"title":"x","title":"y"}').encode(ID, CREATED)
        assert body.count(b'"title"') == 1
        assert json.loads(body)["title"] == "y"
        assert faults('{"to":{"all":true},"title":"x","title":5}') == [("/title", "wrong_type")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(["a", "alice", "project:7"]) | st.text(max_size=3)
ADDRESSES = st.fixed_dictionaries(
    {},
    optional={
        "users": st.lists(NAMES, max_size=4) | JSON,
        "topics": st.lists(NAMES, max_size=4) | JSON,
        "all": st.booleans() | JSON,
    },
)
MEMBERS = {
    "type": st.text(max_size=9),
    "title": st.text(max_size=9),
    "body": st.text(max_size=9),
    "severity": st.sampled_from(SEVERITIES) | JSON,
    "action_url": st.sampled_from(["/", "https://example.org"]) | st.text(max_size=9),
    "data": JSON,
    "collapse_key": st.text(max_size=9),
    "ttl": st.integers(0, 9) | JSON,
    "retain": st.sampled_from(RETAINS) | JSON,
}
BODIES = st.fixed_dictionaries({"to": ADDRESSES}, optional=MEMBERS) | st.dictionaries(
    st.sampled_from(["to", *MEMBERS]) | st.text(max_size=9), JSON
)


@given(BODIES, st.sampled_from([None, 1]), st.booleans())
def test_random_objects(members: dict[str, Any], indent: int | None, ascii: bool) -> None:
    """Any JSON object is a publication that is sent as valid JSON with the same values, or a problem with faults."""
    try:
        publication = parse(json.dumps(members, indent=indent, ensure_ascii=ascii).encode())
    except InvalidNotification as problem:
        assert problem.faults
        return
    assert publication.channels
    text = publication.encode(ID, CREATED)
    assert b"\n" not in text
    sent = json.loads(text, parse_constant=pytest.fail)
    assert sent["id"] == ID
    for name in members.keys() - {"to", "ttl", "retain"}:
        assert json.dumps(sent[name]) == json.dumps(members[name])


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b"{}")
def test_random_bytes(body: bytes) -> None:
    """Any bytes are a publication or a documented problem."""
    with pytest.raises(Problem):
        parse(body)


@given(st.data())
def test_damaged(data: st.DataObject) -> None:
    """A publication with a changed byte is still sent as valid JSON, or is rejected."""
    body = bytearray(b'{"to":{"all":true},"title":"\\u00e9\xc3\xa9","data":{"a":[-1.5e+3,true,null,"\\n"]}\n}')
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        publication = parse(bytes(body))
    except (InvalidNotification, MalformedJson):
        return
    assert json.loads(publication.encode(ID, CREATED).decode(), parse_constant=pytest.fail)["id"] == ID


class TestId:
    @given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
    def test_uuid(self, ms: int, random: bytes) -> None:
        """An id is a UUID version 7 in its usual form (RFC 9562 section 5.7)."""
        id = notification.new_id(ms, random)
        parsed = uuid.UUID(id)
        assert str(parsed) == id
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122
        assert len(id) == 36

    @given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
    def test_time(self, ms: int, random: bytes) -> None:
        """The time of an id can be read from the id."""
        assert notification.time_of(notification.new_id(ms, random)) == ms

    @given(*[st.binary(min_size=10, max_size=10)] * 2)
    def test_order(self, one: bytes, other: bytes) -> None:
        """Ids sort by their time, whatever is random in them."""
        assert notification.new_id(1_763_661_600_000, one) < notification.new_id(1_763_661_600_001, other)

    def test_random(self) -> None:
        """Other random bytes make another id, whichever of them differ."""
        ids = {notification.new_id(1, bytes(9 - at) + b"\xff" + bytes(at)) for at in range(10)}
        assert len(ids) == 10

    @rows(
        "id",
        [
            "",
            "x",
            ID[:-1],
            ID + "0",
            ID.replace("-", ""),
            ID.replace("-7", "-4"),
            "g" + ID[1:],
            "{" + ID[1:-1] + "}",
            "\u0661" + ID[1:],
            "0x" + ID[2:],
            " " + ID[1:],
            ID[:2] + "_" + ID[3:],
            ID[1:9] + "0" + ID[9:],
            "-" * 36,
        ],
    )
    def test_no_id(self, id: str) -> None:
        """An id that is not a UUID version 7 in its usual form has no time."""
        assert notification.time_of(id) is None


class TestTime:
    @rows(
        ("time", "text"),
        [
            (0, "1970-01-01T00:00:00.000Z"),
            (CREATED, "2025-11-20T18:00:00.123Z"),
            (1_763_661_600, "2025-11-20T18:00:00.000Z"),
            (1_709_164_800.5, "2024-02-29T00:00:00.500Z"),
        ],
    )
    def test_rfc3339(self, time: float, text: str) -> None:
        """A time is written in UTC with milliseconds, also where these are zero."""
        assert notification.rfc3339(time) == text

    @given(st.integers(0, 4_102_444_800_000))
    def test_round_trip(self, ms: int) -> None:
        """A time that was written is read again, to the millisecond."""
        written = datetime.fromisoformat(notification.rfc3339(ms / 1000))
        assert written.tzinfo == UTC
        assert abs(written.timestamp() - ms / 1000) < 0.0011
