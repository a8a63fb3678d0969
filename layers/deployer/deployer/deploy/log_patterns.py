"""Recognise failures in an application's last log lines, and advise what to do.

The wordings about databases and networks are those of common libraries (lib/pq, Go's net and
crypto/x509); a preset has those of its application. Imports `symptoms` only.
"""

from collections.abc import Sequence

from deployer import symptoms
from deployer.symptoms import Pattern, Symptom

_OF_DATABASE = r"(postgres|database|\bpq: |:5432)"
# In order of importance
_SYMPTOMS = tuple(
    Pattern(*entry)
    for entry in (
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
    )
)


def matching(log: Sequence[str], more: Sequence[Pattern] = ()) -> list[Symptom]:
    """Return the symptoms in a log, in order of importance, each kind once with its last line.

    Args:
        more: the patterns of the application's preset.
    """
    return symptoms.matching(log, (*_SYMPTOMS, *more))


# For builds, which run Docker and version.sh: a timeout in `docker push` needs another attempt.
_OF_BUILDS = tuple(
    Pattern(*entry)
    for entry in (
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
    return next(iter(symptoms.matching(log, _OF_BUILDS)), None)
