"""Credentials that a careless application writes do not stay; what a person needs to read does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.redaction import redact

SECRET = "hJ8kPq2wXz7RtY5m"

FORMS = (
    "DB_PASSWORD={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "client_secret={}",
    "access_token={}",
    "GITHUB_TOKEN={}",
    "Authorization: Bearer {}",
    "Bearer {}",
    "x-api-key: {}",
    "pwd={}",
    "Server=db;User=app;Pwd={};Pooling=true",
    '{{"password": "{}"}}',
    '{{"db": {{"client_secret":"{}"}}}}',
    "{{'api_key': '{}'}}",
    '{{\\"token\\": \\"{}\\"}}',
    '{{"name": "DB_PASSWORD", "value": "{}"}}',
    "postgres://app:{}@db.example.com:5432/app",
    "https://example.com/?access_token={}&page=2",
    "mysql --password {} -h db",
    "export SECRET_KEY='{}'",
    "Cookie: session={}",
)


@pytest.mark.parametrize("form", FORMS)
def test_a_credential_is_struck_out(form: str) -> None:
    line = f"2026-11-23 14:25:02 error: {form.format(SECRET)} refused"
    assert SECRET not in redact(line)
    assert "2026-11-23 14:25:02 error:" in redact(line)


@settings(max_examples=200, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    secret=st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=12),
    before=st.text("no: =/-_.,;()[]{}\t\n", max_size=30),
)
def test_whatever_stands_before_it_a_credential_is_struck_out(
    form: str, secret: str, before: str
) -> None:
    assert secret not in redact(f"{before}\n{form.format(secret)}")


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v2/users/first 200 took=0.4ms",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:coder/db-password-AbCdEf",
        "sha256:" + "3f2a9c1b" * 8,
        "https://d3bxhxl4fsp8gb.cloudfront.net/docs/install?page=2#linux",
        "postgres://db.example.com:5432/app is not reachable",
        "exec format error",
        "connection to 10.0.1.7:5432 refused: the security group is closed",
        "The password must not be empty",
        "token expired, sign in again",
        "main.go:12:34: undefined: tokenize",
    ],
)
def test_what_a_person_needs_to_read_stays(line: str) -> None:
    assert redact(line) == line


@pytest.mark.timeout(60)  # in proportion to its length it takes a second, by its square, hours
@pytest.mark.parametrize("part", ["a", "password=", "=:", '"', "x.y-", "/@:", "eyJ", "key "])
def test_a_line_of_any_length_is_read_to_its_end(part: str) -> None:
    line = part * (256_000 // len(part))
    assert SECRET not in redact(f"{line} DB_PASSWORD={SECRET}")
