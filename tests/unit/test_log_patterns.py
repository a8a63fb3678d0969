"""What an application's log lines tell."""

import pytest

from deployer.deploy import diagnosis, log_patterns
from deployer.deploy.diagnosis import Failure
from deployer.presets import named
from tests.unit.samples import crashed, unpullable

CODER = named("coder").symptoms
FAILED = "error: connect to postgres failed: "


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Using built-in PostgreSQL (/home/coder/.config/coderv2/postgres)", "built-in-database"),
        ("Opening tunnel so workspaces can connect to your deployment.", "public-tunnel"),
        (
            f"{FAILED}migrate up: - up: - no migration found for version 237: read down for"
            " version 237 .: file does not exist",
            "schema-newer",
        ),
        ("Dirty database version 59. Fix and force version.", "schema-dirty"),
        ("currently connected to a Coder v1 database, aborting", "database-foreign"),
        ("PostgreSQL version must be v13.0.0 or higher!", "database-old"),
        (f"{FAILED}dial tcp 10.0.1.5:5432: i/o timeout", "database-unreachable"),
        (
            "connect to postgres: unable to connect after 12 tries; last error: timeout",
            "database-unreachable",
        ),
        (
            f"{FAILED}dial tcp: lookup coder-db.example on 10.0.0.2:53: no such host",
            "database-name",
        ),
        ('psycopg2: could not translate host name "db" to address', "database-name"),
        (f'{FAILED}pq: password authentication failed for user "app"', "database-password"),
        (f'{FAILED}pq: no pg_hba.conf entry for host "10.0.0.9", no encryption', "database-tls"),
        (f"{FAILED}x509: certificate signed by unknown authority", "database-tls"),
        (f'{FAILED}pq: database "app" does not exist', "database-missing"),
        (f'{FAILED}missing "=" after "{{\\"CODER_PG_CONNECTION_URL\\""', "database-url"),
        (f'{FAILED}parse "x": first path segment in URL cannot contain colon', "database-url"),
        (f'{FAILED}parse "x": invalid port ":5432:5432" after host', "database-url"),
        ("FATAL: remaining connection slots are reserved", "database-full"),
        ("listen tcp 0.0.0.0:3000: bind: address already in use", "address-in-use"),
        (
            "TLS is disabled. Enable with --tls-enable or specify a HTTP address",
            "no-address",
        ),
        ("access-url must include a scheme (e.g. https://)", "access-url"),
        ("write /tmp/x: no space left on device", "disk-full"),
        ("exec /opt/coder: exec format error", "platform"),
        (
            "You have multiple replicas but high availability is an Enterprise feature.",
            "replicas",
        ),
        ("Started HTTP listener at http://0.0.0.0:3000", ""),
        ("POST https://telemetry.example: dial tcp 192.0.2.1:443: i/o timeout", ""),
        ("GET https://registry.example: x509: certificate has expired", ""),
    ],
)
def test_a_line_tells(line: str, kind: str) -> None:
    kinds = [symptom.kind for symptom in log_patterns.matching(["hello", line, "bye"], CODER)]
    assert kinds == ([kind] if kind else [])


def test_without_its_preset_an_application_has_no_lines_of_its_own() -> None:
    assert log_patterns.matching(["Using built-in PostgreSQL (/x)", "Opening tunnel"]) == []


def test_what_ended_the_application_comes_before_what_it_lived_on_with() -> None:
    lines = ["Using built-in PostgreSQL (/x)", "no migration found for version 7"]
    assert [s.kind for s in log_patterns.matching(lines, CODER)] == [
        "schema-newer",
        "built-in-database",
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('invalid reference format: "coder:2.0.0-devel+abc"', "version-format"),
        ("error: push coder:1.0: net/http: TLS handshake timeout", "push-timeout"),
    ],
)
def test_a_builds_line_tells(line: str, kind: str) -> None:
    result = log_patterns.of_build(["step 1", line])
    assert result and result.kind == kind
    assert log_patterns.of_build(["step 1"]) is None


# in a diagnosis

CRASH: Failure = {"Error": "RolloutFailed", "Cause": "3 new tasks failed"}
UNREACHABLE = [f"{FAILED}dial tcp 10.0.1.5:5432: i/o timeout"]


def test_the_log_says_why_a_task_crashed() -> None:
    result = diagnosis.diagnose(CRASH, [crashed()], [], UNREACHABLE)
    assert result["kind"] == "database-unreachable"
    assert "5432" in result["advice"]


def test_a_reason_of_ecs_that_leaves_nothing_open_counts_more_than_the_log() -> None:
    assert diagnosis.diagnose(CRASH, [unpullable()], [], UNREACHABLE)["kind"] == "image"


def test_the_log_explains_other_data() -> None:
    failure: Failure = {"Error": "DataChanged", "Cause": "another deployment_id"}
    result = diagnosis.diagnose(failure, [], [], ["Using built-in PostgreSQL (/x)"], CODER)
    assert result["kind"] == "built-in-database"


def test_the_log_does_not_explain_what_is_clear_without_it() -> None:
    failure: Failure = {"Error": "WrongVersion", "Cause": "it serves 1"}
    assert diagnosis.diagnose(failure, [], [], UNREACHABLE)["kind"] == "WrongVersion"


def test_a_diagnosis_keeps_the_last_lines() -> None:
    lines = ["Using built-in PostgreSQL (/x)", *map(str, range(90))]
    result = diagnosis.diagnose(CRASH, [crashed()], [], lines, CODER)
    assert result["kind"] == "built-in-database"
    assert result["log"][-1] == "89" and len(result["log"]) < 90
