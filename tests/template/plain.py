"""`python -m tests.template.plain FILE`: the CloudFormation that SAM makes of template.yaml."""

import sys
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

from tests.template.conftest import ROOT


def plain(template: Path) -> str:
    """As `sam validate` transforms it: nothing is looked up in an account."""
    return str(
        SamTemplateValidator(
            yaml_parse(template.read_text()), managed_policy_loader=None, region="us-east-1"
        ).get_translated_template_if_valid()
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(exist_ok=True)
    target.write_text(plain(ROOT / "template.yaml"))
