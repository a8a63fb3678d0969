"""`deployer apply`."""

import json
from pathlib import Path

from tests.cli.commands.conftest import Operator


def test_a_spec_is_stored_after_showing_what_changes(operator: Operator, tmp_path: Path) -> None:
    stage = operator.stage
    before, file = stage.spec(), tmp_path / "deployer.yaml"
    file.write_text(json.dumps(before))
    assert "holds this spec already" in operator.run("apply", str(file)).stdout

    file.write_text(json.dumps(before | {"timeout": 77}))
    shown = operator.run("apply", str(file), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert '+  "timeout": 77' in shown.stdout
    assert f"{stage.service}-service wrote this parameter" in shown.stdout
    assert operator.run("apply", str(file)).returncode == 4, "nobody agreed"
    assert stage.spec() == before

    output = operator.output("apply", str(file), "--yes")
    assert (output["changed"], output["stored"]) == (True, True)
    assert stage.spec() == before | {"timeout": 77}


def test_a_wrong_spec_is_not_stored(operator: Operator, tmp_path: Path) -> None:
    before, file = operator.stage.spec(), tmp_path / "deployer.yaml"
    file.write_text(json.dumps(before | {"timeout": "soon", "verfy": {}}))
    refused = operator.run("apply", str(file), "--yes")
    assert refused.returncode == 3
    assert "- timeout: " in refused.stderr and "- verfy: " in refused.stderr
    file.write_text(json.dumps(before | {"service": "another"}))
    assert operator.run("apply", str(file), "--yes").returncode == 2
    ssm, other = operator.stage.aws.client("ssm"), f"{operator.stage.service}-other"
    theirs = {**before, "service": other, "repository": other}
    ssm.put_parameter(Name=f"/deployer/services/{other}", Value=json.dumps(theirs), Type="String")
    file.write_text(json.dumps(before | {"services": [{"service": other}]}))
    refused = operator.run("apply", str(file), "--yes")
    ssm.delete_parameter(Name=f"/deployer/services/{other}")
    assert f"service {other} is in /deployer/services/{other} too" in refused.stderr
    assert operator.stage.spec() == before
