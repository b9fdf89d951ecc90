"""Settings: from variables to values, and the errors for invalid ones."""

import dataclasses
import os
import resource
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from notifier.protocol import identity
from notifier.protocol.api_key import ApiKey
from notifier.protocol.token_policy import Policy
from notifier.settings import (
    PREFIX,
    RESERVED_FILES,
    AuthSettings,
    BrokerSettings,
    ConnectionSettings,
    ServerSettings,
    SettingError,
    Settings,
)
from tests.kit.cases import every, rows

KEY, OTHER_KEY = "a-key-of-the-tests", "another-key-of-the-tests"
SECRET, OTHER_SECRET = "x" * 32, "é" * 16
FIELDS = Settings.described()
NUMBERS = [name for name, item in FIELDS.items() if item.metadata["read"] in (int, float)]
WHOLE = [name for name in NUMBERS if FIELDS[name].metadata["read"] is int]
BROKEN = [name for name in NUMBERS if FIELDS[name].metadata["read"] is float]
FLAGS = [name for name, item in FIELDS.items() if isinstance(item.default, bool)]


def read(**values: object) -> SimpleNamespace:
    """Return all settings that variables make, of all rooms; both are named like the fields."""
    return flat(Settings.from_environ(variables(**values)))


def variables(**values: object) -> dict[str, str]:
    """Return an environment; its values are named like the fields."""
    return {PREFIX + name.upper(): str(value) for name, value in values.items()}


def flat(settings: Settings) -> SimpleNamespace:
    """Return the settings of all rooms."""
    return SimpleNamespace(**{name: value for room in vars(settings).values() for name, value in vars(room).items()})


def refusal(**values: object) -> str:
    """Return the error for invalid variables; it must name the first of them."""
    with pytest.raises(SettingError) as caught:
        read(**values)
    text = str(caught.value)
    assert PREFIX + next(iter(values)).upper() in text
    return text


