"""The service spec is read whole or not at all, and each wrong field is named with its path."""

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployer.deploy import spec as specs
from deployer.deploy.spec import FARGATE_MEMORY, HealthCheck, ServiceSpec
from deployer.errors import RequestRejected, ServiceUnknown, SpecInvalid
from tests.unit.samples import BALANCER, MISSING, document, spec

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def rejection(made: object) -> str:
    with pytest.raises(SpecInvalid) as caught:
        specs.from_document(made, "/deployer/services/coder")
    return str(caught.value)


def wrong_fields(made: object) -> list[str]:
    """The fields that the message calls wrong, by path."""
    head, _, told = rejection(made).partition(": ")
    found = re.findall(r"(?:^|; (?!valid:))([\w.\[\]]+): ", told)
    assert head == f"/deployer/services/coder has {len(found)} wrong field(s)"
    return found


def test_a_spec_says_what_the_service_should_look_like() -> None:
    made = spec()
    assert made.service == made.cluster == made.family == made.container.name == "coder"
    assert (made.cpu, made.memory, made.platform) == (1024, 2048, "linux/amd64")
    assert made.container.health_check == HealthCheck(("CMD", "coder", "--version"), 30, 5, 3, 60)
    assert made.network.public_ip
    assert (made.strategy, made.timeout, made.desired_count) == ("recreate", 900, 1)
    assert made.verify and made.verify.version and made.verify.version.match == "build"
    assert [(probe.path, probe.field) for probe in made.verify.unchanged] == [
        ("/api/v2/buildinfo", "deployment_id"),
        ("/api/v2/users/first", None),
    ]


def test_what_is_left_out_has_a_default() -> None:
    made = spec(
        cpu=MISSING,
        memory=MISSING,
        taskRole=MISSING,
        strategy=MISSING,
        timeout=MISSING,
        verify=MISSING,
        container={"port": 80, "environment": {}, "secrets": {}},
        network__publicIp=MISSING,
    )
    assert (made.cpu, made.memory, made.task_role) == (256, 512, None)
    assert (made.strategy, made.timeout, made.failure_threshold) == ("rolling", 600, 3)
    assert made.verify is None and made.load_balancer is None
    assert made.container.health_check is None and made.container.stop_timeout is None
    assert not made.network.public_ip


