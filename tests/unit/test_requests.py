"""The input of an execution is read once, and whatever is wrong with it is said."""

from datetime import UTC, datetime
from json import loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import requests
from deployer.errors import RequestRejected
from deployer.requests import Deploy, Hold, Promotion, Push, Recover, Restart, Resume, Rollback
from tests.unit.samples import DIGEST, MISSING, push_event

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


fields = st.sampled_from(
    ["image", "to", "service", "by", "hold", "reason", "restoreDatabase", "release"]
)


ORIGIN = {"service": "staging", "release": "r1", "version": "2.1.0"}


def command(**fields: Any) -> dict[str, Any]:
    return {"action": "deploy", "image": "2.1.0"} | fields


def event(**fields: Any) -> dict[str, Any]:
    result = push_event() | {name.replace("_", "-"): value for name, value in fields.items()}
    return {name: value for name, value in result.items() if value is not MISSING}


def test_a_push_is_read_from_the_event() -> None:
    assert requests.parse(push_event()) == Push(
        repository="coder",
        digest=DIGEST,
        tag="2.1.0",
        time=datetime(2026, 11, 23, 14, 25, 2, tzinfo=UTC),
    )


def test_an_image_that_arrives_by_replication_is_a_push() -> None:
    source = {"source-account": "210987654321", "source-region": "us-west-2"}
    replicated = push_event(**{"action-type": "REPLICATE"}, **source)
    replicated["detail-type"] = "ECR Replication Action"
    assert requests.parse(replicated) == requests.parse(push_event())
    with pytest.raises(RequestRejected, match="only REPLICATE SUCCESS"):
        requests.parse({**push_event(), "detail-type": "ECR Replication Action"})


@pytest.mark.parametrize("tag", [None, ""])
def test_a_push_by_digest_has_no_tag(tag: str | None) -> None:
    request = requests.parse(push_event(**{"image-tag": tag}))
    assert isinstance(request, Push) and request.tag is None


def test_a_push_event_may_leave_the_tag_out() -> None:
    untagged = push_event()
    del untagged["detail"]["image-tag"]
    request = requests.parse(untagged)
    assert isinstance(request, Push) and request.tag is None


def test_the_time_of_a_push_is_brought_to_utc() -> None:
    request = requests.parse(event(time="2026-11-23T16:25:02+02:00"))
    assert isinstance(request, Push)
    assert request.time.isoformat() == "2026-11-23T14:25:02+00:00"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (event(source="aws.s3"), "aws.s3"),
        (event(source=MISSING), "None"),
        (event(detail_type="ECR Image Scan"), "ECR Image Scan"),
        (event(detail=MISSING), "detail"),
        (event(detail="x"), "detail"),
        (push_event(**{"action-type": "DELETE"}), "DELETE"),
        (push_event(result="FAILURE"), "FAILURE"),
        (push_event(**{"repository-name": ""}), "repository-name"),
        (push_event(**{"repository-name": 7}), "repository-name"),
        (push_event(**{"repository-name": "x" * 513}), "repository-name"),
        (push_event(**{"image-digest": "latest"}), "image-digest"),
        (push_event(**{"image-digest": f"{DIGEST}0"}), "image-digest"),
        (push_event(**{"image-digest": DIGEST.upper()}), "image-digest"),
        (push_event(**{"image-digest": f"{DIGEST}\n"}), "image-digest"),
        (push_event(**{"image-tag": ["2.1.0"]}), "image-tag"),
        (event(time=MISSING), "time"),
        (event(time="yesterday"), "yesterday"),
        (event(time="0001-01-01T00:00:00+14:00"), "0001-01-01"),
    ],
)
def test_a_wrong_event_is_rejected_by_what_is_wrong(document: Any, named: str) -> None:
    with pytest.raises(RequestRejected, match=named):
        requests.parse(document)


