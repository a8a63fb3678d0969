"""Read the task definition from which a service's releases are made: in the spec, or in ECS."""

from botocore.exceptions import ClientError

from deployer.aws import ecs, refused
from deployer.deploy import documents, rollout, task_definitions
from deployer.deploy.rollout import Service
from deployer.deploy.spec import ServiceSpec
from deployer.deploy.task_definitions import Base
from deployer.errors import PreflightFailed


def base(spec: ServiceSpec, service: Service | None = None) -> Base:
    """Return the task definition from which a release is made.

    Args:
        service: the service, if it was read already.
    Raises:
        PreflightFailed: it is neither in the spec nor in ECS; the message says what to write.
    """
    named = spec.task_definition
    if named is not None and not isinstance(named, str):
        return task_definitions.in_spec(spec, named)
    if named is None:
        service = service or ecs.service(spec.cluster, spec.service)
        runs = rollout.task_definition(service)
        if runs is None:
            raise PreflightFailed(
                f"service {spec.service} does not exist in cluster {spec.cluster}, so there is"
                " nothing to adopt. Correct service and cluster in the service spec; or, to create"
                " it, add taskDefinition and serviceDefinition"
            )
        named = runs
    described = ecs.task_definition(named)
    if described is None:
        raise PreflightFailed(
            f"taskDefinition {named} does not exist. Register it, or correct the name in the"
            " service spec; `aws ecs list-task-definition-families` lists them"
        )
    definition, tags = described
    if spec.task_definition is not None and definition.get("status") != "ACTIVE":
        raise PreflightFailed(
            f"taskDefinition {named} is {definition.get('status')}. Name the family alone in the"
            " service spec, for its newest ACTIVE revision, or another revision"
        )
    return task_definitions.in_ecs(spec, definition, tags)


def platform(spec: ServiceSpec) -> str | None:
    """Return the platform that an image of the service needs; None if nobody knows yet.

    The preflight says what is missing, and which permission.
    """
    try:
        return documents.platform(base(spec).definition)
    except PreflightFailed:
        return None
    except ClientError as error:
        if refused(error):
            return None
        raise