def test_a_load_balancer_gives_the_service_its_url() -> None:
    made = spec(loadBalancer=BALANCER, network__publicIp=False)
    assert made.load_balancer
    assert made.load_balancer.url == "https://coder.example.com"
    assert made.load_balancer.grace_period == 120


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
    ({"family": "a/b"}, "family"),
    ({"platform": "linux/riscv64"}, "platform"),
    ({"cpu": 300}, "cpu"),
    ({"cpu": "1024"}, "cpu"),
    ({"cpu": 1024.0}, "cpu"),
    ({"cpu": True}, "cpu"),
    ({"memory": 512}, "memory"),
    ({"memory": "2048"}, "memory"),
    ({"executionRole": MISSING}, "executionRole"),
    ({"executionRole": "coder-execution"}, "executionRole"),
    ({"taskRole": "arn:aws:s3:::bucket"}, "taskRole"),
    ({"container": MISSING}, "container"),
    ({"container__port": MISSING}, "container.port"),
    ({"container__port": 0}, "container.port"),
    ({"container__port": 65536}, "container.port"),
    ({"container__port": True}, "container.port"),
    ({"container__port": 80.5}, "container.port"),
    ({"container__name": "a.b"}, "container.name"),
    ({"container__environment__DEBUG": 1}, "container.environment.DEBUG"),
    ({"container__environment__DB_PASSWORD": "x"}, "container.environment.DB_PASSWORD"),
    ({"container__environment__github_secret": "x"}, "container.environment.github_secret"),
    (
        {"container__environment__URL": "postgres://coder:hunter2@db/coder"},
        "container.environment.URL",
    ),
    (
        {"container__environment__CODER_PG_CONNECTION_URL": "postgres://db/coder"},
        "container.environment.CODER_PG_CONNECTION_URL",
    ),
    ({"container__secrets__TOKEN": "hunter2"}, "container.secrets.TOKEN"),
    ({"container__secrets__TOKEN": 7}, "container.secrets.TOKEN"),
    ({"container__healthCheck__command": ["CMD"]}, "container.healthCheck.command"),
    ({"container__healthCheck__command": ["curl", "x"]}, "container.healthCheck.command[0]"),
    ({"container__healthCheck__command": ["CMD", 3]}, "container.healthCheck.command[1]"),
    ({"container__healthCheck__interval": 4}, "container.healthCheck.interval"),
    ({"container__healthCheck__timeout": 61}, "container.healthCheck.timeout"),
    ({"container__healthCheck__retries": 11}, "container.healthCheck.retries"),
    ({"container__healthCheck__startPeriod": 301}, "container.healthCheck.startPeriod"),
    ({"container__healthCheck__grace": 1}, "container.healthCheck.grace"),
    ({"container__stopTimeout": 121}, "container.stopTimeout"),
    ({"container__extra": {"image": "nginx"}}, "container.extra.image"),
    ({"container__extra": {"portMappings": []}}, "container.extra.portMappings"),
    ({"container__imageUri": "nginx"}, "container.imageUri"),
    ({"sidecars": {"name": "proxy"}}, "sidecars"),
    ({"sidecars": ["proxy"]}, "sidecars[0]"),
    ({"sidecars": [{"name": "proxy"}, {"image": "x"}]}, "sidecars[1].name"),
    ({"sidecars": [{"name": "coder"}]}, "sidecars[0].name"),
    ({"logGroup": "/ecs/a b"}, "logGroup"),
    ({"network": []}, "network"),
    ({"network__subnets": []}, "network.subnets"),
    ({"network__subnets": ["vpc-1"]}, "network.subnets[0]"),
    ({"network__subnets": ["subnet-01234567", 1]}, "network.subnets[1]"),
    ({"network__securityGroups": "sg-01234567"}, "network.securityGroups"),
    ({"network__publicIp": "ENABLED"}, "network.publicIp"),
    ({"network__publicIp": 1}, "network.publicIp"),
    ({"loadBalancer": BALANCER | {"targetGroup": "coder"}}, "loadBalancer.targetGroup"),
    ({"loadBalancer": BALANCER | {"url": "coder.example.com"}}, "loadBalancer.url"),
    ({"loadBalancer": BALANCER | {"gracePeriod": -1}}, "loadBalancer.gracePeriod"),
    ({"loadBalancer": BALANCER | {"port": 80}}, "loadBalancer.port"),
    ({"desiredCount": 0}, "desiredCount"),
    ({"strategy": "blue-green"}, "strategy"),
    ({"timeout": 29}, "timeout"),
    ({"timeout": 3601}, "timeout"),
    ({"failureThreshold": 0}, "failureThreshold"),
    ({"verify": []}, "verify"),
    ({"build": {"mode": "bazel"}}, "build.mode"),
    ({"build": {"baseImage": "alpine:latest"}}, "build.baseImage"),
    ({"build": {"commands": "make"}}, "build.commands"),
    ({"network__publicIp": False}, "verify"),
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
    wrong = document(service="a b", container__port=0, timeout=1, verify__path="x", colour="red")
    found = wrong_fields(wrong)
    assert found == ["service", "container.port", "verify.path", "timeout", "colour"]


@pytest.mark.parametrize("made", [None, [], "spec", 7])
def test_a_spec_that_is_no_object_is_refused(made: object) -> None:
    assert "must be a JSON object" in rejection(made)


SECRET = "hunter2-tr0ub4dor"


