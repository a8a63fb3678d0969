"""What tests of more than one folder need."""

import subprocess

import pytest


@pytest.fixture(scope="session")
def registry() -> None:
    """The npm registry, or what stands for it in npm's configuration; without it, a test skips."""
    try:
        asked = subprocess.run(["npm", "ping"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the npm registry can't be asked: {error}")
    if asked.returncode:
        pytest.skip(f"the npm registry does not answer: {asked.stderr.strip()[-500:]}")
