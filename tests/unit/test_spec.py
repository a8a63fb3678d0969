"""The service spec is read whole or not at all, and each wrong field is named with its path."""

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployer.deploy import spec as specs
from deployer.deploy.spec import ServiceSpec
from deployer.errors import RequestRejected, ServiceUnknown, SpecInvalid
from tests.unit.samples import ADOPTED, BALANCER, MISSING, document, spec
from tests.unit.samples import SECRET as SECRET_ARN

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def rejection(document: object) -> str:
    with pytest.raises(SpecInvalid) as caught:
        specs.from_document(document, "/deployer/services/coder")
    return str(caught.value)


def wrong_fields(document: object) -> list[str]:
    """The fields that the message calls wrong, by path."""
    head, _, output = rejection(document).partition(": ")
    match = re.findall(r"(?:^|; (?!valid:))([\w.\[\]]+): ", output)
    assert head == f"/deployer/services/coder has {len(match)} wrong field(s)"
    return match


def test_four_lines_adopt_a_service() -> None:
    result = spec(**ADOPTED)
    assert document(**ADOPTED).keys() == {"service", "cluster", "repository", "tags"}
    assert result.task_definition is result.service_definition is None
    assert result.strategy is None and result.url is None and result.container is None
    assert result.verify is None and result.database is None
    assert (result.timeout, result.failure_threshold, result.rollback) == (600, 3, "exact")


def test_a_spec_has_ecs_documents_as_they_are() -> None:
    result = spec(**BALANCER)
    assert result.task_definition == document()["taskDefinition"]
    assert result.service_definition == document(**BALANCER)["serviceDefinition"]
    assert result.url == "https://coder.example.com"
    assert (result.strategy, result.timeout, result.desired_count) == ("recreate", 900, 1)
    assert result.verify and result.verify.version and result.verify.version.match == "build"
    assert [(probe.path, probe.field) for probe in result.verify.unchanged] == [
        ("/api/v2/buildinfo", "deployment_id"),
        ("/api/v2/users/first", None),
    ]


def test_an_editors_schema_is_ignored() -> None:
    assert spec(**{"$schema": "https://example.com/service-spec.schema.json"}) == spec()


@pytest.mark.parametrize(
    "name", ["coder", "coder:7", "arn:aws-cn:ecs:cn-north-1:123456789012:task-definition/coder:7"]
)
def test_a_task_definition_may_be_the_name_of_one_in_ecs(name: str) -> None:
    assert spec(taskDefinition=name).task_definition == name


# presets


def test_a_preset_gives_what_the_spec_leaves_out() -> None:
    result = spec(**ADOPTED | {"preset": "coder"})
    assert (result.strategy, result.timeout, result.build.mode) == ("recreate", 1200, "nix")
    assert result.verify and result.verify.version and result.verify.version.path == "/healthz"
    assert len(result.verify.unchanged) == 2
    assert result.build.migrations == "coderd/database/migrations/*.up.sql"


def test_a_spec_goes_before_its_preset_also_within_an_object() -> None:
    own = {"build": {"mode": "plain"}, "verify": {"unchanged": None}, "strategy": "rolling"}
    result = spec(**ADOPTED | {"preset": "coder", "timeout": 60} | own)
    assert (result.strategy, result.timeout) == ("rolling", 60)
    assert (result.build.mode, result.build.version) == ("plain", "./scripts/version.sh")
    assert result.verify and result.verify.version and not result.verify.unchanged
    assert spec(**ADOPTED | {"preset": "coder", "verify": None}).verify is None


def test_without_a_preset_a_build_is_that_of_a_dockerfile() -> None:
    build = spec(build={"mode": "nix"}).build
    assert build.version.startswith("git describe") and build.image.startswith("docker build")
    assert build.migrations == ""


