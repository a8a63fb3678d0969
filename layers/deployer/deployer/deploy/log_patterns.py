"""Recognise failures in an application's last log lines, and advise what to do.

Most wordings are from Coder and its libraries (lib/pq, Go's net and crypto/x509); those about
databases and networks are common to many applications. Imports `redaction` only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deployer.redaction import clip

_SEARCH_LIMIT = 4000  # characters of a line: some patterns take more than linear time


@dataclass(frozen=True)
class Symptom:
    """A failure that a log line shows.

    Attributes:
        kind: a short name, as in `stop_reasons`.
        line: the line.
        why: what it means.
        advice: what a person can do.
    """

    kind: str
    line: str
    why: str
    advice: str


_OF_DATABASE = r"(postgres|database|\bpq: |:5432)"
# (kind, pattern of the line, meaning, advice); the first match wins. Symptoms that do not stop the
# application are below those that do.
_SYMPTOMS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), why, advice)
    for kind, pattern, why, advice in (
        (
            "schema-newer",
            r"no migration found for version",
            "The database has been migrated by a newer release, and this one does not know it.",
            "Deploy the newer release again, or restore the snapshot from before it:"
            " see docs/deploy.md.",
        ),
        (
            "schema-dirty",
            r"dirty database version",
            "A migration was interrupted, so no release will start on this database.",
            "Restore the snapshot from before the migration, or repair the schema by hand.",
        ),
        (
            "database-foreign",
            r"connected to a coder v1 database",
            "The connection URL leads to the database of Coder v1.",
            "Give the service its own database, and correct the URL in the secret.",
        ),
        (
            "database-old",
            r"postgresql version must be",
            "The database's PostgreSQL is older than the application supports.",
            "Upgrade the RDS instance's engine version.",
        ),
        (
            "database-url",
            r'missing "=" after|first path segment in url cannot contain colon'
            r"|cannot parse .{0,40}(keyword/value|connection|dsn)|invalid userinfo"
            r"|invalid port .{0,40} after host|invalid dsn|parse .{0,40}pg.connection.url",
            "The secret is not a connection URL. Usually it is a JSON object instead.",
            "Store the URL alone as plain text, with its password percent-encoded and the port"
            " once: postgresql://user:password@host:5432/name?sslmode=require.",
        ),
        (
            "database-password",
            r"password authentication failed|28P01|no password supplied",
            "The database rejected the user or the password.",
            "Correct the URL in the secret, then deploy again: a task reads it when it starts.",
        ),
        (
            "database-tls",
            r"no pg_hba\.conf entry|ssl is not enabled on the server"
            rf"|{_OF_DATABASE}.{{0,300}}(x509: |certificate verify failed|tls: failed to verify)",
            "Database and application do not agree on TLS; RDS refuses connections without TLS from"
            " PostgreSQL 15 on (rds.force_ssl).",
            "End the URL in the secret with ?sslmode=require. verify-full needs the RDS CA bundle"
            " in the image.",
        ),
        (
            "database-missing",
            r'database "[^"]*" does not exist|3D000',
            "The instance has no database of the name in the connection URL.",
            "Create it, or correct the name at the end of the URL in the secret.",
        ),
        (
            "database-name",
            rf"could not translate host name|{_OF_DATABASE}.{{0,300}}(no such host"
            r"|name or service not known|temporary failure in name resolution)",
            "The host in the connection URL cannot be resolved in this VPC.",
            "Compare the host in the secret with the RDS instance's endpoint, which has no port.",
        ),
        (
            "database-full",
            r"too many clients|remaining connection slots",
            "The database has no free connection.",
            "Use a larger instance class, or let the application open fewer connections.",
        ),
        (
            "database-unreachable",
            rf"{_OF_DATABASE}.{{0,300}}(i/o timeout|timed? ?out|no route to host|deadline exceeded"
            r"|network is unreachable|connection refused|unable to connect after \d+ tries)",
            "The database does not respond to the tasks.",
            "Allow the tasks' security group in the database's on port 5432, and check that both"
            " are in one VPC and that the instance is available: `deployer doctor`",
        ),
        (
            "address-in-use",
            r"address already in use",
            "Another process of the task listens on the port.",
            "Give the containers of the task different ports.",
        ),
        (
            "no-address",
            r"tls is disabled\. enable with --tls-enable",
            "Coder's listen address is empty.",
            "Set CODER_HTTP_ADDRESS to 0.0.0.0 and the container's port.",
        ),
        (
            "access-url",
            r"access-url must include a scheme",
            "The access URL does not begin with https:// or http://.",
            "Correct CODER_ACCESS_URL and, for the fork, WORKBENCH_ACCESS_URL.",
        ),
        (
            "disk-full",
            r"no space left on device",
            "The task's disk is full.",
            "Raise ephemeralStorage, or let the application write less.",
        ),
        (
            "platform",
            r"exec format error",
            "The image was built for another processor than the service's.",
            "Build it for the platform in the service spec.",
        ),
        (
            "built-in-database",
            r"using built-in postgresql",
            "Coder has no database setting, so it keeps its data inside the task: all data is lost"
            " when the task stops, at the next release at the latest.",
            "Name the database under secrets as CODER_PG_CONNECTION_URL; Coder ignores any other"
            " name, such as CODER_POSTGRES_URL.",
        ),
        (
            "public-tunnel",
            r"opening tunnel",
            "Coder has no access URL, so it serves through a public tunnel of Coder's company.",
            "Set CODER_ACCESS_URL and, for the fork, which ignores that name,"
            " WORKBENCH_ACCESS_URL.",
        ),
        (
            "replicas",
            r"multiple replicas but high availability",
            "Several tasks are running, which Coder allows only with a licence; workspaces are"
            " unreachable.",
            "Set desiredCount to 1 and strategy to recreate.",
        ),
    )
)

OF_CODER = frozenset(
    (
        *("database-foreign", "no-address", "access-url"),
        *("built-in-database", "public-tunnel", "replicas"),
    )
)
"""The kinds that only Coder logs."""


def found(log: Sequence[str]) -> list[Symptom]:
    """Return the symptoms in a log, in order of importance, each kind once with its last line."""
    symptoms: list[Symptom] = []
    short = [clip(line, _SEARCH_LIMIT) for line in log]
    for kind, pattern, why, advice in _SYMPTOMS:
        matches = [line for line in short if pattern.search(line)]
        if matches:
            symptoms.append(Symptom(kind, matches[-1], why, advice))
    return symptoms


# For builds, which run Docker and version.sh: a timeout in `docker push` needs another attempt.
_OF_BUILDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), why, advice)
    for kind, pattern, why, advice in (
        (
            "version-format",
            r"invalid reference format|invalid tag|is not a valid (repository/)?tag",
            "A tag cannot contain every character of a version, above all not `+`.",
            "Tag with `-` in place of `+`; the image's version label keeps the `+`.",
        ),
        (
            "push-timeout",
            r"push\w*.{0,200}(timeout|timed out|connection reset|\bEOF\b)|use of closed network",
            "The push to ECR was interrupted.",
            "Build or push again: layers that are in ECR are not sent again.",
        ),
    )
)


def of_build(log: Sequence[str]) -> Symptom | None:
    """Return the symptom in a build's log; None if it shows no known one."""
    short = [clip(line, _SEARCH_LIMIT) for line in log]
    for kind, pattern, why, advice in _OF_BUILDS:
        matches = [line for line in short if pattern.search(line)]
        if matches:
            return Symptom(kind, matches[-1], why, advice)
    return None