@pytest.mark.parametrize("image", ["2.1.0", "v2.1.0-devel_x", DIGEST, "a" * 128])
def test_an_order_names_an_image_by_tag_or_digest(image: str) -> None:
    assert requests.parse(command(image=image)) == Deploy(image=image, service=None, by=None)


def test_an_order_may_name_what_it_promotes() -> None:
    asked = requests.parse(command(promotedFrom=ORIGIN))
    assert isinstance(asked, Deploy)
    assert asked.promoted_from == Promotion("staging", "r1", "2.1.0", None)
    asked = requests.parse(command(promotedFrom=ORIGIN | {"stack": "deployer-staging"}))
    assert isinstance(asked, Deploy) and asked.promoted_from
    assert asked.promoted_from.stack == "deployer-staging"


def test_an_order_may_name_the_service_and_who_gave_it() -> None:
    request = requests.parse(command(service="coder", by="ada"))
    assert request == Deploy(image="2.1.0", service="coder", by="ada")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (command(action="destroy"), "destroy"),
        (command(action=None), "None"),
        (command(action=["deploy"]), "deploy"),
        ({"action": "deploy"}, "image"),
        (command(image=""), "image"),
        (command(image=3), "image"),
        (command(image="a" * 129), "neither a tag nor a digest"),
        (command(image="2.1.0+abc"), "neither a tag nor a digest"),
        (command(image=f"coder@{DIGEST}"), "neither a tag nor a digest"),
        (command(image="2.1.0\n"), "neither a tag nor a digest"),
        (command(service=""), "service"),
        (command(service=None), "service"),
        (command(by=7), "by"),
        (command(tag="2.1.0", force=True), "force, tag"),
        (command(promotedFrom="staging"), "must be an object"),
        (command(promotedFrom={}), "service"),
        (command(promotedFrom=ORIGIN | {"release": 1}), "release"),
        (command(promotedFrom=ORIGIN | {"stack": ""}), "stack"),
        (command(promotedFrom=ORIGIN | {"account": "1"}), "account"),
    ],
)
def test_a_wrong_order_is_rejected_by_what_is_wrong(document: Any, named: str) -> None:
    with pytest.raises(RequestRejected, match=named):
        requests.parse(document)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"action": "rollback", "to": "previous"},
            Rollback("previous", None, None, hold=True, reason=None, restore_database=False),
        ),
        (
            {
                "action": "rollback",
                "to": "1.0.0",
                "service": "coder",
                "by": "ada",
                "hold": False,
                "reason": "slow",
                "restoreDatabase": True,
            },
            Rollback("1.0.0", "coder", "ada", hold=False, reason="slow", restore_database=True),
        ),
        ({"action": "hold"}, Hold(None, None, None)),
        (
            {"action": "hold", "service": "coder", "by": "ada", "reason": "x"},
            Hold("coder", "ada", "x"),
        ),
        ({"action": "resume"}, Resume(None, None)),
        ({"action": "resume", "service": "coder", "by": "ada"}, Resume("coder", "ada")),
        ({"action": "recover", "service": "coder", "release": "1"}, Recover("coder", "1")),
    ],
)
def test_every_order_is_read(document: Any, expected: Any) -> None:
    assert requests.parse(document) == expected


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"action": "rollback"}, "needs to"),
        ({"action": "rollback", "to": ""}, "needs to"),
        ({"action": "rollback", "to": 7}, "needs to"),
        ({"action": "rollback", "to": "x" * 513}, "needs to"),
        ({"action": "rollback", "to": "1.0.0", "image": "1.0.0"}, "rollback takes no image"),
        ({"action": "rollback", "to": "1.0.0", "hold": "no"}, "hold must be true or false"),
        ({"action": "rollback", "to": "1.0.0", "hold": 0}, "hold must be true or false"),
        ({"action": "rollback", "to": "1.0.0", "restoreDatabase": None}, "restoreDatabase must be"),
        ({"action": "rollback", "to": "1.0.0", "reason": ""}, "needs reason"),
        ({"action": "hold", "to": "previous"}, "hold takes no to; it takes by, reason, service"),
        ({"action": "hold", "reason": 7}, "needs reason"),
        ({"action": "resume", "reason": "x"}, "resume takes no reason"),
        ({"action": "recover", "release": "1"}, "needs service"),
        ({"action": "recover", "service": "coder"}, "needs release"),
        ({"action": "deploy", "image": "1.0.0", "hold": True}, "deploy takes no hold"),
    ],
)
def test_an_order_with_other_fields_than_its_own_is_rejected(document: Any, named: str) -> None:
    with pytest.raises(RequestRejected, match=named):
        requests.parse(document)


