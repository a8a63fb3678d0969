"""Decide where a notification goes, whether it arrived, and when to try again."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from deployer.deploy.release import Record
from deployer.deploy.verification import Answer
from deployer.errors import NotificationFailed
from deployer.notify import slack, webhook

_FIRST, _LONGEST = 60, 3600  # seconds between two attempts
_QUEUE = 43_200  # seconds for which SQS hides a message, at most
_KEY = range(24, 65)  # bytes, as Standard Webhooks wants
_TOKEN = re.compile(r"(github_pat|gh[a-z])_[A-Za-z0-9_]{20,}")
_GITHUB = "must be a token alone, such as github_pat_…, without a line break"
_SLACK = "must be the URL of an incoming webhook, such as https://hooks.slack.com/services/…"
_WEBHOOK = (
    'must be JSON, such as {"url": "https://example.com/hooks", "keys": ["whsec_…"]}: an https URL,'
    " and one or two keys of 24 to 64 bytes in base64"
)


class Request(NamedTuple):
    """A POST request. Its URL may be a secret."""

    url: str
    headers: dict[str, str]
    body: bytes


def request(
    to: str, secret: str, event: Mapping[str, Any], records: Sequence[Record], now: int
) -> Request | None:
    """Return the request that delivers an event; None if there is nothing to say.

    Args:
        to: slack or webhook.
        secret: as docs/notifications.md describes it.
        event: EventBridge's.
        records: the service's, newest first.
        now: seconds since 1970.
    Raises:
        NotificationFailed: the secret is not what it must be.
    """
    headers = {"Content-Type": "application/json"}
    if problem := invalid(to, secret):
        raise NotificationFailed(f"the secret of {to} {problem}")
    if to == "slack":
        message = slack.message(event, records)
        if message is None:
            return None
        return Request(secret.strip(), headers, json.dumps(message).encode())
    target = json.loads(secret)
    payload = webhook.body(event)
    keys = [_key(key) for key in target["keys"]]
    return Request(
        target["url"], headers | webhook.headers(event["id"], now, payload, keys), payload
    )


def invalid(to: str, secret: str) -> str | None:
    """Return why a secret cannot be used; None if it can. Never with anything of it.

    Args:
        to: slack, webhook or github.
    """
    if to == "github":
        return None if _TOKEN.fullmatch(secret) else _GITHUB
    if to == "slack":
        return None if _is_https(secret.strip()) else _SLACK
    try:
        target = json.loads(secret)
        keys = [len(_key(key)) for key in target["keys"]]
        fits = _is_https(target["url"]) and 1 <= len(keys) <= 2 and set(keys) <= {*_KEY}
    except (ValueError, TypeError, KeyError, AttributeError):
        return _WEBHOOK
    return None if fits else _WEBHOOK


def _is_https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and url.isascii() and url.isprintable()


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return b""


def refusal(answer: Answer | None) -> str | None:
    """Return why a notification did not arrive; None if it did."""
    if answer is None:
        return "did not answer"
    if 200 <= answer.status < 300:
        return None
    text = answer.body[:200].decode(errors="replace").strip()
    hint = {
        **dict.fromkeys((301, 302, 303, 307, 308), "redirects are not followed"),
        **dict.fromkeys((401, 403), "the secret may have expired"),
        **dict.fromkeys((404, 410), "the address is not there"),
        429: "too many requests",
    }.get(answer.status)
    return ": ".join(part for part in (f"answered {answer.status}", hint, text) if part)


def pause(attempt: int, answer: Answer | None = None) -> int:
    """Return the seconds until the next attempt: a minute, doubled up to an hour, and no less than
    the target asks for with Retry-After (RFC 9110, section 10.2.3; a date is passed over).

    Args:
        attempt: how many there were, this one included.
    """
    grown = min(_FIRST << (attempt - 1), _LONGEST)
    after = (answer.headers.get("retry-after", "") if answer else "").strip()
    return min(max(grown, int(after) if after.isdecimal() else 0), _QUEUE - 60)
