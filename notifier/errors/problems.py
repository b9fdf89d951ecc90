"""Problems: errors that answer one request or one frame. The connection stays open."""

from notifier.errors.problem import Problem


class BadRequest(Problem):
    """The request is not valid HTTP or not a valid WebSocket upgrade, or its URL has an invalid name or parameter."""

    status, code, title = 400, "bad_request", "The request is malformed."
    remedy = "Correct the request."


class MalformedJson(Problem):
    """The body is not a JSON object, or not UTF-8."""

    status, code, title = 400, "malformed_json", "The body is not a JSON object."
    remedy = "Correct the body."


class IncompleteBody(Problem):
    """The body was cut off, or is shorter than its `Content-Length`."""

    status, code, title = 400, "incomplete_body", "The body is incomplete."
    remedy = "Send the request again; if it is a publication, use the same `Idempotency-Key`."


class InvalidApiKey(Problem):
    """The API key is missing, unknown, revoked or expired."""

    status, code, title = 401, "invalid_api_key", "A valid API key is required."
    remedy = "Send `Authorization: Bearer <api key>`."


class InvalidToken(Problem):
    """The token is missing, was revoked, is not a JWT signed with an accepted key, or has invalid claims."""

    status, code, title = 401, "invalid_token", "The token is not valid."
    remedy = "Check the key that signs the token, and the token's claims; or fetch a new token."


class TokenExpired(Problem):
    """The token has expired."""

    status, code, title = 401, "token_expired", "The token has expired."
    remedy = "Fetch a new token."


class Forbidden(Problem):
    """The API key or token is valid, but does not allow this."""

    status, code, title = 403, "forbidden", "This is not allowed."
    remedy = "Use a key or token with the required scope, topic or user."


class ForeignOrigin(Problem):
    """The cookie was sent by a page whose origin is not allowed."""

    status, code, title = 403, "foreign_origin", "This origin may not use the cookie."
    remedy = "Add the origin to `NOTIFIER_ALLOWED_ORIGINS`."


class NotFound(Problem):
    """The path, the notification or the API key does not exist, or is no longer stored."""

    status, code, title = 404, "not_found", "Not found."
    remedy = "Check the path or the id."


class MethodNotAllowed(Problem):
    """The path exists, but does not support the method."""

    status, code, title = 405, "method_not_allowed", "This path does not support the method."
    remedy = "Use a method that the `Allow` header lists."


class RequestTimeout(Problem):
    """The request's head or body did not arrive in time."""

    status, code, title = 408, "request_timeout", "The request is too slow."
    remedy = (
        "Send the request again, and check that the client and its proxies send the whole request without pauses; if "
        "it is a publication, use the same `Idempotency-Key`."
    )


class IdempotencyInFlight(Problem):
    """The first request with this idempotency key is still running."""

    status, code, title = 409, "idempotency_in_flight", "The first request with this key is still running."
    remedy = "Retry after `retry_after` seconds."


class KeyRotating(Problem):
    """The API key already has two secrets, because the older one is still accepted."""

    status, code, title = 409, "key_rotating", "The key is being rotated."
    remedy = (
        "Wait until `old_secret_until`, or rotate with an `overlap` of 0, which invalidates both existing secrets and "
        "leaves only the new one."
    )


class KeyChanged(Problem):
    """Another request changed the API key at the same time."""

    status, code, title = 409, "key_changed", "The key was changed by another request."
    remedy = "List the keys to see its current state, then retry."


class PreconditionFailed(Problem):
    """The ETag in `If-Match` is stale."""

    status, code, title = 412, "precondition_failed", "The resource has changed."
    remedy = "Fetch again without `If-Match`."


class BodyTooLarge(Problem):
    """The body, or one line of it, exceeds the limit."""

    status, code, title = 413, "body_too_large", "The body is too large."
    remedy = "Shorten the body, or send its lines in several requests."


class UrlTooLong(Problem):
    """The request line, which contains the URL, exceeds the limit."""

    status, code, title = 414, "url_too_long", "The URL is too long."
    remedy = "Name fewer topics, or use a WebSocket."


class UnsupportedMediaType(Problem):
    """The content type is neither JSON nor NDJSON, or the body is compressed."""

    status, code, title = 415, "unsupported_media_type", "The body must be JSON."
    remedy = "Set `Content-Type`; send no `Content-Encoding`."


class MisdirectedRequest(Problem):
    """The request's host does not match any URL in `NOTIFIER_PUBLIC_URL`."""

    status, code, title = 421, "misdirected_request", "The service has another name."
    remedy = "Use the public URL, and check that the proxy forwards `Host`."


class InvalidNotification(Problem):
    """A field of the notification is missing, unknown or not valid."""

    status, code, title = 422, "invalid_notification", "The notification is not valid."
    remedy = "Correct the fields listed in `errors`."


class InvalidIdempotencyKey(Problem):
    """The idempotency key is empty, longer than 255 characters, or not printable ASCII."""

    status, code, title = 422, "invalid_idempotency_key", "The idempotency key is not valid."
    remedy = "Use another key."


