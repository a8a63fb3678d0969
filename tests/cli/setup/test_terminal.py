"""The command at a terminal: the questions of the first time, y and n, Ctrl-C, a narrow window."""

import contextlib
from collections.abc import Iterator

import pytest

from setup import settings
from tests.cli.setup.conftest import Checkout
from tests.cli.terminal import Terminal
from tests.cli.terminal import terminal as terminal_of


@contextlib.contextmanager
def terminal(project: Checkout, *options: str, columns: int = 100) -> Iterator[Terminal]:
    command, environment = project.command(*options), project.environment
    with terminal_of(command, environment, project.root, columns) as shown:
        yield shown


def test_the_first_time_is_guided(deployable: Checkout) -> None:
    assert deployable.aws
    domain = f"{deployable.name}.example.com"
    route53 = deployable.aws.client("route53")
    for name in (domain, "elsewhere.example.org"):
        route53.create_hosted_zone(Name=name, CallerReference=name)
    secret = deployable.aws.client("secretsmanager").create_secret(
        Name=f"{deployable.name}/url", SecretString="postgresql://u:hunter2@h/d"
    )["ARN"]
    file = deployable.root / "environments" / "default.yaml"
    file.write_text("# Ours\nLabel: plain # kept\n")
    with terminal(deployable, "--mode", "infrastructure") as shown:
        shown.answer("ServiceName (coder):", "Not_A_Name")
        shown.expect("`Not_A_Name` must be lower-case letters, digits and hyphens, such as coder")
        shown.answer("ServiceName (coder):", deployable.name)
        shown.answer("DomainName (coder.example.com):", f"c.{domain}")
        shown.expect(f"1  {domain}  Z")
        shown.answer("1 to 2 [1]:", "7")
        shown.answer("Please type a number from 1 to 2.", "1")
        shown.answer("2  an existing one, whose URL is a secret", "2")
        shown.answer("DatabaseUrlSecretArn", secret)
        shown.expect("1  a new one")
        shown.answer("[1]:", "2")
        shown.answer("SubnetIds [subnet-", "")
        shown.expect("Written to environments/default.yaml.")
        shown.expect("✓ DatabaseUrlSecretArn: a connection URL as plain text")
        shown.answer("Create 3 stacks in account", "y")
        shown.expect("CREATE_COMPLETE")
        shown.expect("What next")
        assert shown.ended() == 0
        assert "hunter2" not in shown.screen
    assert file.read_text().startswith("# Ours\nLabel: plain # kept\n")
    written = settings.load(file)
    assert written["ServiceName"] == deployable.name
    assert written["DomainName"] == f"c.{domain}"
    assert written["DatabaseUrlSecretArn"] == secret
    assert len(written["SubnetIds"].split(",")) == 2
    assert deployable.run("--mode", "infrastructure").returncode == 0  # unattended from now on


def test_no_is_no_and_ctrl_c_leaves_nothing(deployable: Checkout) -> None:
    assert deployable.aws
    network = f"{deployable.name}-network"
    cloudformation = deployable.aws.client("cloudformation")
    with terminal(deployable, "--mode", "infrastructure") as shown:
        shown.answer("Review the main settings now? [y/N]", "n")
        shown.answer("Create 3 stacks in account", "perhaps")
        shown.answer("Please type y or n.", "n")
        assert shown.ended() == 4
    (deployable.root / "environments" / "default.yaml").unlink()
    with terminal(deployable, "--mode", "infrastructure") as shown:
        shown.expect("ServiceName (coder):")
        shown.interrupt()
        assert shown.ended() == 130
        assert "Traceback" not in shown.screen
    assert not (deployable.root / "environments" / "default.yaml").exists()
    with pytest.raises(cloudformation.exceptions.ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=network)


def test_a_change_is_shown_before_it_is_done_and_fits_a_narrow_window(
    deployable: Checkout,
) -> None:
    deployable.output("--mode", "infrastructure", "--yes")
    deployable.write(ServiceName=deployable.name, QueueSuffix="two", Label="new")
    with terminal(deployable, "--mode", "infrastructure", columns=50) as shown:
        shown.expect("! replace")
        shown.expect("This replaces or removes:")
        shown.answer(f"Do it to {deployable.name}-network? [y/N]", "n")
        assert shown.ended() == 4
    lines = shown.screen.replace("\r", "").splitlines()
    table = [line for line in lines if line.startswith(("! ", "~ "))]
    assert table
    assert all(len(line) <= 50 for line in table)
