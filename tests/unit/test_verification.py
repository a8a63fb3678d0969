"""What answers over HTTP is the release that was deployed, on the data it had before; or not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.deploy import verification
from deployer.deploy.spec import Probe, Verification, VersionProbe
from deployer.deploy.verification import Answer

VERIFY = Verification("/healthz", None, ())


def answer(body: object = b"", status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def field(name: str = "version", match: Any = "exact") -> VersionProbe:
    return VersionProbe("/api/v2/buildinfo", None, name, match)


def header(name: str = "X-Coder-Build-Version") -> VersionProbe:
    return VersionProbe("/", name, None, "exact")


@pytest.mark.parametrize(
    ("given_", "verdict"),
    [
        (None, "PENDING"),
        (answer(), "VERIFIED"),
        (answer(status=204), "PENDING"),
        (answer(status=301), "PENDING"),
        (answer(status=404), "PENDING"),
        (answer(status=503), "PENDING"),
    ],
)
def test_only_a_200_on_the_health_path_is_healthy(given_: Answer | None, verdict: str) -> None:
    result = verification.healthy(VERIFY, given_)
    assert result["verdict"] == verdict
    assert "/healthz" in result["reason"]


@pytest.mark.parametrize(
    ("probe", "given_", "version"),
    [
        (field(), answer({"version": "2.1.0"}), "2.1.0"),
        (field("build.version"), answer({"build": {"version": "2.1.0"}}), "2.1.0"),
        (field(), answer({"version": 21}), "21"),
        (field(), answer({"other": "2.1.0"}), None),
        (field("version.x"), answer({"version": "2.1.0"}), None),
        (field(), answer(["2.1.0"]), None),
        (field(), answer(b"<html>"), None),
        (field(), answer(b"\xff\xfe"), None),
        (field(), answer(b"[" * 100_000), None),
        (field(), None, None),
        (header(), answer(x_coder_build_version="2.1.0"), "2.1.0"),
        (header(), answer({"version": "2.1.0"}), None),
        (header(), None, None),
    ],
)
def test_a_version_is_told_in_a_header_or_a_json_field(
    probe: VersionProbe, given_: Answer | None, version: str | None
) -> None:
    assert verification.served_version(probe, given_) == version


MATCHES = [
    ("2.1.0", "2.1.0", "exact", True),
    ("v2.1.0", "2.1.0", "exact", False),
    ("2.0.0-devel+abc", "2.0.0-devel-abc", "exact", False),
    ("v2.0.0-devel+abc", "2.0.0-devel-abc", "build", True),
    ("v2.0.0-devel+abc", "2.0.0-devel+abc", "build", True),
    ("v2.0.0-devel+abc", "v2.0.0-devel-abc", "build", True),
    ("v2.9.0+3215464", "2.9.0", "build", True),
    ("v2.9.0+3215464", "v2.9.0", "build", True),
    ("2.9.0", "v2.9.0", "build", True),
    ("v2.9.0", "2.9.0", "build", True),
    ("v2.9.0+3215464", "2.9.1", "build", False),
    ("v2.9.0+3215464", "2.9.0-devel", "build", False),
    ("v2.9.0+3215464", "2.9", "build", False),
    ("v2.9.0-rc1", "2.9.0", "build", False),
    ("v2.9.0", "2.9.0-3215464", "build", False),
    ("v2.0.0-devel+abd", "2.0.0-devel-abc", "build", False),
    ("v12.9.0", "2.9.0", "build", False),
    ("", "2.9.0", "build", False),
]


@pytest.mark.parametrize(("served", "version", "match", "fits"), MATCHES)
def test_the_version_served_is_compared_by_the_specs_rule(
    served: str, version: str, match: str, fits: bool
) -> None:
    assert verification.versions_match(served, version, match) == fits


@given(st.from_regex(r"v?[0-9]\.[0-9]\.[0-9](-[a-z]{1,5})?(\+[a-z0-9]{1,7})?", fullmatch=True))
def test_a_version_matches_itself_and_its_tag(version: str) -> None:
    assert verification.versions_match(version, version, "exact")
    assert verification.versions_match(version, version.replace("+", "-"), "build")


@pytest.mark.parametrize(
    ("given_", "verdict", "error"),
    [
        (answer({"version": "v2.1.0+abc"}), "VERIFIED", ""),
        (answer({"version": "2.0.0"}), "REFUTED", "WrongVersion"),
        (answer({}), "PENDING", ""),
        (None, "PENDING", ""),
    ],
)
def test_another_version_refutes_and_none_is_waited_for(
    given_: Answer | None, verdict: str, error: str
) -> None:
    result = verification.right_version(field(match="build"), given_, "2.1.0")
    assert (result["verdict"], result["error"]) == (verdict, error)


def test_who_serves_another_version_is_told_both() -> None:
    reason = verification.right_version(field(), answer({"version": "2.0.0"}), "2.1.0")["reason"]
    assert "2.0.0" in reason and "2.1.0" in reason


# probes that no deployment may change


@pytest.mark.parametrize(
    ("probe", "given_", "value"),
    [
        (Probe("/x", None), answer(status=200), "200"),
        (Probe("/x", None), answer(status=404), "404"),
        (Probe("/x", None), answer(status=503), None),
        (Probe("/x", None), None, None),
        (Probe("/x", "id"), answer({"id": "a"}), "a"),
        (Probe("/x", "id"), answer({"id": "a"}, status=500), None),
        (Probe("/x", "id"), answer({}), None),
        (Probe("/x", "n"), answer({"n": {"b": 1}}), '{"b": 1}'),
    ],
)
def test_a_probe_says_its_field_or_status_unless_the_service_is_ill(
    probe: Probe, given_: Answer | None, value: str | None
) -> None:
    assert verification.probe_value(probe, given_) == value


def test_two_fields_of_one_path_are_two_probes() -> None:
    names = {verification.probe_name(Probe("/x", name)) for name in (None, "a", "b")}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("before", "after", "verdict", "error"),
    [
        ({}, {}, "VERIFIED", ""),
        ({}, {"/x#id": "a"}, "VERIFIED", ""),
        ({"/x#id": "a"}, {"/x#id": "a", "/y": "200"}, "VERIFIED", ""),
        ({"/x#id": "a"}, {}, "PENDING", ""),
        ({"/x#id": "a"}, {"/x#id": "b"}, "REFUTED", "DataChanged"),
        ({"/x#id": "a", "/y": "200"}, {"/x#id": "b"}, "PENDING", ""),
        ({"/y": "200"}, {"/y": "404"}, "REFUTED", "DataChanged"),
    ],
)
def test_a_changed_probe_refutes_and_a_silent_one_is_waited_for(
    before: dict[str, str], after: dict[str, str], verdict: str, error: str
) -> None:
    result = verification.unchanged(before, after)
    assert (result["verdict"], result["error"]) == (verdict, error)


def test_who_finds_other_data_is_told_what_was_and_what_is() -> None:
    reason = verification.unchanged({"/x#id": "old"}, {"/x#id": "new"})["reason"]
    assert "/x#id" in reason and "old" in reason and "new" in reason


def test_only_what_identifies_the_data_is_remembered_between_releases() -> None:
    noted = {"/api/v2/buildinfo#deployment_id": "a", "/api/v2/users/first": "404"}
    assert verification.remembered(noted) == {"/api/v2/buildinfo#deployment_id": "a"}
