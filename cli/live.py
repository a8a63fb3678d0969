"""The live release of a service: the one that was verified last, as long as it serves."""

from dataclasses import dataclass

from cli.errors import UNREADY, WRONG, CommandFailed
from cli.target import Target
from deployer.aws import ecs
from deployer.deploy import documents, serving
from deployer.deploy.documents import Document
from deployer.deploy.release import Recorded
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec


@dataclass(frozen=True)
class Live:
    """The live release.

    Attributes:
        revision: the ARN of its task definition.
        definition: that task definition.
        service: the ECS service that runs it.
        in_flight: whether a deployment is about to replace it.
    """

    record: Recorded
    revision: str
    definition: Document
    service: Service
    in_flight: bool


def find(target: Target) -> Live:
    """Return the live release.

    Raises:
        CommandFailed: no release was ever live, or the one that was verified last does not serve.
    """
    spec, records = target.spec, target.history
    service = ecs.service(spec.cluster, spec.service)
    state = serving.of(records, serving.running(service))
    verified, in_flight = state.last_verified, any("outcome" not in one for one in records)
    if verified is None:
        raise CommandFailed(
            UNREADY,
            f"no release of {spec.service} is live: none was ever verified",
            ["Push an image, or deploy one that is there:", "  deployer deploy"],
        )
    if service is None or not state.verified:
        why = serving.alarm(state, in_flight) or "nothing serves."
        mend = serving.mend(spec, service, state) or "  deployer doctor"
        wait = ["Wait for it:", "  deployer follow"]
        raise CommandFailed(
            UNREADY,
            f"no release of {spec.service} is live: {why.removesuffix('.')}",
            wait if in_flight else ["To make it serve again:", mend],
        )
    revision = str(verified.get("taskDefinition"))
    described = ecs.task_definition(revision)
    return Live(verified, revision, described[0] if described else {}, service, in_flight)


def container(definition: Document, spec: ServiceSpec, asked: str | None) -> str:
    """Return the container that the user names; by default the one that runs the image.

    Raises:
        CommandFailed: the task definition has none of that name.
    """
    names = [str(one.get("name")) for one in documents.containers(definition)]
    if asked and asked not in names:
        listed = ", ".join(names)
        raise CommandFailed(WRONG, f"no container is named {asked}", [f"Containers: {listed}."])
    return asked or str(
        documents.of_release(definition, spec.container, spec.repository).get("name")
    )