SIDECAR = {"name": "proxy", "image": "nginx", "essential": True}
(CONTAINER,) = document()["taskDefinition"]["containerDefinitions"]
ENVIRONMENT = "taskDefinition.containerDefinitions[0].environment"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"service": MISSING}, "service"),
    ({"service": ""}, "service"),
    ({"service": "a b"}, "service"),
    ({"service": 7}, "service"),
    ({"cluster": "arn:aws:ecs:us-east-1:1:cluster/x"}, "cluster"),
    ({"repository": "Coder"}, "repository"),
    ({"repository": "coder@sha256:0"}, "repository"),
    ({"tags": MISSING}, "tags"),
    ({"tags": "("}, "tags"),
    ({"tags": "a{99999999999999999999}"}, "tags"),
    ({"tags": "(" * 5000 + ")" * 5000}, "tags"),
    ({"container": "a.b"}, "container"),
    ({"container": "web"}, "container"),
    ({"taskDefinition": 7}, "taskDefinition"),
    ({"taskDefinition": ["coder"]}, "taskDefinition"),
    ({"taskDefinition": "coder.json"}, "taskDefinition"),
    ({"taskDefinition": "arn:aws:iam::123456789012:role/coder"}, "taskDefinition"),
    ({"definition__containerDefinitions": []}, "taskDefinition.containerDefinitions"),
    ({"definition__containerDefinitions": "coder"}, "taskDefinition.containerDefinitions"),
    (
        {"definition__containerDefinitions": [CONTAINER, SIDECAR]},
        "taskDefinition.containerDefinitions",
    ),
    ({"one__environment": [{"name": "DB_PASSWORD", "value": "x"}]}, f"{ENVIRONMENT}[0]"),
    ({"one__environment": [{}, {"name": "github_secret", "value": "x"}]}, f"{ENVIRONMENT}[1]"),
    (
        {"one__environment": [{"name": "URL", "value": "postgres://coder:hunter2@db/coder"}]},
        f"{ENVIRONMENT}[0]",
    ),
    (
        {"one__environment": [{"name": "CODER_PG_CONNECTION_URL", "value": "postgres://db/coder"}]},
        f"{ENVIRONMENT}[0]",
    ),
    ({"override": {"stopTimeout": 60}}, "override"),
    ({"taskDefinition": "coder", "override": {"name": "x"}}, "override.name"),
    ({"taskDefinition": "coder", "override": {"image": "nginx"}}, "override.image"),
    (
        {"taskDefinition": "coder", "override": {"environment": {"DEBUG": 1}}},
        "override.environment.DEBUG",
    ),
    (
        {"taskDefinition": "coder", "override": {"environment": {"DB_PASSWORD": "x"}}},
        "override.environment.DB_PASSWORD",
    ),
    (
        {"taskDefinition": "coder", "override": {"secrets": {"TOKEN": "hunter2"}}},
        "override.secrets.TOKEN",
    ),
    ({"serviceDefinition": []}, "serviceDefinition"),
    ({"creates__serviceName": "coder"}, "serviceDefinition.serviceName"),
    ({"creates__cluster": "coder"}, "serviceDefinition.cluster"),
    ({"creates__taskDefinition": "coder:7"}, "serviceDefinition.taskDefinition"),
    ({"creates__clientToken": "x"}, "serviceDefinition.clientToken"),
    ({"creates__desiredCount": "2"}, "serviceDefinition.desiredCount"),
    ({"creates__desiredCount": 0}, "serviceDefinition.desiredCount"),
    ({"url": "coder.example.com"}, "url"),
    ({"url": "https://coder.example.com/app"}, "url"),
    ({"preset": "gitlab"}, "preset"),
    ({"strategy": "blue-green"}, "strategy"),
    ({"timeout": 29}, "timeout"),
    ({"timeout": 3601}, "timeout"),
    ({"timeout": 3600, "bake": 60}, "bake"),
    ({"timeout": 3600, "before": {"command": ["a"]}}, "before.timeout"),
    ({"before": {}}, "before.command"),
    ({"before": {"command": "migrate"}}, "before.command"),
    ({"before": {"command": []}}, "before.command"),
    ({"before": {"command": ["a"], "container": "proxy"}}, "before.container"),
    ({"after": {"command": ["a", 1]}}, "after.command[1]"),
    ({"after": {"command": ["a"], "timeout": 5}}, "after.timeout"),
    ({"after": {"command": ["a"], "retries": 3}}, "after.retries"),
    ({"failureThreshold": 0}, "failureThreshold"),
    ({"verify": []}, "verify"),
    ({"build": {"mode": "bazel"}}, "build.mode"),
    ({"build": {"platform": "linux/riscv64"}}, "build.platform"),
    ({"build": {"baseImage": "alpine:latest"}}, "build.baseImage"),
    ({"build": {"commands": "make"}}, "build.commands"),
    ({"verify__path": "healthz"}, "verify.path"),
    ({"verify__path": "/health z"}, "verify.path"),
    ({"verify__path": "/gesundheitsprüfung"}, "verify.path"),
    ({"verify__version": {"path": "/"}}, "verify.version.header"),
    ({"verify__version": {"header": "X", "field": "y"}}, "verify.version.header"),
    ({"verify__version": {"header": "X: y"}}, "verify.version.header"),
    ({"verify__version": {"field": "v", "match": "semver"}}, "verify.version.match"),
    ({"verify__unchanged": [{"field": "id"}]}, "verify.unchanged[0].path"),
    ({"verify__unchanged": [{"path": "/"}, "/"]}, "verify.unchanged[1]"),
    ({"verify__unchanged": [{"path": "/", "header": "X"}]}, "verify.unchanged[0].header"),
    ({"verify__status": 200}, "verify.status"),
    ({"image": "nginx"}, "image"),
]


