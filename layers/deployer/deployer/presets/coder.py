"""Coder (https://github.com/coder/coder) and its forks, which migrate a database at their start."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from deployer.check import FAILED, OK, WARNING, Check, State
from deployer.deploy import documents
from deployer.presets import Preset
from deployer.symptoms import Pattern

_DATABASE_URL = "CODER_PG_CONNECTION_URL"
# Coder ignores an unknown variable and uses the default: a database inside the task, whose data is
# lost when the task stops.
MISNAMED: Mapping[str, str] = {
    "CODER_POSTGRES_URL": _DATABASE_URL,
    "CODER_DATABASE_URL": _DATABASE_URL,
    "CODER_DB_URL": _DATABASE_URL,
    "CODER_PG_URL": _DATABASE_URL,
    "POSTGRES_URL": _DATABASE_URL,
    "DATABASE_URL": _DATABASE_URL,
    "CODER_ADDRESS": "CODER_HTTP_ADDRESS",
    "CODER_URL": "CODER_ACCESS_URL",
    "CODER_LOG_LEVEL": "CODER_LOG_FILTER",
}
# The variables of Coder's server that a deployment sets: cli/testdata/coder_server_--help.golden of
# its sources has them all, and a fork's has the fork's names.
_USUAL = frozenset(
    f"CODER_{name}"
    for name in (
        *("ACCESS_URL", "ADDITIONAL_CSP_POLICY", "BLOCK_DIRECT", "CACHE_DIRECTORY", "CONFIG_PATH"),
        *("DERP_FORCE_WEBSOCKETS", "DERP_SERVER_RELAY_URL", "DERP_SERVER_STUN_ADDRESSES"),
        *("DOCS_URL", "EXTERNAL_TOKEN_ENCRYPTION_KEYS", "HTTP_ADDRESS", "LOGGING_HUMAN"),
        *("LOGGING_JSON", "LOG_FILTER", "PG_AUTH", "PG_CONNECTION_URL", "PG_CONN_MAX_IDLE"),
        *("PG_CONN_MAX_OPEN", "PPROF_ADDRESS", "PPROF_ENABLE", "PROMETHEUS_ADDRESS"),
        *("PROMETHEUS_ENABLE", "PROVISIONER_DAEMONS", "PROXY_TRUSTED_HEADERS"),
        *("PROXY_TRUSTED_ORIGINS", "REDIRECT_TO_ACCESS_URL", "SECURE_AUTH_COOKIE"),
        *("TELEMETRY_ENABLE", "TLS_ENABLE", "UPDATE_CHECK", "VERBOSE", "WILDCARD_ACCESS_URL"),
    )
)
_NAMED_IN_SOURCES = re.compile(r"\b((?:CODER|WORKBENCH)_[A-Z0-9_]*[A-Z0-9])\b")
_FIRST_USER = "/api/v2/users/first"
_WHY = "Coder ignores a variable that it does not know, and starts without it."
# one fat binary, half the work of build-fat
_COMPILE = "make build/coder_linux_$ARCHITECTURE"


class Coder(Preset):
    """Coder's server: one task at a time, whose data are in PostgreSQL."""

    fields: Mapping[str, Any] = {
        "strategy": "recreate",  # each version migrates the database at its start
        "timeout": 1200,
        "verify": {
            "path": "/healthz",
            "version": {"path": "/healthz", "header": "X-Coder-Build-Version", "match": "build"},
            # both are in the database: another answer means another database
            "unchanged": [
                {"path": "/api/v2/buildinfo", "field": "deployment_id"},
                {"path": _FIRST_USER},
            ],
        },
        "build": {
            "mode": "nix",
            "version": "./scripts/version.sh",
            "compile": _COMPILE,
            "image": './scripts/build_docker.sh --arch "$ARCHITECTURE" --version "$VERSION"'
            ' --target "$IMAGE" "build/coder_${VERSION}_linux_$ARCHITECTURE"',
            "migrations": "coderd/database/migrations/*.up.sql",
        },
    }
    grace_period = 900  # a migration takes minutes
    database_urls = (_DATABASE_URL,)
    wildcard = True
    sources = ("cli/testdata/coder_server_--help.golden", "codersdk/deployment.go")
    symptoms = (
        Pattern(
            "database-foreign",
            r"connected to a coder v1 database",
            "The connection URL leads to the database of Coder v1.",
            "Give the service its own database, and correct the URL in the secret.",
        ),
        Pattern(
            "no-address",
            r"tls is disabled\. enable with --tls-enable",
            "Coder's listen address is empty.",
            "Set CODER_HTTP_ADDRESS to 0.0.0.0 and the container's port.",
        ),
        Pattern(
            "access-url",
            r"access-url must include a scheme",
            "The access URL does not begin with https:// or http://.",
            "Correct CODER_ACCESS_URL and, for the fork, WORKBENCH_ACCESS_URL.",
        ),
        Pattern(
            "built-in-database",
            r"using built-in postgresql",
            "Coder has no database setting, so it keeps its data inside the task: all data is lost"
            " when the task stops, at the next release at the latest.",
            f"Name the database under secrets as {_DATABASE_URL}; Coder ignores any other"
            " name, such as CODER_POSTGRES_URL.",
        ),
        Pattern(
            "public-tunnel",
            r"opening tunnel",
            "Coder has no access URL, so it serves through a public tunnel of Coder's company.",
            "Set CODER_ACCESS_URL and, for the fork, which ignores that name,"
            " WORKBENCH_ACCESS_URL.",
        ),
        Pattern(
            "replicas",
            r"multiple replicas but high availability",
            "Several tasks are running, which Coder allows only with a licence; workspaces are"
            " unreachable.",
            "Set desiredCount to 1 and strategy to recreate.",
        ),
    )
    wrong = ("built-in-database", "public-tunnel", "replicas")

    def problems(self, container: Mapping[str, Any], url: str | None) -> Iterator[tuple[str, str]]:
        environment, secrets = documents.variables(container), documents.secrets(container)
        for kind, names in (("environment", environment), ("secrets", secrets)):
            for name in sorted(names.keys() & MISNAMED.keys()):
                yield f"{kind}.{name}", f"is unknown to Coder: {MISNAMED[name]}"
        address, ports = environment.get("CODER_HTTP_ADDRESS"), documents.ports(container)
        if address is not None and ports and address not in [f"0.0.0.0:{port}" for port in ports]:
            why = f"must be 0.0.0.0:{ports[0]}, the container's port on every address"
            yield "environment.CODER_HTTP_ADDRESS", why
        redirects = environment.get("CODER_REDIRECT_TO_ACCESS_URL", "false")
        if (url or "").startswith("https:") and redirects.lower() not in ("false", "0", ""):
            yield (
                "environment.CODER_REDIRECT_TO_ACCESS_URL",
                "must be false: HTTPS ends at the load balancer, so Coder would redirect for ever",
            )

    def names_in(self, sources: str) -> frozenset[str]:
        return frozenset(_NAMED_IN_SOURCES.findall(sources))

    def variables(self, names: Collection[str], named: Collection[str]) -> Iterator[Check]:
        misnamed = 0
        for name in sorted(names):
            correct = MISNAMED.get(name)
            if correct and name not in named:
                misnamed += 1
                yield _misnamed(FAILED, name, correct)
            elif named and name.startswith("CODER_") and name not in named:
                fork = name.replace("CODER_", "WORKBENCH_", 1)
                similar = fork if fork in named else _near(name, named)
                # a fork's own name may be given beside the usual one
                if similar and similar not in names:
                    misnamed += 1
                    yield _misnamed(FAILED, name, similar)
            elif not named and name not in _USUAL:
                similar = _near(name, _USUAL)
                if similar and similar not in names:
                    misnamed += 1
                    yield _misnamed(WARNING, name, similar)
        if _DATABASE_URL not in names:
            misnamed += 1
            yield Check(
                "variables",
                FAILED,
                f"{_DATABASE_URL} is missing",
                (f"Name the URL's secret {_DATABASE_URL} under the container's secrets.",),
                "Coder then keeps its data inside the task; all data is lost when the task stops.",
            )
        if not misnamed:
            source = "the sources" if named else "Coder's usual ones"
            yield Check("variables", OK, f"{len(names)}, none that {source} would have otherwise")

    def answers(self, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Check]:
        if now.get(_FIRST_USER) != "404":
            return
        had_user = before.get(_FIRST_USER) == "200"
        yield Check(
            "first user",
            FAILED if had_user else WARNING,
            "the database holds no user" + (", though it did" if had_user else ""),
            (
                "Look at the database's secret: is it another database?"
                if had_user
                else "Open the URL and create the first user.",
            ),
            "The first visitor becomes the owner of Coder.",
        )


def _near(name: str, names: Collection[str]) -> str | None:
    import difflib  # only `deployer doctor` needs it

    return next(iter(difflib.get_close_matches(name, sorted(names), 1, 0.9)), None)


def _misnamed(state: State, name: str, correct: str) -> Check:
    return Check("variables", state, f"{name} is not {correct}", (f"Name it {correct}.",), _WHY)


PRESET = Coder()