class TestEnvironment:
    def test_defaults(self) -> None:
        """Without variables of the service the defaults apply; other variables are ignored."""
        assert Settings.from_environ({}) == Settings() == Settings.from_environ({"PATH": "/bin", "notifier_bind": "x"})

    def test_default_values_are_allowed(self) -> None:
        """A default that is written out is the default, and no default is below its least value."""
        for name in NUMBERS:
            default = FIELDS[name].default
            assert getattr(read(**{name: default}), name) == default

    def test_workers(self) -> None:
        """By default there are as many workers as cores."""
        assert Settings().server.workers == (os.cpu_count() or 1)

    @rows("variable", ["NOTIFIER_", "NOTIFIER_BINDS", "NOTIFIER_bind", "NOTIFIER_TOKEN_SECRET"])
    def test_unknown(self, variable: str) -> None:
        """A misspelled variable is an error that names it."""
        with pytest.raises(SettingError, match=rf"{variable}\b"):
            Settings.from_environ({variable: "x"})

    def test_frozen(self) -> None:
        """Settings do not change."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            Settings().server.workers = 5  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError):
            Settings().server = ServerSettings()  # type: ignore[misc]

    def test_values(self) -> None:
        """Values find their rooms by their names; others keep their defaults, and unknown names are an error."""
        settings = Settings.of(workers=3, redis_prefix="x")
        assert settings == Settings(ServerSettings(workers=3), BrokerSettings(redis_prefix="x"))
        with pytest.raises(TypeError, match="worker"):
            Settings.of(worker=3)

    def test_names_are_unique(self) -> None:
        """No two rooms have a setting of the same name, and every room is described."""
        names = [item.name for room in fields(Settings) for item in fields(getattr(Settings(), room.name))]
        assert names == list(FIELDS)

    @every(name=FIELDS)
    def test_described(self, name: str) -> None:
        """Every setting has a unit and a sentence on what it is for."""
        assert FIELDS[name].metadata["unit"]
        assert FIELDS[name].metadata["help"].endswith(".")


class TestNumbers:
    @every(text=["", "x", "ten", "1,5", "0x10", "1 000", "1s", "--1"], name=NUMBERS)
    def test_no_number(self, name: str, text: str) -> None:
        """A text that is not a number is rejected, and the setting explained."""
        assert FIELDS[name].metadata["help"] in refusal(**{name: text})

    @every(text=["100000.5", "1e9", "inf", "nan"], name=WHOLE)
    def test_no_whole_number(self, name: str, text: str) -> None:
        """Where whole numbers are counted, no other is taken."""
        assert "whole number" in refusal(**{name: text})

    @every(text=["nan", "inf"], name=BROKEN)
    def test_no_time(self, name: str, text: str) -> None:
        """A time that is not a finite number is rejected."""
        refusal(**{name: text})

    @every(name=NUMBERS)
    def test_least(self, name: str) -> None:
        """A number has a least value, which the error for a lower number names."""
        least = FIELDS[name].metadata["least"]
        assert least is not None
        assert f"at least {least:g}" in refusal(**{name: least - 1})

    @every(digits=[12, 17, 400], name=NUMBERS)
    def test_greatest(self, name: str, digits: int) -> None:
        """A number has a greatest value, which the error names; timers have a week."""
        assert "at most " in refusal(**{name: digits * "9"})

    @rows(
        ("name", "text"),
        [
            ("send_buffer_bytes", "99999999999"),
            ("lag_timeout", "2592000"),
            ("heartbeat", "604801"),
            ("workers", "1025"),
        ],
    )
    def test_too_great(self, name: str, text: str) -> None:
        """Values that would overflow at run time are rejected at the start."""
        assert "at most " in refusal(**{name: text})

    @every(name=NUMBERS)
    def test_a_number(self, name: str) -> None:
        """A number is taken as it is written."""
        value = FIELDS[name].default + 7
        others = {"broker_deadline": 100} if name == "broker_heartbeat" else {}
        assert getattr(read(**{name: value}, **others), name) == value

    def test_fractions(self) -> None:
        """Times may have fractions."""
        assert read(hello_timeout="0.5").hello_timeout == 0.5


class TestFlags:
    @every(text=["1", "true", "True", "yes", "on", "ON"], name=FLAGS)
    def test_on(self, name: str, text: str) -> None:
        """There are some words for on."""
        assert getattr(read(**{name: text}), name) is True

    @every(text=["0", "false", "no", "off", "OFF", ""], name=FLAGS)
    def test_off(self, name: str, text: str) -> None:
        """There are some words for off."""
        assert getattr(read(**{name: text}), name) is False

    @every(text=["2", "maybe", "enabled", " 1"], name=FLAGS)
    def test_neither(self, name: str, text: str) -> None:
        """Another word is not guessed at."""
        assert "neither" in refusal(**{name: text})


class TestText:
    def test_bind(self) -> None:
        """The setting is read as an address."""
        assert read(bind="unix:/run/notifier.sock").bind == "unix:/run/notifier.sock"
        assert read(bind="localhost").bind == "localhost:8080"
        refusal(bind="127.0.0.1:99999")

    @rows("bind", ["0.0.0.0:8080", "[::]:8080", ":8080", "192.0.2.1", "host.example"])
    def test_development(self, bind: str) -> None:
        """Development mode listens on this machine only, unless a setting allows others."""
        assert "NOTIFIER_DEV_ANYWHERE" in refusal(dev=1, bind=bind)
        assert read(dev=1, bind=bind, dev_anywhere=1).dev
        assert read(dev=0, bind=bind).bind
        assert read(dev=1, bind="127.0.0.1:9000").dev

    def test_cookie(self) -> None:
        """The setting is read as the name of a cookie."""
        assert read(cookie="__Host-session").cookie == "__Host-session"
        refusal(cookie="a b")

    def test_path(self) -> None:
        """A directory is a path."""
        assert read(data_dir="/var/lib/notifier").data_dir == Path("/var/lib/notifier")

    @rows("url", ["", "redis://localhost", "redis://:pw@host:6379/0", "rediss://host", "unix:///run/redis.sock"])
    def test_redis_url(self, url: str) -> None:
        """Redis is reached over TCP, TLS or a Unix socket; without a URL there is an embedded one."""
        assert read(redis_url=url).redis_url == url

    @rows("url", ["localhost", "localhost:6379", "http://localhost", "/run/redis.sock"])
    def test_wrong_redis_url(self, url: str) -> None:
        """Another URL is refused with those that would do."""
        assert "redis://" in refusal(redis_url=url)

    @rows("url", ["redis://[", "redis://[secret]", "redis://host:secret", "redis://:a:secret/b@host"])
    def test_broken_redis_url(self, url: str) -> None:
        """A text that is not a URL is rejected, without showing what may be a part of the password."""
        text = refusal(redis_url=url)
        assert "is not a URL" in text or "percent-encoded" in text
        assert "secret" not in text

    @rows("prefix", ["", "a b", "a:b", "{a", "a}"])
    def test_prefix(self, prefix: str) -> None:
        """The prefix of all keys is a word that makes no hash tag."""
        refusal(redis_prefix=prefix)
        assert read(redis_prefix="my-app").redis_prefix == "my-app"

    @rows("level", ["", "INFO", "verbose", "critical"])
    def test_log_level(self, level: str) -> None:
        """There are four levels of logging."""
        refusal(log_level=level)
        assert read(log_level="debug").log_level == "debug"

    def test_origins(self) -> None:
        """A list is separated by commas; blanks and empty items do not count."""
        assert read(allowed_origins="https://a.example, https://b.example,,").allowed_origins == (
            "https://a.example",
            "https://b.example",
        )
        assert read(allowed_origins="").allowed_origins == ()

    @rows("text", ["10.0.0.1/8", "proxy", "*"])
    def test_proxies(self, text: str) -> None:
        """The setting is read as networks, and unix for Unix sockets."""
        assert read(trusted_proxies="127.0.0.1, unix").trusted_proxies.has_unix
        assert not read(trusted_proxies="").trusted_proxies
        assert "must list networks" in refusal(trusted_proxies=text)

    @rows(("deadline", "heartbeat"), [(2, 2), (2, 3)])
    def test_deadline(self, deadline: int, heartbeat: int) -> None:
        """A heartbeat must be able to come before its deadline."""
        refusal(broker_deadline=deadline, broker_heartbeat=heartbeat)


class TestApiKeys:
    def test_plain(self) -> None:
        """The setting is read as API keys."""
        assert read(api_keys=f"shop:{KEY}").api_keys == (ApiKey("shop", KEY),)

    @rows("text", ["shop:short", f"shop:{KEY},shop:{OTHER_KEY}", f"{KEY}", "[", '[{"id": "shop"}]'])
    def test_wrong(self, text: str) -> None:
        """A wrong value is rejected, and no secret is repeated in the message."""
        assert KEY not in refusal(api_keys=text)


class TestFiles:
    def test_read(self, tmp_path: Path) -> None:
        """Keys and secrets are read from files, with one entry per line, or as the variables have them."""
        keys, secrets = tmp_path / "keys", tmp_path / "secrets"
        secrets.write_text(f"\n# the first signs\n {SECRET} \n{OTHER_SECRET}\n")
        for text in (f"shop:{KEY}\n", f'\n[{{"id": "shop",\n "secret": "{KEY}"}}]\n'):
            keys.write_text(text)
            settings = Settings.from_environ(variables(api_keys_file=keys, token_secrets_file=secrets))
            assert settings.auth.api_keys == (ApiKey("shop", KEY),)
            assert settings.auth.token_secrets == (SECRET, OTHER_SECRET)
            assert settings.require_secrets() is settings

    @pytest.mark.parametrize("name", ["api_keys", "token_secrets"])
    def test_both(self, tmp_path: Path, name: str) -> None:
        """A variable and its file at the same time are a mistake."""
        file = tmp_path / "file"
        file.write_text(f"shop:{KEY}{KEY}")
        said = refusal(**{f"{name}_file": file, name: f"shop:{KEY}{KEY}"})
        assert "both set" in said and KEY not in said

    @pytest.mark.parametrize("data", [b"", b" \n", b"short", b"\xff" * 40, b"x" * (1 << 20) + b"xx"])
    @pytest.mark.parametrize("name", ["api_keys", "token_secrets"])
    def test_wrong(self, tmp_path: Path, name: str, data: bytes) -> None:
        """A file that has no list is rejected, and the setting of the file is named."""
        file = tmp_path / "file"
        file.write_bytes(data)
        said = refusal(**{f"{name}_file": file})
        assert "short" not in said.replace(str(file), "")

    def test_unreadable(self, tmp_path: Path) -> None:
        """A file that is not there, or is a folder, is named."""
        for path in (tmp_path / "nothing", tmp_path):
            assert str(path) in refusal(api_keys_file=path)

    def test_mode(self, tmp_path: Path) -> None:
        """A file that every user can write to is rejected; one that every user can read is found."""
        file = tmp_path / "keys"
        file.write_text(f"shop:{KEY}")
        for mode, exposed in ((0o600, False), (0o640, False), (0o660, False), (0o644, True)):
            file.chmod(mode)
            assert read(api_keys_file=file).api_keys
            assert Settings.from_environ(variables(api_keys_file=file)).exposed_files == ([file] if exposed else [])
        file.chmod(0o602)
        assert "chmod o-w" in refusal(api_keys_file=file)


class TestSecrets:
    def test_rotation(self) -> None:
        """There may be several secrets, in the order in which they are given; their length counts in bytes."""
        assert read(token_secrets=f"{SECRET}, {OTHER_SECRET}").token_secrets == (SECRET, OTHER_SECRET)

    @rows("text", ["short", "x" * 31, f"{SECRET},short"])
    def test_short(self, text: str) -> None:
        """A short secret is refused, and none is repeated in the message."""
        said = refusal(token_secrets=text)
        assert "32" in said
        assert text not in said

    def test_required(self) -> None:
        """A service needs a key and a secret; the missing one is named."""
        with pytest.raises(SettingError, match="NOTIFIER_API_KEYS"):
            Settings.of(token_secrets=(SECRET,)).require_secrets()
        with pytest.raises(SettingError, match="NOTIFIER_TOKEN_SECRETS"):
            Settings.of(api_keys=(ApiKey("shop", KEY),)).require_secrets()
        issuer = '[{"issuer": "x", "jwks_url": "https://x.example"}]'
        only_issuers = Settings.from_environ(variables(api_keys=f"shop:{KEY}", token_issuers=issuer))
        assert only_issuers.require_secrets() is only_issuers
        complete = Settings.from_environ(variables(api_keys=f"shop:{KEY}", token_secrets=SECRET))
        assert complete.require_secrets() is complete


class TestTokens:
    def test_policy(self) -> None:
        """The claims that tokens of a secret must have come from the settings."""
        assert AuthSettings().policy == Policy(tenant_claim="tenant")
        given = {"token_issuer": "us", "token_audience": "a, b", "max_token_age": 60, "token_user_claim": "/x/y"}
        settings = Settings.from_environ(
            variables(**given, token_topics_claim="t", token_publish_claim="p", token_tenant_claim="c")
        )
        assert settings.auth.policy == Policy("us", ("a", "b"), 60, "/x/y", "t", "p", tenant_claim="c")

    @rows("name", [f"token_{kind}_claim" for kind in ("user", "topics", "publish", "tenant")])
    def test_claims(self, name: str) -> None:
        """A claim has a name."""
        assert "must name a claim" in refusal(**{name: ""})

    @rows(
        "claims",
        [
            {"token_user_claim": "a", "token_topics_claim": "/a/b"},
            {"token_user_claim": "/a/b", "token_topics_claim": "a"},
            {"token_topics_claim": "/a/b", "token_publish_claim": "/a/b/c"},
            {"token_topics_claim": "rights", "token_publish_claim": "/rights"},
            {"token_user_claim": "tenant"},
            {"token_tenant_claim": "/sub/tenant"},
            *(
                {"token_user_claim": name}
                for name in ("exp", "/exp/x", "iat", "iss", "/jti/id", "nbf", "aud", "/aud/0")
            ),
        ],
    )
    def test_claims_that_overlap(self, claims: dict[str, str]) -> None:
        """Claims that no token can have both are rejected at the start, not when a token is issued."""
        with pytest.raises(SettingError, match=r"NOTIFIER_TOKEN_\.\.\._CLAIM"):
            read(**claims)

    @rows(
        "claims",
        [
            {"token_user_claim": "/a/b", "token_topics_claim": "/a/c", "token_publish_claim": "/a/cc"},
            {"token_user_claim": "a/b", "token_topics_claim": "a"},
            {"token_user_claim": "/user", "token_topics_claim": "https://example.org/topics"},
        ],
    )
    def test_claims_side_by_side(self, claims: dict[str, str]) -> None:
        """A token has claims that are in the same object."""
        policy = Settings.from_environ(variables(**claims)).auth.policy
        token = identity.sign("alice", SECRET, 100, ("t",), ("p",), tenant="acme", policy=policy)
        found = identity.verify(token, (SECRET,), 50, policy)
        assert (found.user, found.topics, found.publish) == ("acme\x1falice", ("t",), ("p",))

    @rows(
        "text, said",
        [
            ("x", "is not a JSON list of objects"),
            ('[{"issuer": "x"}]', "needs either jwks_url or jwks for x"),
            ('[{"issuer": "x", "jwks_url": "http://x.example"}]', "https://"),
            ('[{"issuer": "x", "jwks_url": "https://x.example", "algorithms": ["HS256"]}]', "unknown algorithms"),
        ],
    )
    def test_issuers(self, text: str, said: str) -> None:
        """A mistake in the issuers is a sentence that begins with the variable."""
        text = refusal(token_issuers=text)
        assert text.startswith("NOTIFIER_TOKEN_ISSUERS ") and said in text

    def test_together(self) -> None:
        """Keys are bound to their issuer, and are used for longer than until the next request for them."""
        issuers = '[{"issuer": "x", "jwks_url": "https://x.example"}]'
        assert "NOTIFIER_TOKEN_ISSUERS" in refusal(token_issuer="x", token_issuers=issuers)
        assert "NOTIFIER_JWKS_REFRESH" in refusal(jwks_max_age=60, jwks_refresh=60)


class TestDerived:
    def test_connection_limit(self) -> None:
        """Without a limit the open files are one, less a reserve."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        http = min(4000, files // 4)
        assert ConnectionSettings().http_limit == http
        assert ConnectionSettings().connection_limit == max(files - RESERVED_FILES - http, 1)
        assert ConnectionSettings(max_connections=7).connection_limit == 7
        assert ConnectionSettings(max_http_connections=7).http_limit == 7
        assert ConnectionSettings(max_http_connections=7).connection_limit == max(files - RESERVED_FILES - 7, 1)

    def test_history_age(self) -> None:
        """Topics keep their history for another time than users and all do; it is in milliseconds."""
        settings = BrokerSettings(user_history_age=100, topic_history_age=60)
        assert settings.history_age("topic:user:a") == 60_000
        assert settings.history_age("user:topic:a") == settings.history_age("all") == 100_000


def test_variables_of_kubernetes() -> None:
    """The variables that Kubernetes sets for a service called notifier are neither settings nor errors."""
    foreign = {"NOTIFIER_PORT": "tcp://10.0.0.1:80", "NOTIFIER_PORT_80_TCP": "x", "NOTIFIER_SERVICE_HOST": "10.0.0.1"}
    assert Settings.from_environ(foreign) == Settings.from_environ({})


def test_variables_of_clients() -> None:
    """The variables of clients and the command line are not settings of the service, which the same shell may start."""
    of_clients = {"NOTIFIER_URL": "http://127.0.0.1", "NOTIFIER_API_KEY": "x", "NOTIFIER_TOKEN": "x"}
    assert Settings.from_environ(of_clients) == Settings.from_environ({})