@pytest.mark.parametrize(
    ("changes", "path"),
    WRONG,
    ids=[f"{path}-{number}" for number, (_, path) in enumerate(WRONG)],
)
def test_a_wrong_field_is_named_with_its_path(changes: dict[str, Any], path: str) -> None:
    assert path in wrong_fields(document(**changes))


def test_one_look_finds_all_that_is_wrong() -> None:
    environment = [{"name": "DB_PASSWORD", "value": "x"}]
    wrong = document(
        service="a b", one__environment=environment, timeout=1, verify__path="x", colour="red"
    )
    result = wrong_fields(wrong)
    assert result == ["service", "timeout", "verify.path", f"{ENVIRONMENT}[0]", "colour"]


@pytest.mark.parametrize("document", [None, [], "spec", 7])
def test_a_spec_that_is_no_object_is_refused(document: object) -> None:
    assert "must be a JSON object" in rejection(document)


SECRET = "hunter2-tr0ub4dor"


@pytest.mark.parametrize(
    "changes",
    [
        {"one__environment": [{"name": "DB_PASSWORD", "value": SECRET}]},
        {"one__environment": [{"name": "URL", "value": f"postgres://coder:{SECRET}@db/coder"}]},
        {"definition__containerDefinitions": f"DB={SECRET}"},
        {"definition__containerDefinitions": [[{"value": SECRET}]]},
        {"taskDefinition": "coder", "override": {"environment": {"DB_PASSWORD": SECRET}}},
        {"taskDefinition": "coder", "override": {"environment": f"DB={SECRET}"}},
        {"taskDefinition": "coder", "override": {"environment": {"A": [SECRET]}}},
        {"taskDefinition": "coder", "override": {"secrets": {"DB": SECRET}}},
        {"taskDefinition": "coder", "override": {"secrets": {"DB": {"value": SECRET}}}},
        {"taskDefinition": "coder", "override": {"secrets": [SECRET]}},
        {"taskDefinition": "coder", "override": [{"environment": {"A": SECRET}}]},
        {"container": {"environment": {"A": SECRET}}},
        {"environment": {"A": SECRET}},
        {"service": {"A": SECRET}},
        {"timeout": {"A": SECRET}},
    ],
)
def test_no_message_shows_what_may_be_a_secret(changes: dict[str, Any]) -> None:
    assert SECRET not in rejection(document(**changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODER_ACCESS_URL", "https://coder.example.com"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("SECRETARY", "Ada"),
        ("URL_WITH_USER", "ssh://git@example.com"),
        ("TIME", "12:30@noon"),
    ],
)
def test_plain_environment_is_not_taken_for_a_secret(name: str, value: str) -> None:
    spec(one__environment=[{"name": name, "value": value}])


# what is laid over a task definition in ECS

ADDRESS = {"CODER_HTTP_ADDRESS": "0.0.0.0:3000"}


def over(**fields: Any) -> dict[str, Any]:
    return document(taskDefinition="coder", override=fields)


