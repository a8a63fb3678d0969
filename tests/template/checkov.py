"""`python -m tests.template.checkov`: checkov over the templates as CloudFormation gets them.

It lives in an environment of its own, since it pins old versions of what the others need.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

from tests import start
from tests.template.conftest import ROOT, TEMPLATES


def plain(template: Path) -> str:
    """What SAM makes of a template, as `sam validate` does: nothing is asked of an account."""
    return str(
        SamTemplateValidator(
            yaml_parse(template.read_text()), managed_policy_loader=None, region="us-east-1"
        ).get_translated_template_if_valid()
    )


def main() -> int:
    start.alike()  # `sam` would ask for the profile of whoever starts it
    with tempfile.TemporaryDirectory() as directory:
        for template in TEMPLATES:
            text = template.read_text()
            transformed = plain(template) if "AWS::Serverless" in text else text
            (Path(directory) / template.name).write_text(transformed)
        done = subprocess.run(
            [ROOT / ".checkov/bin/checkov", "--config-file", ROOT / ".checkov.yaml", "-d", "."],
            cwd=directory,
            capture_output=True,
            text=True,
        )
    # it ends with 0 even if it could not read a template, or found none
    message = done.stdout + done.stderr
    read = "Passed checks: " in message and "Parsing errors" not in message
    if done.returncode or not read:
        print(message, file=sys.stderr)
    return done.returncode or int(not read)


if __name__ == "__main__":
    sys.exit(main())
