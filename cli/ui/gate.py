"""Decide which requests the page's server answers.

It listens on this machine only, but other users of the machine and every web site in the operator's
browser can reach it. So a request must know the token in the address, name this server in `Host`
(against DNS rebinding, https://owasp.org/www-community/attacks/DNS_Rebinding), and, if it changes
something, come from this very page.

Decides only: no sockets.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MOST = 10_000  # bytes of a request's body

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every response: nothing from elsewhere is loaded, and no link tells the token."""


@dataclass(frozen=True)
class Refused(Exception):
    """A request that is not answered; `why` is shown."""

    status: HTTPStatus
    why: str


@dataclass(frozen=True)
class Gate:
    """What the server knows of itself: its port, and the token of its address."""

    port: int
    token: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    @property
    def _hosts(self) -> tuple[str, ...]:
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    def admit(self, target: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return the name of what a request asks for, and the fields of its query.

        Args:
            target: of the request line, such as `/<token>/events?service=shop`.
        Raises:
            Refused: another host, or another token.
        """
        if headers.get("Host") not in self._hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "Open the address that `deployer ui` printed.")
        parts = urlsplit(target)
        token, _, name = parts.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise Refused(
                HTTPStatus.NOT_FOUND,
                "This address is not valid any more: `deployer ui` prints a new one each time.",
            )
        return name, dict(parse_qsl(parts.query, keep_blank_values=True))

    def admit_action(self, headers: Mapping[str, str]) -> int:
        """Return the length of an action's body.

        Raises:
            Refused: it does not come from this page, is not JSON, or is too long.
        """
        if headers.get("Origin") not in [f"http://{host}" for host in self._hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, "Only this page may ask for that.")
        if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only JSON is accepted.")
        length = headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "The length of the request is missing.")
        if int(length) > MOST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too long.")
        return int(length)


def embedded(document: Any) -> str:
    """Return a document as JSON that can stand in a `<script>` of HTML, whatever its texts say."""
    text = json.dumps(document)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