def test_environment_may_come_in_several_objects() -> None:
    more = [ADDRESS, {}, {"LOG_LEVEL": "info"}]
    assert spec(taskDefinition="coder", override={"environment": more}).override == {
        "environment": [
            {"name": "CODER_HTTP_ADDRESS", "value": "0.0.0.0:3000"},
            {"name": "LOG_LEVEL", "value": "info"},
        ]
    }


@pytest.mark.parametrize("value", ["value", "valueFrom"])
def test_the_form_of_ecs_is_not_taken_for_two_variables(value: str) -> None:
    as_in_ecs = [{"name": "LOG_LEVEL", value: "info"}]
    assert wrong_fields(over(environment=as_in_ecs)) == ["override.environment[0]"]


def test_a_name_is_given_once() -> None:
    twice = over(environment=[ADDRESS, {"A": "1"}, {"A": "1"} | ADDRESS])
    assert wrong_fields(twice) == [
        "override.environment.A",
        "override.environment.CODER_HTTP_ADDRESS",
    ]
    assert "is given twice" in rejection(twice)


# what is Coder's


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("CODER_POSTGRES_URL", "CODER_PG_CONNECTION_URL"),
        ("DATABASE_URL", "CODER_PG_CONNECTION_URL"),
        ("CODER_URL", "CODER_ACCESS_URL"),
        ("CODER_ADDRESS", "CODER_HTTP_ADDRESS"),
    ],
)
def test_a_name_that_coder_does_not_know_is_refused_with_the_right_one(
    name: str, right: str
) -> None:
    for kind, value in (("environment", "value"), ("secrets", "valueFrom")):
        changes: dict[str, Any] = {f"one__{kind}": [{"name": name, value: SECRET_ARN}]}
        wrong = document(**changes, preset="coder")
        path = f"taskDefinition.containerDefinitions[0].{kind}.{name}"
        assert wrong_fields(wrong) == [path]
        assert f"is unknown to Coder: {right}" in rejection(wrong)
        spec(**changes)  # another application may call its variables what it likes


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "127.0.0.1:3000", ":3000", "0.0.0.0", ""])
def test_coder_listens_where_the_container_is_looked_for(address: str) -> None:
    environment = [{"name": "CODER_HTTP_ADDRESS", "value": address}]
    wrong = document(one__environment=environment, preset="coder")
    assert wrong_fields(wrong) == [f"{ENVIRONMENT}.CODER_HTTP_ADDRESS"]


def test_coder_does_not_redirect_to_https_that_ends_before_it() -> None:
    name = "CODER_REDIRECT_TO_ACCESS_URL"
    given: dict[str, Any] = {**BALANCER, "one__healthCheck": MISSING, "preset": "coder"}
    redirects = {"one__environment": [{"name": name, "value": "true"}]}
    assert wrong_fields(document(**given, **redirects)) == [f"{ENVIRONMENT}.{name}"]
    spec(**given, one__environment=[{"name": name, "value": "false"}])
    spec(**given | {"url": "http://coder.example.com"}, **redirects)


@pytest.mark.parametrize(
    ("start_period", "grace_period", "valid"),
    [(30, 120, True), (29, 120, False), (300, 900, False)],
)
def test_a_health_check_leaves_a_start_the_time_that_the_load_balancer_gives(
    start_period: int, grace_period: int, valid: bool
) -> None:
    rendered = document(
        **BALANCER | {"serviceDefinition__healthCheckGracePeriodSeconds": grace_period},
        one__healthCheck={"command": ["CMD", "true"], "startPeriod": start_period},
    )
    if valid:
        specs.from_document(rendered, "sample")
    else:
        assert wrong_fields(rendered) == ["taskDefinition.containerDefinitions[0].healthCheck"]


# tags


@pytest.mark.parametrize(
    ("tag", "deploys"),
    [
        ("2.1.0", True),
        ("v2.1.0", True),
        ("2.0.0-devel-abc", True),
        ("latest", False),
        ("2.1", False),
        ("x2.1.0", False),
        ("2.1.0\n", False),
        ("", False),
    ],
)
def test_a_tag_deploys_if_the_pattern_matches_it_whole(tag: str, deploys: bool) -> None:
    assert spec().deploys(tag) == deploys


# choosing a spec


def stored(**documents: dict[str, Any] | str) -> dict[str, str]:
    return {
        f"/deployer/services/{name}": entry if isinstance(entry, str) else json.dumps(entry)
        for name, entry in documents.items()
    }


