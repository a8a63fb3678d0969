"""`make deploy` against the local AWS: made, again, changed, refused, failed, followed, removed."""

import json
import signal
import subprocess
from typing import Any

from tests.cli.setup.conftest import Checkout

INFRASTRUCTURE = ("--mode", "infrastructure")


def actions(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(stack["stack"], stack["action"]) for stack in message["stacks"]]


def status(project: Checkout, stack: str) -> str | None:
    assert project.aws
    client = project.aws.client("cloudformation")
    try:
        return str(client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
    except client.exceptions.ClientError:
        return None


def open_change_sets(project: Checkout, stack: str) -> list[str]:
    assert project.aws
    output = project.aws.client("cloudformation").list_change_sets(StackName=stack)["Summaries"]
    return [s["ChangeSetName"] for s in output if s["ExecutionStatus"] == "AVAILABLE"]


def test_from_nothing_and_again_and_away(deployable: Checkout) -> None:
    names = [f"{deployable.name}-{kind}" for kind in ("network", "service", "deployer")]
    network, service, _ = names
    assert deployable.aws
    cloudformation = deployable.aws.client("cloudformation")

    unasked = deployable.run(*INFRASTRUCTURE)
    assert unasked.returncode == 4
    assert "Create 3 stacks in account" in unasked.stderr
    assert [status(deployable, name) for name in names] == [None] * 3

    first = deployable.output(*INFRASTRUCTURE, "--yes")
    assert actions(first) == [(name, "created") for name in names]
    assert first["stacks"][0]["outputs"] == {"QueueName": f"{deployable.name}-one"}
    assert any("docker push" in line for line in first["next"])
    assert [check for check in first["checks"] if "not checked" in check["finding"]] == []
    assert first["plan"]["dollars"] > 0

    again = deployable.output(*INFRASTRUCTURE)  # nobody need be asked: nothing changes
    assert actions(again) == [(name, "unchanged") for name in names]
    assert [open_change_sets(deployable, name) for name in names] == [[], [], []]

    guarded = cloudformation.describe_stacks(StackName=service)["Stacks"][0]
    assert guarded["EnableTerminationProtection"]
    policy = json.loads(cloudformation.get_stack_policy(StackName=service)["StackPolicyBody"])
    assert policy["Statement"][1]["Resource"] == ["LogicalResourceId/Records"]
    assert not cloudformation.describe_stacks(StackName=network)["Stacks"][0][
        "EnableTerminationProtection"
    ]

    deployable.write(ServiceName=deployable.name, Label="changed")
    changed = deployable.output(*INFRASTRUCTURE, "--yes")
    assert [action for _, action in actions(changed)] == ["updated", "unchanged", "unchanged"]
    assert {"action": "modify", "resource": "Topic", "type": "AWS::SNS::Topic"} in changed[
        "stacks"
    ][0]["changes"]

    unasked = deployable.run("--remove")
    assert (unasked.returncode, status(deployable, network)) == (4, "UPDATE_COMPLETE")
    gone = deployable.run("--remove", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert [status(deployable, name) for name in names] == [None] * 3
    table = f"{deployable.name}-one"
    assert f"aws dynamodb delete-table --table-name {table}" in gone.stdout
    assert deployable.aws.client("dynamodb").describe_table(TableName=table)

    nothing = deployable.run("--remove")
    assert (nothing.returncode, "There is nothing to remove." in nothing.stdout) == (0, True)

    # what stayed is in the way of the next creation, and is told before anything is made
    blocked = deployable.run(*INFRASTRUCTURE, "--yes")
    assert blocked.returncode == 3
    assert f"DynamoDB::Table {table} is there" in blocked.stdout
    assert status(deployable, network) is None


def test_a_deployer_that_serves_others_stays(deployable: Checkout) -> None:
    assert deployable.aws
    deployable.write(ServiceName=deployable.name, SpecPath=f"/{deployable.name}")
    deployable.output(*INFRASTRUCTURE, "--yes")
    deployable.aws.client("ssm").put_parameter(
        Name=f"/{deployable.name}/other", Value="{}", Type="String"
    )
    gone = deployable.run("--remove", "--yes")
    assert (gone.returncode, "it serves other too" in gone.stdout) == (0, True)
    kinds = ("network", "service", "deployer")
    left = [status(deployable, f"{deployable.name}-{kind}") for kind in kinds]
    assert left == [None, None, "CREATE_COMPLETE"]


def test_a_replacement_is_not_done_unasked_and_data_is_never_lost(deployable: Checkout) -> None:
    service = f"{deployable.name}-service"
    deployable.output(*INFRASTRUCTURE, "--yes")

    # a table of another name would be a new, empty one
    deployable.write(ServiceName=deployable.name, TableSuffix="two")
    for options in (("--yes",), ("--yes", "--allow-replace")):
        refused = deployable.run(*INFRASTRUCTURE, *options)
        assert refused.returncode == 4
        assert "data would be lost: Records (DynamoDB::Table" in refused.stderr
        assert "(because of TableName)" in refused.stderr
        assert "--allow-data-loss Records" in refused.stderr
        assert open_change_sets(deployable, service) == []
    replaced = deployable.output(
        *INFRASTRUCTURE, "--yes", "--allow-replace", "--allow-data-loss", "Records"
    )
    assert replaced["stacks"][1]["changes"][0]["action"] == "replace"


def test_a_first_attempt_that_fails_stands_in_nobodys_way(deployable: Checkout) -> None:
    network = f"{deployable.name}-network"
    deployable.write(ServiceName=deployable.name, WaitSeconds="1")
    failed = deployable.run(*INFRASTRUCTURE, "--yes", "--json")
    assert failed.returncode == 1
    assert f"{network}: Wait (AWS::CloudFormation::WaitCondition) failed" in failed.stderr
    assert "the next run starts from scratch" in failed.stderr
    assert json.loads(failed.stdout)["error"]["code"] == 1
    assert status(deployable, network) == "ROLLBACK_COMPLETE"

    deployable.write(ServiceName=deployable.name)
    good = deployable.output(*INFRASTRUCTURE, "--yes")
    assert [action for _, action in actions(good)] == ["created"] * 3

    # an update that fails leaves the stack as it was
    deployable.write(ServiceName=deployable.name, WaitSeconds="1", Label="other")
    failed = deployable.run(*INFRASTRUCTURE, "--yes", "--allow-replace")
    assert (failed.returncode, "The stack is as it was before." in failed.stderr) == (1, True)
    assert status(deployable, network) == "UPDATE_ROLLBACK_COMPLETE"


def test_ctrl_c_ends_the_following_only_and_the_next_run_waits_for_it(
    deployable: Checkout,
) -> None:
    network = f"{deployable.name}-network"
    deployable.write(ServiceName=deployable.name, WaitSeconds="10")
    with subprocess.Popen(
        deployable.command(*INFRASTRUCTURE, "--yes"),
        cwd=deployable.root,
        env={**deployable.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout
        while "WaitCondition, create in progress" not in (line := running.stdout.readline()):
            assert line, running.communicate()
        running.send_signal(signal.SIGINT)
        _, message = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"stopped following; {network} goes on in CloudFormation" in message
    assert status(deployable, network) == "CREATE_IN_PROGRESS"

    after = deployable.run(*INFRASTRUCTURE, "--yes")
    assert "begun by somebody else or by an earlier run: waiting for its end" in after.stdout
    assert "ROLLBACK_COMPLETE is left of an attempt that failed: deleting it." in after.stdout


def test_the_application_and_docs_by_the_deployers_state_machines(deployable: Checkout) -> None:
    none = deployable.run("--mode", "application", "--image", "1.0.0")
    assert none.returncode == 3
    assert f"there is no stack {deployable.name}-deployer" in none.stderr
    deployable.output(*INFRASTRUCTURE, "--yes")

    live = deployable.output("--mode", "application", "--image", "1.2.0")["application"]
    assert (live["outcome"], live["version"]) == ("SUCCEEDED", "1.2.0")
    assert live["url"] == "http://example.com"
    missing = deployable.run("--mode", "application", "--image", "missing")
    assert missing.returncode == 1
    assert f"{deployable.name} was not deployed: ImageMissing: there is no such" in missing.stderr

    sources = deployable.root / "sources"
    sources.mkdir()
    (sources / "index.html").write_text("<h1>Docs</h1>\n")
    unbuilt = deployable.run("--mode", "application", "--source", str(sources))
    assert (unbuilt.returncode, "no output BuildStateMachine" in unbuilt.stderr) == (3, True)
    docs = deployable.output("--mode", "docs", "--docs", str(sources))["docs"]
    assert docs["url"] == "http://docs.example.com"


def test_without_an_image_the_newest_is_deployed_or_how_to_push_is_told(
    deployable: Checkout,
) -> None:
    assert deployable.aws
    ecr = deployable.aws.client("ecr")
    ecr.create_repository(repositoryName=deployable.name)
    deployable.output(*INFRASTRUCTURE, "--yes")
    nothing = deployable.run("--mode", "application")
    assert nothing.returncode == 3
    assert f"the repository {deployable.name} has no image yet" in nothing.stderr
    assert f"docker push 000000000000.dkr.ecr.us-east-1.amazonaws.com/{deployable.name}" in (
        nothing.stderr
    )
    for tag in ("1.0.0", "1.1.0", f"sha256-{'0' * 64}.sig"):
        manifest = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}, "n": tag}
        ecr.put_image(
            repositoryName=deployable.name, imageManifest=json.dumps(manifest), imageTag=tag
        )
    assert deployable.output("--mode", "application")["application"]["version"] == "1.1.0"
