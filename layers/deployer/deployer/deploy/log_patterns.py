"""What an application's last log lines say is wrong with it: kinds of trouble, and what to do.

Most wordings are Coder's and of the libraries it uses (lib/pq, Go's net and crypto/x509); those of
databases and networks are common to many applications.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deployer.redaction import clip

_SEARCHED = 4000  # characters of a line: some patterns take longer for it than its length


@dataclass(frozen=True)
class Symptom:
    """What a log line tells.

    Attributes:
        kind: a short name, as those of `stopped`.
        line: the line.
        why: what it means.
        advice: what a person can do.
    """

    kind: str
    line: str
    why: str
    advice: str


_OF_DATABASE = r"(postgres|database|\bpq: |:5432)"
# (kind, what the line says, what it means, advice); the first match wins. What an application lives
# on with, though it must not, is below what ended it.
_SYMPTOMS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), why, advice)
    for kind, pattern, why, advice in (
        (
            "schema-newer",
            r"no migration found for version",
            "The database has been migrated by a newer release, and this one does not know it.",
            "Deploy the newer release again, or restore the snapshot from before it:"
            " docs/deploy.md tells how.",
        ),
        (
            "schema-dirty",
            r"dirty database version",
            "A migration was cut off midway, so no release will start on this database.",
            "Restore the snapshot from before the migration, or put the schema right by hand.",
        ),
        (
            "database-foreign",
            r"connected to a coder v1 database",
            "The connection URL leads to the database of Coder v1.",
            "Give the service a database of its own, and correct the secret with the URL.",
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
            "The secret is no connection URL. A JSON object in its place is the usual reason.",
            "Store the URL alone as plain text, with its password percent-encoded and the port"
            " once: postgresql://user:password@host:5432/name?sslmode=require.",
        ),
        (
            "database-password",
            r"password authentication failed|28P01|no password supplied",
            "The database knows neither this user nor this password.",
            "Correct the URL in the secret, then deploy again: a task reads it when it starts.",
        ),
        (
            "database-tls",
            r"no pg_hba\.conf entry|ssl is not enabled on the server"
            rf"|{_OF_DATABASE}.{{0,300}}(x509: |certificate verify failed|tls: failed to verify)",
            "Database and application do not agree on TLS; RDS from PostgreSQL 15 on refuses a"
            " connection in the clear (rds.force_ssl).",
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
            "The host in the connection URL does not exist, or not for this VPC.",
            "Compare the host in the secret with the RDS instance's endpoint, which holds no port.",
        ),
        (
            "database-full",
            r"too many clients|remaining connection slots",
            "The database has no connection left.",
            "Take a bigger instance class, or let the application open fewer connections.",
        ),
        (
            "database-unreachable",
            rf"{_OF_DATABASE}.{{0,300}}(i/o timeout|timed? ?out|no route to host|deadline exceeded"
            r"|network is unreachable|connection refused|unable to connect after \d+ tries)",
            "The database does not answer the tasks.",
            "Let the tasks' security group into the database's on port 5432, and see that both are"
            " in one VPC and that the instance is available: `deployer doctor`",
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
            "Coder was given an empty address to listen at.",
            "Set CODER_HTTP_ADDRESS to 0.0.0.0 and the container's port.",
        ),
        (
            "access-url",
            r"access-url must include a scheme",
            "The access URL has no https:// or http:// before it.",
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
            "Coder was told of no database, so it keeps its data inside the task: they are gone"
            " with the task, at the next release at the latest.",
            "Name the database under secrets as CODER_PG_CONNECTION_URL; Coder ignores any other"
            " name, such as CODER_POSTGRES_URL.",
        ),
        (
            "public-tunnel",
            r"opening tunnel",
            "Coder was told of no access URL, so it serves through a public tunnel of its makers'.",
            "Set CODER_ACCESS_URL and, for the fork, which ignores that name,"
            " WORKBENCH_ACCESS_URL.",
        ),
        (
            "replicas",
            r"multiple replicas but high availability",
            "Several tasks run, which Coder allows with a licence only; workspaces cannot be"
            " reached.",
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
"""The kinds that only Coder's own lines can tell."""


def found(log: Sequence[str]) -> list[Symptom]:
    """What the lines tell, the most telling first, each kind once with its last line."""
    symptoms: list[Symptom] = []
    short = [clip(line, _SEARCHED) for line in log]
    for kind, pattern, why, advice in _SYMPTOMS:
        telling = [line for line in short if pattern.search(line)]
        if telling:
            symptoms.append(Symptom(kind, telling[-1], why, advice))
    return symptoms


# Builds, which run Docker and version.sh: in `docker push` a timeout is ended by another attempt.
_OF_BUILDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), why, advice)
    for kind, pattern, why, advice in (
        (
            "version-format",
            r"invalid reference format|invalid tag|is not a valid (repository/)?tag",
            "A tag cannot hold every character of a version, above all not the `+`.",
            "Tag with `-` in place of `+`; the image's version label keeps the `+`.",
        ),
        (
            "push-timeout",
            r"push\w*.{0,200}(timeout|timed out|connection reset|\bEOF\b)|use of closed network",
            "The push to ECR broke off.",
            "Build or push again: layers that have arrived are not sent again.",
        ),
    )
)


def of_build(log: Sequence[str]) -> Symptom | None:
    """What a build's lines tell; None if nothing that is known."""
    short = [clip(line, _SEARCHED) for line in log]
    for kind, pattern, why, advice in _OF_BUILDS:
        telling = [line for line in short if pattern.search(line)]
        if telling:
            return Symptom(kind, telling[-1], why, advice)
    return None
