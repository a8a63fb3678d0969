"""ecs-deploy (https://pypi.org/project/ecs-deploy/) on the same rollouts: when it says what.

It changes a service itself, so each of its rollouts has a service to itself, which the deployer
deployed before.
"""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from demo.oci import Image
from demo.stage import Stage

TIMEOUT = 60  # seconds that it may wait for a rollout


@dataclass
class EcsDeploy:
    """One run of `ecs deploy`; `ended` and the rest are known after `join`."""

    stage: Stage
    ended: datetime = datetime.min
    succeeded: bool = False
    said: str = ""
    _thread: threading.Thread = field(init=False, repr=False)

    @classmethod
    def rolling_out(cls, stage: Stage, image: Image) -> "EcsDeploy":
        """Push an image under a tag that the deployer does not deploy, and roll it out."""
        digest = stage.push(image, "by-ecs-deploy")
        definition = stage.aws.client("ecs").describe_task_definition(
            taskDefinition=stage.described()["taskDefinition"]
        )["taskDefinition"]
        container = definition["containerDefinitions"][0]
        uri = f"{container['image'].partition('@')[0]}@{digest}"
        run = cls(stage)
        command = [
            str(Path(sys.executable).with_name("ecs")),
            *("deploy", stage.cluster, stage.service, "--image", container["name"], uri),
            *("--timeout", str(TIMEOUT), "--no-deregister"),
        ]
        run._thread = threading.Thread(target=run._go, args=(command,))
        run._thread.start()
        return run

    def _go(self, command: list[str]) -> None:
        environment = {**os.environ, **self.stage.aws.settings, "NO_PROXY": "*"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=4 * TIMEOUT
        )
        self.ended = datetime.now(UTC)
        self.succeeded, self.said = done.returncode == 0, done.stdout + done.stderr

    def join(self) -> None:
        self._thread.join()
