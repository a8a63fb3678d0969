"""The names that a shell completes, from a deployer that is there."""

from tests.cli.commands.conftest import Operator


def offered(operator: Operator, line: str) -> list[str]:
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = operator.run("", _DEPLOYER_COMPLETE="bash_complete", **asked)
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.splitlines()]


def test_services_images_releases_and_containers_complete(rolled_back: Operator) -> None:
    stage = rolled_back.stage
    assert stage.service in offered(rolled_back, "deployer status --service ")
    of_it = f"--service {stage.service}"
    assert offered(rolled_back, f"deployer deploy {of_it} ") == ["1.1.0", "1.0.0"]
    assert offered(rolled_back, f"deployer wait {of_it} 1.0") == ["1.0.0"]
    assert offered(rolled_back, f"deployer rollback {of_it} ") == ["previous", "1.0.0"]
    assert offered(rolled_back, f"deployer history {of_it} la") == ["last"]
    releases = ["live", "last", "1.1.0", "1.0.0"]
    assert offered(rolled_back, f"deployer logs {of_it} --release ") == releases
    assert offered(rolled_back, f"deployer run {of_it} --container ") == [stage.service]
