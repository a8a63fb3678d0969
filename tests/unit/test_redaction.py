"""Credentials are struck out of what others wrote; what they did not write stays readable."""

import base64
import string
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import redaction
from deployer.redaction import clip, redact, redact_all

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/deployer/deployer"
SECRET = "hunter2x"
# How a name and its value are written; `%` is the value.
ASSIGNED = [
    "{n}=%",
    "{n} = %",
    "{n}: %",
    "{n}:%",
    "export {n}='%'",
    '{n}="%"',
    '{n} := "%"',
    "{n} => %",
    'if {n} == "%"',
    '{{"{n}":"%","user":"coder"}}',
    '{{"{n}": "%"}}',
    "{{'user': 'coder', '{n}': '%'}}",
    '{{"message": "{{\\"{n}\\": \\"%\\"}}"}}',
    '{{"name": "{n}", "value": "%"}}',
    '{{"value": "%", "name": "{n}"}}',
    "map[{n}:% user:coder]",
    "https://api.example.com/x?a=1&{n}=%&b=2",
    "Server=db;{n}=%;Database=coder",
    "<{n}>%</{n}>",
    '("{n}", "%")',
    "--{n} %",
    "--{n}=%",
    'connecting with "{n}=%"',
    '{n}: ["%", "%"]',
    'time=12:30 level=info msg="set {n}=% for coder" port=80',
    '{n}="%',  # cut off
]
# The keywords of detect-secrets 1.5.0 (plugins/keyword.py, DENYLIST), each as people write it, and
# what it has no rule for.
NAMES = [
    *("api_key", "apikey", "auth_key", "service_key", "account_key", "db_key", "database_key"),
    *("priv_key", "private_key", "client_key", "db_pass", "dbpass", "database_pass", "key_pass"),
    *("password", "passwd", "pwd", "secret", "contraseña", "contrasena"),
    *("DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("client_secret", "clientSecret", "access_token", "accessToken", "refresh-token", "id_token"),
    *("GITHUB_TOKEN", "x-api-key", "X-Auth-Token", "X-Amz-Security-Token", "Ocp-Subscription-Key"),
    *("passphrase", "credentials", "signing_key", "encryption.key", "_authToken", "JSESSIONID"),
    *("spring.datasource.password", "SMTP_PASS", "DB_PW", "secretKeyBase", "pwd2", "Pwd"),
]
# By the patterns of its plugins; values of its own tests or of the vendors' documents.
FORMATS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "GR1348941" + "a1B2" * 5,
    "glcbt-" + "a1B2" * 5,
    "xoxb-" + "34532454-e039d02840a0b9379c",
    "sk_live_" + "a1B2" * 6,
    "SG." + "a1B2c3" * 3 + "a1B2." + "a1B2" * 10 + "c3d",
    "npm_" + "a1B2" * 9,
    "pypi-AgEIcHlwaS5vcmc" + "a1B2" * 18,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
    "AC" + "0123456789abcdef" * 2,
    "0123456789abcdef" * 2 + "-us12",
    "sq0csp-" + "a1B2" * 10 + "c3d",
    "sk-" + "a1B2" * 5 + "T3BlbkFJ" + "a1B2" * 5,
    "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
    "AKCp5" + "a1B2" * 4,
    "hvs." + "a1B2" * 6,
]
OTHERS = [
    f"Authorization: Bearer {SECRET}",
    f'authorization: Digest username="coder", response="{SECRET}"',
    f"{{'Authorization': 'token {SECRET}'}}",
    f"curl -H 'Authorization: token {SECRET}' https://example.com",
    f"sent Bearer {SECRET} to the API",
    f"Cookie: theme=dark; coder_session={SECRET}",
    f"set-cookie: id={SECRET}; Path=/",
    f"curl -u coder:{SECRET} https://example.com",
    f"postgres://coder:{SECRET}@db:5432/coder",
    f"postgres://coder:p@ss/{SECRET}@db:5432/coder",
    f"redis://:{SECRET}@cache",
    f"coder:{SECRET}@tcp(db:3306)/coder",
    f"ALTER ROLE coder PASSWORD '{SECRET}'",
    f"machine example.com login coder password {SECRET}",
    f'{{"auths": {{"docker.io": {{"auth": "{SECRET}"}}}}}}',
    f"//registry.npmjs.org/:_auth={SECRET}",
    f"https://example.com/callback?code={SECRET}&state=1",
    f"https://hooks.slack.com/services/T0001/B0001/{SECRET}",
    f"API key: {SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET};EndpointSuffix=x",
]
READABLE = [
    "postgres://db:5432/coder",
    "https://coder.example.com:443/x?y=@z",
    "git@github.com:coder/coder.git",
    "the password is wrong",
    'pq: password authentication failed for user "coder"',
    "secretary: Ada",
    "12:30 tasks started",
    "there is no secret arn:aws:secretsmanager:us-east-1:123456789012:secret:coder/url-AbCdEf",
    '{"secrets": [{"name": "DB_PASSWORD", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/x"}]}',
    "unable to retrieve secret: AccessDeniedException: User is not authorized to perform:"
    " secretsmanager:GetSecretValue on arn:aws:secretsmanager:eu-west-1:123456789012:secret:x",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/token:1.2.3",
    "coder@sha256:" + "0123456789abcdef" * 4,
    "0123456789abcdef" * 4,
    "secrets.CODER_PG_CONNECTION_URL: must be a text (quote numbers)",
    "--- PASS: TestToken (0.00s)",
    "src/auth/token.go:88:12: undefined: foo",
    "SyntaxError: Unexpected token: punc (,)",
    "PWD=/app",
    "token_type=bearer, 1523 tokens: 1523",
    "docker run -u 1000:1000",
    "Bearer authentication required",
    "Basic authentication failed",
    "auth: ok, bypass: true",
    "key=image/coder/x.tar.gz",
    "DB_PASSWORD_FILE=/run/secrets/db",
    'secret "coder/url" was not found',
    "password=${DB_PASSWORD} token=null secret: ***",
    "ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with frozen-lockfile",
]  # fmt: skip
# What no form of writing cuts a value at.
VALUES = st.text(string.ascii_letters + string.digits + "!#%*+-./:?@^_~$", min_size=6, max_size=40)


