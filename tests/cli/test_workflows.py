"""The workflows of docs/notifications.md can be copied: their commands are understood, and they ask
for the token that the role's trust accepts. So can the page's other commands."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from demo import ROOT
from tests.cli.test_nextstep import understood
from tests.template.conftest import load

PAGE = (ROOT / "docs/notifications.md").read_text()
# BaseLoader: `on` is a word, as GitHub reads it
GITHUB, GITLAB = (
    yaml.load(text, yaml.BaseLoader) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
# what runs beside what tests/cli/test_nextstep.py understands
OTHERS = {"docker", "uv", "apk", "echo", "export", "jq", "openssl", "for", "gh"}


def steps() -> list[Any]:
    return list(GITHUB["jobs"]["deploy"]["steps"])


def scripts() -> dict[str, list[str]]:
    return {
        "GitHub": [step["run"] for step in steps() if "run" in step],
        "GitLab": GITLAB["deploy"]["script"],
    }


def shown() -> Iterator[str]:
    """The page's commands outside of the workflows."""
    text = re.sub(r"```yaml\n.*?```", "", PAGE, flags=re.DOTALL).replace("\\\n", " ")
    for line in re.findall(r"^    (.+)", text, re.MULTILINE):
        yield from re.findall(r"(?<!\w)(aws [a-z-]+ [a-z-]+ [^|)]+?)(?=; done|\)|\||$)", line)


@pytest.mark.parametrize("host", scripts())
def test_each_command_of_a_workflow_is_understood(host: str) -> None:
    programs = []
    for line in scripts()[host]:
        for command in re.split(r" (?:\|\|?|&&|>) ", line):
            words = shlex.split(command)
            programs.append(words[0])
            if words[0] in ("aws", "deployer"):
                understood(words)
            else:
                assert words[0] in OTHERS or words[0].startswith("$"), command
    wanted = ["docker", "docker", "docker", "uv", "deployer"]  # log in, build, push, install, wait
    assert [name for name in programs if name in wanted] == wanted


def test_the_images_label_is_one_that_a_release_is_known_by() -> None:
    for script in scripts().values():
        (build,) = (line for line in script if line.startswith("docker build"))
        assert "org.opencontainers.image.revision=$" in build


def test_the_workflows_ask_for_the_token_that_the_role_trusts() -> None:
    assert GITHUB["permissions"] == {"contents": "read", "id-token": "write"}
    environment = GITHUB["jobs"]["deploy"]["environment"]
    assert f"GitHubSubject: repo:team/shop:environment:{environment} " in PAGE
    assert GITLAB["deploy"]["id_tokens"]["AWS_TOKEN"]["aud"] == "sts.amazonaws.com"
    (assumed,) = (step["with"] for step in steps() if "role-to-assume" in step.get("with", {}))
    duration = int(assumed["role-duration-seconds"])
    timeout = int(re.findall(r"--timeout (\d+)", scripts()["GitHub"][-1])[0])
    template = load(ROOT / "infrastructure/notifications.yaml")
    longest = template["Resources"]["CiRole"]["Properties"]["MaxSessionDuration"]
    assert timeout < duration <= longest


def test_the_subjects_of_the_page_are_taken() -> None:
    parameters = load(ROOT / "infrastructure/notifications.yaml")["Parameters"]
    for name in ("GitHubSubject", "GitLabSubject"):
        subjects = re.findall(rf"{name}: (\S+)", PAGE)
        assert subjects
        for subject in subjects:
            assert re.fullmatch(parameters[name]["AllowedPattern"], subject), subject


def test_the_pages_other_commands_are_understood() -> None:
    commands = list(shown())
    assert len(commands) >= 5
    for command in commands:
        understood(shlex.split(re.sub(r'"\$\(.*', "X", command)))
