"""A release of several services: each has a spec of its own, and what cannot be is refused."""

import json
from typing import Any

import pytest

from cli import specfile
from deployer.deploy import spec as specs
from deployer.errors import ServiceUnknown, SpecInvalid
from deployer.store import specs as index
from deployer.usecases import find_spec
from tests.unit.samples import ADOPTED, BALANCER, document, spec
from tests.unit.test_find_spec import NOW, PATH, write
from tests.unit.test_spec import wrong_fields

WORKER, CRON = {"service": "worker"}, {"service": "cron"}
GROUP = document(**BALANCER)["serviceDefinition"]["loadBalancers"][0]["targetGroupArn"]
TASK = {"containerDefinitions": [{"name": "a"}]}


def test_a_further_service_is_a_spec_of_its_own() -> None:
    result = spec(
        wave=2,
        services=[{"service": "worker", "timeout": 60, "strategy": "rolling", "bake": 5}],
    )
    leading, worker = result.parts
    assert leading == result
    shared = ("cluster", "repository", "tags", "rollback", "keep_releases", "database", "build")
    assert [getattr(worker, name) for name in shared] == [getattr(result, n) for n in shared]
    assert (worker.service, worker.lead, worker.wave) == ("worker", "coder", 1)
    assert (worker.timeout, worker.strategy, worker.bake) == (60, "rolling", 5)
    assert (worker.task_definition, worker.service_definition, worker.verify) == (None,) * 3
    assert (worker.before, worker.after, worker.preset, worker.further) == (None, None, None, ())
    assert [[part.service for part in wave] for wave in result.waves] == [["worker"], ["coder"]]


def test_services_are_updated_together_unless_the_spec_says_otherwise() -> None:
    result = spec(**ADOPTED, services=[WORKER, {**CRON, "wave": 2}])
    waves = [[part.service for part in wave] for wave in result.waves]
    assert waves == [["coder", "worker"], ["cron"]]
    assert spec().parts == (spec(),)


@pytest.mark.parametrize(
    ("services", "more", "wrong"),
    [
        ([{}], {}, ["services[0].service"]),
        ([WORKER, WORKER], {}, ["services[1].service"]),
        ([{"service": "coder"}], {}, ["services[0].service"]),
        ([{**WORKER, "wave": 3}], {}, ["services[0].wave"]),
        ([], {"wave": 2}, ["wave"]),
        ([{**WORKER, "wave": 0}], {}, ["services[0].wave"]),
        ([{**WORKER, "tags": "v.*"}], {}, ["services[0].tags"]),
        ([{**WORKER, "before": {"command": ["x"]}}], {}, ["services[0].before"]),
        ([{**WORKER, "services": []}], {}, ["services[0].services"]),
        ([{"service": f"s{n}"} for n in range(10)], {}, ["services"]),
        ([{**WORKER, "timeout": 3600, "wave": 2}, {**CRON, "wave": 3}], {}, ["services"]),
        ([{**WORKER, "taskDefinition": TASK}], {}, []),
        (
            [{**WORKER, "container": "b", "taskDefinition": TASK}],
            {},
            ["services[0].container"],
        ),
        (
            [{**WORKER, "serviceDefinition": {"desiredCount": 0, "cluster": "x"}}],
            {},
            ["services[0].serviceDefinition.desiredCount", "services[0].serviceDefinition.cluster"],
        ),
        (
            [{**WORKER, "serviceDefinition": {"loadBalancers": [{"targetGroupArn": GROUP}]}}],
            BALANCER,
            ["services[0].serviceDefinition.loadBalancers"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_path(
    services: list[Any], more: dict[str, Any], wrong: list[str]
) -> None:
    described = document(**(more or ADOPTED), services=services)
    if wrong:
        assert wrong_fields(described) == wrong
    else:
        specs.from_document(described, "x")


def test_all_that_is_wrong_is_named_at_once() -> None:
    described = document(timeout=1, services=[{"service": "worker", "timeout": 1}, {"wave": 5}])
    assert wrong_fields(described) == [
        "timeout",
        "services[0].timeout",
        "services[1].service",
        "services[1].wave",
    ]


def test_ecs_model_checks_the_documents_of_each() -> None:
    worker = {**WORKER, "serviceDefinition": {"desiredCount": 1, "colour": "red"}}
    problems = specfile.wrong_fields(document(services=[worker]))
    assert [problem.partition(":")[0] for problem in problems] == [
        "services[0].serviceDefinition.colour"
    ]


# Of other specs -----------------------------------------------------------------------------------


def parameters(*documents: dict[str, Any]) -> dict[str, str]:
    return {f"{PATH}/{one['service']}": json.dumps(one) for one in documents}


def lone(service: str, **more: Any) -> dict[str, Any]:
    return document(**{**ADOPTED, "service": service, **more})


def test_a_service_belongs_to_one_spec() -> None:
    both = parameters(lone("web", services=[WORKER]), lone("worker", repository="other"))
    with pytest.raises(SpecInvalid, match=f"service worker is in {PATH}/worker too"):
        specs.for_service(both, "web")
    with pytest.raises(SpecInvalid, match=f"service worker is in {PATH}/web too"):
        specs.for_service(both, "worker")
    assert specs.services(both) == []
    matches, invalid = specs.for_push(both, "other", "2.1.0")
    assert not matches and [entry.service for entry in invalid] == ["worker"]


def test_a_further_service_is_released_by_its_leading_ones_name() -> None:
    with pytest.raises(ServiceUnknown, match="worker is released with web: name that service"):
        specs.for_service(parameters(lone("web", services=[WORKER])), "worker")


@pytest.mark.usefixtures("releases_table")
def test_the_index_of_many_knows_who_shares_a_service() -> None:
    for number in range(11):
        write(f"s{number:02}")
    write("web", services=[WORKER])
    write("worker")
    find_spec.all_specs()
    names, others, _ = index.names_with("repository", "web", NOW)
    assert (names, others) == ([f"{PATH}/web"], [f"{PATH}/worker"])
    matches, invalid = find_spec.for_push("web", "2.1.0")
    assert not matches and [entry.service for entry in invalid] == ["web"]
    assert find_spec.for_service("s01")[0].service == "s01"
    with pytest.raises(SpecInvalid, match="worker is in"):
        find_spec.for_service("worker")
