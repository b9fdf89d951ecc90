"""Settings: a frozen dataclass for each room, all read once from one environment.

The variable of a field is `NOTIFIER_` and the field's name in capitals. Every field has its unit, its default and what
it is for; `docs/settings.md` lists them, and a test compares the two.
"""

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from notifier import secret_file, variables
from notifier.connection_settings import RESERVED_FILES, ConnectionSettings
from notifier.limit_settings import LimitSettings
from notifier.protocol import api_key, identity, issuer, origin
from notifier.protocol.api_key import ApiKey
from notifier.protocol.issuer import Issuer
from notifier.protocol.token_policy import MAX_AGE, Policy
from notifier.setting import setting as _setting

__all__ = [
    "PREFIX",
    "RESERVED_FILES",
    "AuthSettings",
    "BrokerSettings",
    "ConnectionSettings",
    "InboxSettings",
    "LimitSettings",
    "PublishingSettings",
    "ServerSettings",
    "SettingError",
    "Settings",
]

PREFIX = "NOTIFIER_"
_FOREIGN = ("NOTIFIER_PORT", "NOTIFIER_SERVICE_")  # Kubernetes sets them for a service that is called notifier
_OF_CLIENTS = ("NOTIFIER_URL", "NOTIFIER_API_KEY", "NOTIFIER_TOKEN")  # the same shell may start a client


class SettingError(ValueError):
    """A variable has a value that cannot be used. The text names the variable and says which values are allowed."""


@dataclass(frozen=True)
class ServerSettings:
    """The processes: addresses, files, logs."""

    bind: str = _setting("127.0.0.1:8080", "address", "Where to listen: host:port, or unix:/path.", variables.address)
    workers: int = _setting(os.cpu_count() or 1, "processes", "Number of workers; the default is the cores.", int, 1)
    data_dir: Path = _setting(
        Path(".notifier"), "path", "Where the embedded Valkey and development mode store their files.", Path
    )
    dev: bool = _setting(False, "0 or 1", "Development mode: demo page, generated key and secret.", variables.flag)
    dev_anywhere: bool = _setting(False, "0 or 1", "Allow development mode beyond this machine.", variables.flag)
    log_level: str = _setting("info", "name", "debug, info, warning or error.", variables.log_level)


@dataclass(frozen=True)
class BrokerSettings:
    """Redis, and what is stored there."""

    redis_url: str = _setting(
        "", "URL", "Redis >= 7.0 or Valkey >= 7.2. Empty: an embedded Valkey is started.", variables.redis_url
    )
    redis_prefix: str = _setting("n", "text", "The beginning of the names of all keys.", variables.key_prefix)
    redis_timeout: float = _setting(
        3.0, "seconds", "How long a command may take before the response is 503.", float, 0.1
    )
    min_replicas: int = _setting(
        0, "replicas", "How many replicas must have a publication or a recall before it is acknowledged.", int, 0
    )
    broker_heartbeat: float = _setting(
        2.5, "seconds", "How often a worker sends itself a heartbeat through Redis.", float, 0.1
    )
    broker_deadline: float = _setting(
        10.0, "seconds", "How long a worker waits for a heartbeat before it reconnects.", float, 0.5
    )
    max_history: int = _setting(1000, "notifications", "Most notifications that a channel stores.", int, 1)
    user_history_age: int = _setting(
        2592000, "seconds", "How long the channels of users and `all` store a notification.", int, 60
    )
    topic_history_age: int = _setting(86400, "seconds", "How long topics store a notification.", int, 60)
    idempotency_age: int = _setting(86400, "seconds", "How long an Idempotency-Key is stored.", int, 60)
    idempotency_lease: int = _setting(
        30, "seconds", "How long a request with a key may run before a retry takes it over.", int, 1
    )

    def history_age(self, channel: str) -> int:
        """Return how long a channel stores a notification, in milliseconds."""
        return 1000 * (self.topic_history_age if channel.startswith("topic:") else self.user_history_age)