@pytest.mark.parametrize("form", ASSIGNED)
def test_the_value_of_each_secret_name_is_struck_out_in_each_form(form: str) -> None:
    for name in NAMES:
        text = form.format(n=name).replace("%", SECRET)
        assert SECRET not in redact(text), text


@given(st.sampled_from(ASSIGNED), st.sampled_from(NAMES), VALUES)
def test_no_value_however_odd_stays(form: str, name: str, value: str) -> None:
    value = f"Q7{value}z"  # neither a reference nor a word
    text = form.format(n=name).replace("%", value)
    assert value not in redact(text), text


@pytest.mark.parametrize("text", FORMATS)
def test_tokens_are_known_by_their_format(text: str) -> None:
    assert text not in redact(f"using {text} now")
    assert text not in redact(f'{{"x":"{text}"}}')


@pytest.mark.parametrize("text", OTHERS)
def test_other_ways_to_write_a_credential(text: str) -> None:
    assert SECRET not in redact(text)


def test_basic_credentials_are_those_that_hold_a_user() -> None:
    encoded = base64.b64encode(b"coder:hunter2").decode()
    assert encoded not in redact(f"sent Basic {encoded}")


@pytest.mark.parametrize("text", READABLE)
def test_what_holds_no_credentials_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


PIECES = [
    *("password", "token", "Bearer", "=", ":", '"', "://", "@", "/", "a", "***", ";", "{", "["),
    *("'", "\\", ",", "value", "name", "authorization", " ", "\n", "curl -u "),
]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_striking_out_twice_is_striking_out_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "password=", "password:{", '"token":null,', "'cookie: null', ", "://a:", "a@b:"),
        *("eyJ-", "auth: ", '\\\\"', "1:", '{"value":"', '"name","value":"null",', "SG.", "\n"),
        *("curl -u a:", "-----BEGIN PRIVATE KEY-----", "xox-", "login a ", "&code=", "{"),
    ],
)
def test_a_long_line_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """What is quadratic takes minutes for this line; what is linear a third of a second."""
    line = unit * (256 * 1024 // len(unit))
    began = time.process_time()
    redact(line)
    assert time.process_time() - began < 5


def test_texts_are_struck_out_in_whole_documents() -> None:
    document = {"a": [f"password={SECRET}"], "b": {"token": SECRET, "n": 1}, "c": (SECRET, None)}
    assert redact_all(document) == {
        "a": ["password=***"],
        "b": {"token": "***", "n": 1},
        "c": [SECRET, None],
    }
    assert redact_all({"token": SECRET}, by_name=False) == {"token": SECRET}


def test_a_clipped_text_keeps_its_start_and_its_end() -> None:
    assert clip("x" * 9, 9) == "x" * 9
    clipped = clip("start" + "x" * 1000 + "end", 100)
    assert len(clipped) == 100
    assert clipped.startswith("start")
    assert clipped.endswith("end")


def test_redaction_is_one_function() -> None:
    """Nobody else strikes out."""
    users = [p for p in LAYER.rglob("*.py") if '"***"' in p.read_text()]
    assert [path.name for path in users] == [Path(redaction.__file__).name]