STAGING = document(service="staging", tags="rc-.*")
OTHER = document(service="other", repository="other")


def test_a_push_is_for_the_service_of_its_repository() -> None:
    ((result, document_),), _ = specs.for_push(stored(a=OTHER, b=document()), "coder", "2.1.0")
    assert result.service == "coder"
    assert document_ == document()


@pytest.mark.parametrize(("tag", "service"), [("2.1.0", "coder"), ("rc-1", "staging")])
def test_services_that_share_a_repository_are_told_apart_by_the_tag(tag: str, service: str) -> None:
    ((result, _),), _ = specs.for_push(stored(a=document(), b=STAGING), "coder", tag)
    assert result.service == service


@pytest.mark.parametrize("tag", ["nightly", None])
def test_a_push_that_no_pattern_names_is_filed_under_one_of_the_services(tag: str | None) -> None:
    ((result, _),), _ = specs.for_push(stored(a=document(), b=STAGING), "coder", tag)
    assert result.service in ("coder", "staging")


def test_a_tag_that_fits_several_services_names_them_all() -> None:
    twin = document(service="twin")
    fitting, _ = specs.for_push(stored(a=document(), b=twin), "coder", "2.1.0")
    assert [spec.service for spec, _ in fitting] == ["coder", "twin"]
    assert "coder, twin" in specs.ambiguous("coder", "2.1.0", ["coder", "twin"])


INVALID: dict[str, Any] = {"service": "wrong", "timeout": 1}


@pytest.mark.parametrize(
    ("wrong", "tag", "valid", "unread"),
    [
        (INVALID, "2.1.0", ["coder"], ["wrong"]),
        ({**INVALID, "tags": "rc-.*"}, "2.1.0", ["coder"], []),
        ({**INVALID, "tags": "rc-.*"}, "rc-1", [], ["wrong"]),
        ({**INVALID, "tags": "("}, "nightly", [], ["wrong"]),
        ({**INVALID, "tags": 7}, "nightly", [], ["wrong"]),
        (INVALID, "nightly", ["coder"], []),
        (INVALID, None, ["coder"], []),
        ({"service": "-", "timeout": 1}, "2.1.0", ["coder"], ["b"]),
    ],
    ids=[
        "both",
        "another's",
        "its own",
        "unclear",
        "no pattern",
        "nobody's",
        "untagged",
        "nameless",
    ],
)
def test_a_push_may_be_for_a_service_whose_spec_is_invalid(
    wrong: Any, tag: str | None, valid: list[str], unread: list[str]
) -> None:
    parameters = stored(a=document(), b=document(**wrong))
    specs_, invalid = specs.for_push(parameters, "coder", tag)
    assert [spec.service for spec, _ in specs_] == valid
    assert [one.service for one in invalid] == unread
    assert all("wrong field" in one.why for one in invalid)
    alone = specs.for_push(stored(b=document(**wrong)), "coder", tag)
    assert len(alone[1]) == 1, "there must be one to file it under"


@pytest.mark.parametrize("parameters", [{}, stored(a=OTHER), stored(a="{", b="[]")])
def test_a_repository_without_a_spec_is_unknown(parameters: dict[str, str]) -> None:
    with pytest.raises(ServiceUnknown, match="coder"):
        specs.for_push(parameters, "coder", "2.1.0")


def test_who_looks_for_a_spec_is_told_which_could_not_be_read() -> None:
    with pytest.raises(ServiceUnknown, match=r"not readable as JSON objects: .*/broken"):
        specs.for_push(stored(broken="{", other=OTHER), "coder", "2.1.0")


@pytest.mark.parametrize(
    "broken", ["{", "[]", "", json.dumps(document(service="broken", repository="x", timeout=1))]
)
def test_a_broken_spec_stops_its_own_service_only(broken: str) -> None:
    parameters = stored(broken=broken, coder=document())
    ((result, _),), _ = specs.for_push(parameters, "coder", "2.1.0")
    assert result.service == "coder"
    assert specs.for_service(parameters, "coder")[0].service == "coder"


def test_an_order_finds_its_service_by_name() -> None:
    result, created = specs.for_service(stored(a=OTHER, b=document()), "coder")
    assert (result.service, created) == ("coder", document())


