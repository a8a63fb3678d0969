"""`make deploy` against the local AWS: made, again, changed, refused, failed, removed."""

import json

from tests.cli.conftest import Checkout


def actions(told: dict[str, object]) -> dict[str, str]:
    stacks = told["stacks"]
    assert isinstance(stacks, list)
    return {s["stack"]: s["action"] for s in stacks}


def test_from_nothing_and_again(deployable: Checkout) -> None:
    first = deployable.told("--mode", "infrastructure", "--yes")
    names = [f"{deployable.name}-{kind}" for kind in ("network", "service", "deployer")]
    assert actions(first) == dict.fromkeys(names, "created")
    again = deployable.told("--mode", "infrastructure")  # nobody need be asked: nothing changes
    assert actions(again) == dict.fromkeys(names, "unchanged")
    assert deployable.aws
    cloudformation = deployable.aws.client("cloudformation")
    for name in names:
        assert cloudformation.list_change_sets(StackName=name)["Summaries"] in ([],) or all(
            s["ExecutionStatus"] != "AVAILABLE"
            for s in cloudformation.list_change_sets(StackName=name)["Summaries"]
        )
    guarded = cloudformation.describe_stacks(StackName=names[1])["Stacks"][0]
    assert guarded["EnableTerminationProtection"]
    policy = json.loads(cloudformation.get_stack_policy(StackName=names[1])["StackPolicyBody"])
    assert policy["Statement"][1]["Resource"] == ["LogicalResourceId/Records"]