@pytest.mark.parametrize(
    "changes",
    [
        {"container__environment__DB_PASSWORD": SECRET},
        {"container__environment__URL": f"postgres://coder:{SECRET}@db/coder"},
        {"container__environment": [{"name": "DB", "value": SECRET}]},
        {"container__environment": f"DB={SECRET}"},
        {"container__environment__A": [SECRET]},
        {"container__secrets__DB": SECRET},
        {"container__secrets__DB": {"value": SECRET}},
        {"container__secrets": [SECRET]},
        {"container__secrets": SECRET},
        {"container": [{"environment": {"A": SECRET}}]},
        {"container": f'{{"environment": "{SECRET}"}}'},
        {"container__port": {"A": SECRET}},
        {"container__environmen": {"A": SECRET}},
        {"sidecars": {"environment": [{"value": SECRET}]}},
        {"sidecars": [{"environment": [{"value": SECRET}]}]},
        {"sidecars": [[{"value": SECRET}]]},
        {"service": {"A": SECRET}},
        {"cpu": {"A": SECRET}},
        {"network__subnets": [{"A": SECRET}]},
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
    made = spec(container__environment={name: value})
    assert made.container.environment == {name: value}


# environment and secrets

ADDRESS = {"CODER_HTTP_ADDRESS": "0.0.0.0:3000"}


def test_environment_may_come_in_several_objects() -> None:
    more = [ADDRESS, {}, {"LOG_LEVEL": "info"}]
    made = spec(container__environment=more)
    assert made.container.environment == ADDRESS | {"LOG_LEVEL": "info"}


@pytest.mark.parametrize("value", ["value", "valueFrom"])
def test_the_form_of_ecs_is_not_taken_for_two_variables(value: str) -> None:
    as_in_ecs = [{"name": "LOG_LEVEL", value: "info"}]
    assert wrong_fields(document(container__environment=as_in_ecs)) == ["container.environment[0]"]


def test_a_name_is_given_once() -> None:
    """The surroundings give what the application needs; what a team adds must not undo it."""
    twice = document(container__environment=[ADDRESS, {"A": "1"}, {"A": "1"} | ADDRESS])
    assert wrong_fields(twice) == [
        "container.environment.A",
        "container.environment.CODER_HTTP_ADDRESS",
    ]
    assert "is given twice" in rejection(twice)


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
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder/url-AbCdEf"
    for kind, value in (("environment", "x"), ("secrets", arn)):
        wrong = document(**{f"container__{kind}__{name}": value})
        assert wrong_fields(wrong) == [f"container.{kind}.{name}"]
        assert f"is unknown to Coder: {right}" in rejection(wrong)


def test_another_application_may_call_its_variables_what_it_likes() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/url-AbCdEf"
    names = {"environment": {"POSTGRES_URL": "x"}, "secrets": {"DATABASE_URL": arn}}
    assert spec(container={"port": 80, **names}).container.secrets == names["secrets"]


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "127.0.0.1:3000", ":3000", "0.0.0.0", ""])
def test_coder_listens_where_the_container_is_looked_for(address: str) -> None:
    wrong = document(container__environment__CODER_HTTP_ADDRESS=address)
    assert wrong_fields(wrong) == ["container.environment.CODER_HTTP_ADDRESS"]


def test_coder_does_not_redirect_to_https_that_ends_before_it() -> None:
    name = "CODER_REDIRECT_TO_ACCESS_URL"
    behind = {"loadBalancer": BALANCER, "container__healthCheck": None}
    wrong = document(**behind, **{f"container__environment__{name}": "true"})
    assert wrong_fields(wrong) == [f"container.environment.{name}"]
    spec(**behind, **{f"container__environment__{name}": "false"})
    plain = behind | {"loadBalancer": BALANCER | {"url": "http://coder.example.com"}}
    spec(**plain, **{f"container__environment__{name}": "true"})