@dataclass(frozen=True)
class AuthSettings:
    """API keys of backends, and tokens of users."""

    api_keys: tuple[ApiKey, ...] = _setting(
        (), "list", "Keys of backends: id:secret,id:secret with every scope, or a JSON list.", api_key.parse
    )
    api_keys_file: str = _setting("", "path", "File with such a list of keys, instead of the variable.")
    max_keys: int = _setting(10000, "keys", "Most API keys that are managed at run time.", int, 1)
    max_tenant_keys: int = _setting(1000, "keys", "Most of them that a tenant has.", int, 1)
    max_revocations: int = _setting(100000, "revocations", "Most revocations of tokens that are stored.", int, 100)
    max_audit_entries: int = _setting(100000, "entries", "Most entries of the audit log, about.", int, 100)
    metrics_key: str = _setting(
        "", "text", "Key with which Prometheus reads /metrics, and nothing else.", api_key.parse_secret
    )
    token_secrets: tuple[str, ...] = _setting(
        (),
        "list",
        "Secrets of the users' tokens, comma separated: the first signs, all verify.",
        identity.parse_secrets,
    )
    token_secrets_file: str = _setting("", "path", "File with such a list of secrets, instead of the variable.")
    token_issuer: str = _setting("", "text", "Required iss of tokens signed with a secret. Empty: anything.")
    token_audience: tuple[str, ...] = _setting(
        (),
        "list",
        "Accepted audiences of tokens signed with a secret. Empty: tokens with an aud are rejected.",
        variables.words,
    )
    token_user_claim: str = _setting("sub", "claim", "The claim that names the user.", variables.claim)
    token_topics_claim: str = _setting(
        "topics", "claim", "The claim with the topics that the user may read.", variables.claim
    )
    token_publish_claim: str = _setting(
        "publish", "claim", "The claim with those that they may publish to.", variables.claim
    )
    token_tenant_claim: str = _setting(
        "tenant", "claim", "The claim with the tenant that the token is confined to.", variables.claim
    )
    max_token_age: int = _setting(
        MAX_AGE, "seconds", "Greatest lifetime of a token; revocations are stored for as long.", int, 60
    )
    token_issuers: tuple[Issuer, ...] = _setting(
        (), "list", "Issuers of tokens with public keys, such as Auth0 or Keycloak: a JSON list.", issuer.parse
    )
    jwks_refresh: float = _setting(300.0, "seconds", "How often the keys of each issuer are fetched.", float, 10)
    jwks_max_age: float = _setting(
        86400.0, "seconds", "How long keys are used that can no longer be fetched.", float, 60
    )
    cookie: str = _setting("notifier_token", "name", "Cookie that may contain a user's token.", variables.cookie_name)
    allowed_origins: tuple[str, ...] = _setting(
        (), "list", "Other origins than the service's own whose pages may use the cookie.", origin.parse
    )
    public_url: tuple[str, ...] = _setting(
        (), "list", "URLs by which clients reach the service: other hosts are rejected.", origin.parse_urls
    )

    @property
    def policy(self) -> Policy:
        """The required claims of tokens that are signed with a secret."""
        claims = self.token_user_claim, self.token_topics_claim, self.token_publish_claim
        tenant_claim = self.token_tenant_claim
        return Policy(self.token_issuer, self.token_audience, self.max_token_age, *claims, tenant_claim=tenant_claim)


@dataclass(frozen=True)
class PublishingSettings:
    """Limits of publications."""

    max_notification_bytes: int = _setting(65536, "bytes", "Longest notification, as posted.", int, 256)
    max_batch_bytes: int = _setting(16777216, "bytes", "Longest NDJSON body.", int, 1024)
    max_batch_lines: int = _setting(50000, "lines", "Most lines of an NDJSON body.", int, 1)
    max_users: int = _setting(1000, "users", "Most users that one publication may name.", int, 1)
    max_topics: int = _setting(100, "topics", "Most topics that one publication may name.", int, 1)
    client_publish_rate: float = _setting(
        10.0, "per second", "How often a user may publish, on all connections; twice that at once.", float, 0.1
    )


@dataclass(frozen=True)
class InboxSettings:
    """Limits of inboxes and of the members of topics."""

    max_inbox_ids: int = _setting(1000, "ids", "Most notifications that an action on the inbox may name.", int, 1)
    max_memberships: int = _setting(100, "topics", "Most topics that a user may be a member of.", int, 1)
    max_members_per_request: int = _setting(1000, "users", "Most users that a membership change may name.", int, 1)


