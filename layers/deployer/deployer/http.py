"""Asking a service over HTTP."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any

from deployer import verification
from deployer.spec import Probe
from deployer.verification import Answer

# What is asked for answers in a few hundred bytes; a page that never ends, or that drips, must not
# hold us.
_BODY_LIMIT = 1024 * 1024
_CHUNK = 64 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer of its own: what it leads to may be another service."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def get(url: str, timeout: float = 3.0) -> Answer | None:
    """GET a URL without following redirects; None if nothing answers within `timeout` seconds.

    The body has as long again to arrive; what has come by then is the body.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "deployer"})
    try:
        with _opener.open(request, timeout=timeout) as response:
            return _answer(response, response.status, timeout)
    except urllib.error.HTTPError as error:
        return _answer(error, error.code, timeout)
    except (OSError, HTTPException):
        return None


def probe(url: str, probes: Iterable[Probe]) -> dict[str, str]:
    """What the probes that no deployment may change answer, by name; those that answer."""
    values = ((entry, verification.probe_value(entry, get(url + entry.path))) for entry in probes)
    return {verification.probe_name(entry): value for entry, value in values if value is not None}


def _answer(response: Any, status: int, seconds: float) -> Answer | None:
    deadline, body = time.monotonic() + seconds, b""
    try:
        while len(body) < _BODY_LIMIT and time.monotonic() < deadline:
            chunk = response.read1(min(_CHUNK, _BODY_LIMIT - len(body)))
            if not chunk:
                break
            body += chunk
    except (OSError, HTTPException):
        return None
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=status, headers=headers, body=body)