@pytest.mark.parametrize(
    ("start_period", "grace_period", "valid"),
    [(30, 120, True), (29, 120, False), (300, 900, False)],
)
def test_a_health_check_leaves_a_start_the_time_that_the_load_balancer_gives(
    start_period: int, grace_period: int, valid: bool
) -> None:
    made = document(
        loadBalancer=BALANCER | {"gracePeriod": grace_period},
        container__healthCheck={"command": ["CMD", "true"], "startPeriod": start_period},
    )
    if valid:
        specs.from_document(made, "sample")
    else:
        assert wrong_fields(made) == ["container.healthCheck"]


# cpu and memory


@pytest.mark.parametrize("cpu", FARGATE_MEMORY)
def test_fargates_sizes_and_no_others_pass(cpu: int) -> None:
    sizes = FARGATE_MEMORY[cpu]
    for memory in (min(sizes), max(sizes)):
        assert spec(cpu=cpu, memory=memory).memory == memory
    for memory in (min(sizes) - 1, min(sizes) + 1, max(sizes) + 1024):
        wrong = rejection(document(cpu=cpu, memory=memory))
        assert re.search(r"\bmemory: ", wrong)


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
        f"/deployer/services/{name}": made if isinstance(made, str) else json.dumps(made)
        for name, made in documents.items()
    }


STAGING = document(service="staging", tags="rc-.*")
OTHER = document(service="other", repository="other")


def test_a_push_is_for_the_service_of_its_repository() -> None:
    ((found, document_),), _ = specs.for_push(stored(a=OTHER, b=document()), "coder", "2.1.0")
    assert found.service == "coder"
    assert document_ == document()


@pytest.mark.parametrize(("tag", "service"), [("2.1.0", "coder"), ("rc-1", "staging")])
def test_services_that_share_a_repository_are_told_apart_by_the_tag(tag: str, service: str) -> None:
    ((found, _),), _ = specs.for_push(stored(a=document(), b=STAGING), "coder", tag)
    assert found.service == service


@pytest.mark.parametrize("tag", ["nightly", None])
def test_a_push_that_no_pattern_names_is_filed_under_one_of_the_services(tag: str | None) -> None:
    ((found, _),), _ = specs.for_push(stored(a=document(), b=STAGING), "coder", tag)
    assert found.service in ("coder", "staging")


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
    "broken", ["{", "[]", "", json.dumps(document(service="broken", repository="x", cpu=1))]
)
def test_a_broken_spec_stops_its_own_service_only(broken: str) -> None:
    parameters = stored(broken=broken, coder=document())
    ((found, _),), _ = specs.for_push(parameters, "coder", "2.1.0")
    assert found.service == "coder"
    assert specs.for_service(parameters, "coder")[0].service == "coder"


def test_an_order_finds_its_service_by_name() -> None:
    found, made = specs.for_service(stored(a=OTHER, b=document()), "coder")
    assert (found.service, made) == ("coder", document())


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


def paths(made: Any, path: str = "") -> list[str]:
    """The paths of a document's fields, as `document` takes them."""
    if not isinstance(made, dict):
        return [path]
    below = [found for name in made for found in paths(made[name], f"{path}__{name}".strip("_"))]
    return [path, *below] if path else below


FIELDS = sorted({*paths(document()), "loadBalancer", "sidecars", "container__extra", "family"})


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@given(
    values
    | st.tuples(st.sampled_from(FIELDS), values).map(lambda change: document(**dict([change])))
)
def test_no_document_does_worse_than_being_called_invalid(made: object) -> None:
    try:
        found = specs.from_document(made, "a spec")
    except SpecInvalid as refusal:
        assert str(refusal).startswith("a spec ")
    else:
        assert isinstance(found, ServiceSpec)


@given(st.sampled_from(sorted(paths(document()))), values)
def test_a_text_in_a_wrong_place_is_not_taken(path: str, value: object) -> None:
    """What passes has the kind that the sample has there, so nothing is read as something else."""
    assume(value is not None)
    # a list of objects is as good as one of them, though none of them says anything
    assume(
        not isinstance(value, list) or path not in ("container__environment", "container__secrets")
    )
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