class IdempotencyMismatch(Problem):
    """The idempotency key was already used with a different body."""

    status, code, title = 422, "idempotency_mismatch", "The key was already used with a different body."
    remedy = "Use a new key for each new request."


class InvalidFrame(Problem):
    """The frame has an unknown type or an invalid field."""

    status, code, title = 422, "invalid_frame", "The frame is not valid."
    remedy = "Correct the client."


class InvalidInboxAction(Problem):
    """A field of the inbox action is missing, unknown or not valid."""

    status, code, title = 422, "invalid_inbox_action", "The inbox action is not valid."
    remedy = "Correct the fields listed in `errors`."


class InvalidTokenRequest(Problem):
    """A field of the token request or revocation is missing, unknown or not valid."""

    status, code, title = 422, "invalid_token_request", "The request for tokens is not valid."
    remedy = "Correct the fields listed in `errors`."


class InvalidKeyRequest(Problem):
    """A field of the API key request or rotation is missing, unknown or not valid."""

    status, code, title = 422, "invalid_key_request", "The request for a key is not valid."
    remedy = "Correct the fields listed in `errors`."


class TooManyKeys(Problem):
    """The service or tenant has reached its limit on API keys (`NOTIFIER_MAX_KEYS`, `NOTIFIER_MAX_TENANT_KEYS`)."""

    status, code, title = 422, "too_many_keys", "There are too many keys."
    remedy = "Revoke unused keys, or raise the limit."


class TooManyRevocations(Problem):
    """The key or tenant has used up its share of `NOTIFIER_MAX_REVOCATIONS`, or the whole capacity is used up."""

    status, code, title = 422, "too_many_revocations", "Too many tokens are revoked."
    remedy = (
        "Revoke with the operator's key (no tenant, all grants, `admin` and `tokens` scopes), raise the limit, or "
        "replace the secret that signs the tokens. Each revocation is stored for about `NOTIFIER_MAX_TOKEN_AGE`."
    )


class InvalidMembers(Problem):
    """A field of the membership change is missing, unknown or not valid."""

    status, code, title = 422, "invalid_members", "The membership change is not valid."
    remedy = "Correct the fields listed in `errors`."


class TooManyMemberships(Problem):
    """The user has reached the limit on topic memberships (`NOTIFIER_MAX_MEMBERSHIPS`)."""

    status, code, title = 422, "too_many_memberships", "The user is a member of too many topics."
    remedy = "Remove the user from another topic."


class TooManySubscriptions(Problem):
    """The connection has reached the limit on topics (`NOTIFIER_MAX_SUBSCRIPTIONS`)."""

    status, code, title = 422, "too_many_subscriptions", "The connection has too many topics."
    remedy = "Unsubscribe from another topic."


class UpgradeRequired(Problem):
    """A WebSocket handshake lacks `Upgrade` or has the wrong version, or a request to `/v1/echo` is not a handshake."""

    status, code, title = 426, "upgrade_required", "A valid WebSocket upgrade is required."
    remedy = "Connect with a WebSocket client, and check that the proxy passes `Upgrade`."


class RateLimited(Problem):
    """An IP address, a user or an API key has exceeded the limit named in `limit`."""

    status, code, title = 429, "rate_limited", "A limit was exceeded."
    remedy = "Retry after `retry_after` seconds, or raise the limit in the settings."


class QuotaExceeded(Problem):
    """A user, an API key or a tenant has used up the daily quota named in `limit`. Days are in UTC."""

    status, code, title = 429, "quota_exceeded", "A quota is used up."
    remedy = "Retry after `retry_after` seconds (when the next day begins), or raise the quota in the settings."


class HeadTooLarge(Problem):
    """The request's headers exceed the limit."""

    status, code, title = 431, "head_too_large", "The headers are too large."
    remedy = "Use topic patterns instead of topic names in the token, or send the token in `hello`; send fewer cookies."


class InternalError(Problem):
    """The service failed unexpectedly."""

    status, code, title = 500, "internal_error", "The service failed."
    remedy = "Search the service's log for the `request_id`."


class TooManyConnections(Problem):
    """The worker has reached its connection limit."""

    status, code, title = 503, "too_many_connections", "The service is full."
    remedy = "Reconnect after `retry_after` seconds."


class IssuerUnavailable(Problem):
    """The service does not have the token issuer's keys, and cannot fetch them now."""

    status, code, title = 503, "issuer_unavailable", "The token issuer's keys are unavailable."
    remedy = "Retry after `retry_after` seconds; if the error persists, search the service's log for the issuer."


class BrokerUnavailable(Problem):
    """Redis, the broker, cannot be reached, is too slow, or rejects writes; or the worker is starting or stopping."""

    status, code, title = 503, "broker_unavailable", "The broker is unavailable."
    remedy = "Retry later; if the request is a publication, use the same `Idempotency-Key`."