@pytest.mark.parametrize("action", requests.EXAMPLES)
def test_what_is_given_as_an_example_is_taken(action: str) -> None:
    example = loads(requests.EXAMPLES[action].replace("<tag or sha256:digest>", "1.0"))
    assert requests.parse(example)


@pytest.mark.parametrize("document", [None, 3, "deploy", [], {}, {"image": "2.1.0"}])
def test_an_input_that_is_neither_is_answered_with_an_example(document: Any) -> None:
    with pytest.raises(RequestRejected, match='"action": "deploy"'):
        requests.parse(document)


@given(
    json
    | st.dictionaries(st.sampled_from(["action", "image", "service", "by", "detail-type"]), json)
    | json.map(lambda value: {"action": "deploy", "image": value, "service": value})
    | st.tuples(st.sampled_from(list(requests.EXAMPLES)), st.dictionaries(fields, json)).map(
        lambda drawn: {**drawn[1], "action": drawn[0]}
    )
    | json.map(lambda value: event(time=value))
    | st.text().map(lambda value: event(time=value))
    | st.datetimes().map(lambda value: event(time=f"{value.isoformat()}+14:00"))
    | json.map(lambda value: event(source=value, detail_type=value))
    | json.map(lambda value: event(detail=value))
    | json.map(lambda value: push_event(**{"image-tag": value, "image-digest": value}))
)
def test_no_input_does_worse_than_being_rejected(document: Any) -> None:
    try:
        request = requests.parse(document)
    except RequestRejected as rejection:
        assert str(rejection)
    else:
        assert isinstance(request, Push | Deploy | Rollback | Restart | Hold | Resume | Recover)
    service, digest = requests.subject(document)
    assert service
    assert digest is None or requests.DIGEST.fullmatch(digest)


# what a tag alone tells


@pytest.mark.parametrize(
    ("tag", "ignored"),
    [
        (None, True),
        (f"sha256-{'ab' * 32}.sig", True),
        (f"sha256-{'ab' * 32}.att", True),
        (f"sha256-{'ab' * 32}.sbom", True),
        (f"sha256-{'ab' * 32}", True),
        ("2.1.0", False),
        ("sha256-abc", False),
        ("signature", False),
    ],
)
def test_a_push_without_a_tag_or_under_cosigns_deploys_nothing(
    tag: str | None, ignored: bool
) -> None:
    assert (requests.ignored(tag) is not None) == ignored


# what a rejected input was about


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (push_event(), ("repository:coder", DIGEST)),
        (push_event(**{"image-digest": "?"}), ("repository:coder", None)),
        (push_event(**{"image-digest": None}), ("repository:coder", None)),
        (command(service="coder"), ("coder", None)),
        (command(service=""), ("unknown", None)),
        (command(), ("unknown", None)),
        ({"detail": {}}, ("unknown", None)),
        ({"service": ["coder"]}, ("unknown", None)),
        ([], ("unknown", None)),
        (None, ("unknown", None)),
    ],
)
def test_a_rejected_input_is_filed_under_what_can_be_told(
    document: Any, expected: tuple[str, str | None]
) -> None:
    assert requests.subject(document) == expected