@dataclass(frozen=True)
class Settings:
    """All settings. Sizes are in bytes and times in seconds unless the unit says otherwise."""

    server: ServerSettings = ServerSettings()
    broker: BrokerSettings = BrokerSettings()
    auth: AuthSettings = AuthSettings()
    publishing: PublishingSettings = PublishingSettings()
    inbox: InboxSettings = InboxSettings()
    connections: ConnectionSettings = ConnectionSettings()
    limits: LimitSettings = LimitSettings()

    @classmethod
    def described(cls) -> dict[str, Field[Any]]:
        """Return the fields of all rooms, by name, in the order of the documentation."""
        return {item.name: item for room in _rooms().values() for item in fields(room)}

    @classmethod
    def of(cls, **values: Any) -> "Settings":
        """Return settings with these values, by the names of their fields; all others have their defaults."""
        rooms = {}
        for name, room in _rooms().items():
            rooms[name] = room(**{item.name: values.pop(item.name) for item in fields(room) if item.name in values})
        if values:
            raise TypeError(f"There is no setting {', '.join(values)}.")
        return cls(**rooms)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Return the settings of an environment.

        Raises:
            SettingError: a variable is unknown or has a wrong value.
        """
        known = {PREFIX + name.upper(): item for name, item in cls.described().items()}
        values = {}
        for variable in sorted(filter(_is_ours, environ)):
            if variable not in known:
                raise SettingError(f"{variable} is not a setting of Notifier; docs/settings.md lists them.")
            item = known[variable]
            values[item.name] = _read(variable, environ[variable], item.metadata)
        for name in ("api_keys", "token_secrets"):
            if values.get(f"{name}_file"):
                values[name] = _read_file(name, values, known[PREFIX + name.upper()].metadata)
        return cls.of(**values)._checked()

    @property
    def exposed_files(self) -> list[Path]:
        """The files with secrets that every user of the machine can read."""
        files = [Path(name) for name in (self.auth.api_keys_file, self.auth.token_secrets_file) if name]
        return list(filter(secret_file.is_exposed, files))

    def require_secrets(self) -> "Settings":
        """Return the settings if they contain an API key, and a token secret or an issuer.

        Raises:
            SettingError
        """
        if not self.auth.api_keys:
            raise SettingError(
                "NOTIFIER_API_KEYS is not set: set it to id:secret for each service that publishes, "
                "or set NOTIFIER_DEV=1 to try the service."
            )
        if not self.auth.token_secrets and not self.auth.token_issuers:
            raise SettingError(
                "NOTIFIER_TOKEN_SECRETS is not set: set it to a secret of at least "
                f"{identity.MIN_SECRET} bytes, with which your backend signs the users' tokens, "
                "or set NOTIFIER_TOKEN_ISSUERS."
            )
        return self

    def _checked(self) -> "Settings":
        server, broker = self.server, self.broker
        if server.dev and not (server.dev_anywhere or variables.is_loopback(server.bind)):
            raise SettingError("NOTIFIER_DEV shows an API key: bind to 127.0.0.1, or set NOTIFIER_DEV_ANYWHERE=1.")
        if broker.broker_deadline <= broker.broker_heartbeat:
            raise SettingError("NOTIFIER_BROKER_DEADLINE must be longer than NOTIFIER_BROKER_HEARTBEAT.")
        auth = self.auth
        if auth.jwks_max_age <= auth.jwks_refresh:
            raise SettingError("NOTIFIER_JWKS_MAX_AGE must be longer than NOTIFIER_JWKS_REFRESH.")
        if auth.token_issuer in {each.name for each in auth.token_issuers}:
            raise SettingError("NOTIFIER_TOKEN_ISSUER must not be one of NOTIFIER_TOKEN_ISSUERS.")
        if conflict := auth.policy.conflict:
            raise SettingError(
                "The NOTIFIER_TOKEN_..._CLAIM settings must name different claims, none within another and none of "
                f"exp, iat, iss, jti, nbf and aud: {conflict[0]} and {conflict[1]} cannot both be in a token."
            )
        return self


def _rooms() -> dict[str, Any]:
    """Return the dataclasses of the rooms, by the names of the fields of `Settings`."""
    return {item.name: item.type for item in fields(Settings)}


def _is_ours(variable: str) -> bool:
    return variable.startswith(PREFIX) and not variable.startswith(_FOREIGN) and variable not in _OF_CLIENTS


def _read_file(name: str, values: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
    """Return the value of a setting whose text is in a file."""
    variable, path = f"{PREFIX}{name.upper()}_FILE", Path(values[f"{name}_file"])
    if values.get(name):
        raise SettingError(f"{variable} and {PREFIX}{name.upper()} are both set: use one of them.")
    try:
        text = secret_file.read(path)
    except ValueError as error:
        raise SettingError(f"{variable} {error}.") from error
    return _read(variable, text, metadata)


def _read(variable: str, text: str, metadata: Mapping[str, Any]) -> Any:
    try:
        return variables.read(text, metadata["read"], metadata["least"], metadata["unit"])
    except ValueError as error:
        raise SettingError(f"{variable} {error}. {metadata['help']}") from error