def test_the_only_service_need_not_be_named() -> None:
    assert specs.for_service(stored(a=document()), None)[0].service == "coder"


def test_an_order_must_name_one_of_several_services() -> None:
    with pytest.raises(RequestRejected):
        specs.for_service(stored(a=OTHER, b=document()), None)


def test_without_any_spec_every_service_is_unknown() -> None:
    with pytest.raises(ServiceUnknown):
        specs.for_service({}, None)


def test_a_service_without_a_spec_is_unknown() -> None:
    with pytest.raises(ServiceUnknown, match="'nobody'"):
        specs.for_service(stored(a=document()), "nobody")


def test_a_wrong_spec_is_named_by_its_parameter() -> None:
    with pytest.raises(SpecInvalid, match=r"/deployer/services/a has 1 wrong field\(s\): timeout"):
        specs.for_service(stored(a=document(timeout=1)), "coder")


# whatever it is


def paths(document: Any, path: str = "") -> list[str]:
    """The paths of a document's fields, as `document` takes them."""
    if not isinstance(document, dict):
        return [path]
    below = [
        item for name in document for item in paths(document[name], f"{path}__{name}".strip("_"))
    ]
    return [path, *below] if path else below


FIELDS = sorted(
    {*paths(document()), "url", "container", "override", "preset", "$schema", "one__environment"}
)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@given(
    values
    | st.tuples(st.sampled_from(FIELDS), values).map(lambda change: document(**dict([change])))
)
def test_no_document_does_worse_than_being_called_invalid(given_document: object) -> None:
    try:
        result = specs.from_document(given_document, "a spec")
    except SpecInvalid as refusal:
        assert str(refusal).startswith("a spec ")
    else:
        assert isinstance(result, ServiceSpec)


@given(st.sampled_from(sorted(paths(document()))), values)
def test_a_text_in_a_wrong_place_is_not_taken(path: str, value: object) -> None:
    """What passes has the kind that the sample has there, so nothing is read as something else."""
    assume(value is not None)
    # what the documents say is ECS's business, except for the few fields that are read at once
    assume(not path.startswith(("taskDefinition", "serviceDefinition")))
    sample: Any = document()
    for name in path.split("__"):
        sample = sample[name]
    try:
        specs.from_document(document(**{path: value}), "a spec")
    except (SpecInvalid, TypeError):
        return
    assert type(value) is type(sample)


@pytest.mark.parametrize("tags", [r"(?!latest).*", r"(a)\1", r"a*+"])
def test_tags_that_cannot_be_matched_in_bounded_time_are_refused(tags: str) -> None:
    with pytest.raises(SpecInvalid, match=r"tags: .*cannot be matched in bounded time"):
        specs.from_document(document(tags=tags), "a spec")


def test_a_release_and_its_rollback_end_before_a_waiting_push_gives_up() -> None:
    assert spec(timeout=3000, bake=1200).bake == 1200
    assert wrong_fields(document(timeout=3000, bake=1201)) == ["bake"]
    assert spec(timeout=3600).timeout == 3600


def test_each_wrong_schedule_is_named_by_its_path() -> None:
    nightly = {"schedule": "cron(0 3 31 2 ? *)", "timezone": "Mars/Olympus", "command": []}
    hourly = {"schedule": "rate(1 hour)", "command": ["sync"], "container": "nowhere", "cpu": 1}
    name = "a" * 65
    assert set(wrong_fields(document(schedules={name: hourly, "nightly": nightly}))) == {
        f"schedules.{name}",
        f"schedules.{name}.container",
        f"schedules.{name}.cpu",
        "schedules.nightly.command",
        "schedules.nightly.schedule",
        "schedules.nightly.timezone",
    }
    many = {f"s{number}": {"schedule": "rate(1 day)", "command": ["a"]} for number in range(21)}
    assert wrong_fields(document(schedules=many)) == ["schedules"]
    long = document(service="s" * 55, schedules={"a": many["s0"]})
    assert wrong_fields(long) == ["schedules"]
    assert wrong_fields(document(schedules=["nightly"])) == ["schedules"]
    without_one = specs.from_document(document(schedules={**many, **dict.fromkeys(many)}), "a spec")
    assert without_one.schedules == {}
