"""Which requests the page's server answers, and what it says of itself."""

import json
from http import HTTPStatus

import pytest

from cli.ui.gate import HEADERS, MOST, Gate, Refused, embedded

GATE = Gate(8800, "the-token")
HERE = {"Host": "127.0.0.1:8800"}
FROM_PAGE = {**HERE, "Origin": "http://127.0.0.1:8800", "Content-Type": "application/json"}


@pytest.mark.parametrize("host", ["127.0.0.1:8800", "localhost:8800"])
def test_the_page_itself_is_admitted(host: str) -> None:
    assert GATE.admit("/the-token/", {"Host": host}) == ("", {})
    assert GATE.admit("/the-token/events?service=shop", HERE) == ("events", {"service": "shop"})


@pytest.mark.parametrize(
    "host", ["evil.example:8800", "evil.example", "127.0.0.1", "127.0.0.1:8801", None]
)
def test_another_host_is_refused_although_it_knows_the_token(host: str | None) -> None:
    with pytest.raises(Refused) as refused:
        GATE.admit("/the-token/", {"Host": host} if host else {})
    assert refused.value.status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "target", ["/", "/the-token2/", "/the-toke/", "/x/the-token/", "//the-token/", "/tökën/", ""]
)
def test_without_the_token_nothing_is_found(target: str) -> None:
    with pytest.raises(Refused) as refused:
        GATE.admit(target, HERE)
    assert refused.value.status == HTTPStatus.NOT_FOUND
    assert "deployer ui" in refused.value.why


def test_an_action_of_the_page_is_admitted() -> None:
    assert GATE.admit_action({**FROM_PAGE, "Content-Length": "12"}) == 12
    utf8 = {"Content-Type": "application/json; charset=utf-8"}
    assert GATE.admit_action({**FROM_PAGE, **utf8, "Content-Length": "0"}) == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Origin": "http://evil.example"}, HTTPStatus.FORBIDDEN),
        ({"Origin": "null"}, HTTPStatus.FORBIDDEN),
        ({"Origin": ""}, HTTPStatus.FORBIDDEN),
        ({"Origin": "http://127.0.0.1:8801"}, HTTPStatus.FORBIDDEN),
        ({"Content-Type": "text/plain"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        ({"Content-Type": ""}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        ({"Content-Length": ""}, HTTPStatus.LENGTH_REQUIRED),
        ({"Content-Length": "-1"}, HTTPStatus.LENGTH_REQUIRED),
        ({"Content-Length": f"{MOST + 1}"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_no_other_site_presses_a_button(changes: dict[str, str], status: HTTPStatus) -> None:
    with pytest.raises(Refused) as refused:
        GATE.admit_action({**FROM_PAGE, "Content-Length": "12", **changes})
    assert refused.value.status == status


def test_nothing_from_elsewhere_is_loaded_and_no_script_of_a_text_runs() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_text_never_ends_the_script_that_it_is_embedded_in() -> None:
    hostile = {"line": "</script><script>alert(1)</script><!-- \u2028 & $state"}
    text = embedded(hostile)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == hostile
