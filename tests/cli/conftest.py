"""An account of AWS that no test may reach."""

import pytest

from cli.aws import Account


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without credentials that are worth anything; its answers are stubs."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "false")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "false")
    return Account(region="us-east-1")
