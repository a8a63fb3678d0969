"""The application that is deployed: what a release of it does once its container runs.

It migrates its database at its start and refuses one that is newer than it knows, as Coder's
server does (https://github.com/coder/coder/issues/14248).
"""

from dataclasses import dataclass, replace

FAULTS = (
    "cannot-start",  # its entrypoint is for another architecture
    "exit-at-start",  # ends at once
    "exit-late",  # answers, and ends after a while, again and again
    "busy-once",  # is good; the registry has too many requests when it is pulled first
    "exit-unready",  # never answers, and ends after a while, again and again
    "exit-twice",  # ends at once twice, then lives
    "never-healthy",  # answers 503 for ever
    "hangs",  # answers nothing for ever
    "slow-start",  # takes a while before it answers
    "out-of-memory",
    "wrong-version",  # serves another version than its tag says
    "empty-database",  # comes up on other data
    "migration-fails",  # ends during its migration, which is then undone
    "before-fails",  # its task before the rollout fails; what it did to the database is undone
    "before-hangs",  # it never ends
    "after-fails",  # its task after the rollout fails
    "after-hangs",  # it never ends
)
MIGRATION = 4.0  # seconds
READY = 1.0
PATIENCE = 20.0  # what the health checks of the worlds bear


@dataclass
class Database:
    """What lies in the database: the schema's number, and what identifies the data."""

    schema: int = 1
    data: str = "data-1"


@dataclass(frozen=True)
class Life:
    """What a container does, in seconds after its start; None where it never does."""

    ready: float | None
    migrated: float | None = None
    exits: float | None = None
    code: int = 0
    reason: str = ""


@dataclass(frozen=True)
class App:
    """A release of the application. `seconds` is how long a slow one takes, or a late one lives.

    Its fault shows in each of its services, or in one alone.
    """

    version: str
    schema: int | None = None
    fault: str | None = None
    seconds: float = 60.0
    service: str | None = None

    def within(self, service: str) -> "App":
        """What it is in a service."""
        return self if self.service in (None, service) else replace(self, fault=None, service=None)

    def life(self, database: Database, times_run: int) -> Life:
        """What a container that starts now does."""
        if self.schema is not None and database.schema > self.schema:
            return Life(None, exits=1.0, code=1)
        migrates = self.schema is not None and database.schema < self.schema
        migrated = MIGRATION if migrates else None
        ready = READY + (migrated or 0)
        match self.fault:
            case "exit-at-start":
                return Life(None, exits=0.5, code=3)
            case "exit-twice" if times_run <= 2:
                return Life(None, exits=0.5, code=3)
            case "exit-late":
                return Life(ready, migrated, self.seconds, 1)
            case "exit-unready":
                return Life(None, migrated, self.seconds, 1)
            case "never-healthy" | "hangs":
                return Life(None, migrated)
            case "slow-start":
                return Life(ready + self.seconds, migrated)
            case "out-of-memory":
                return Life(ready, migrated, 5.0, 137, "OutOfMemoryError: container killed")
            case "migration-fails" if migrates:
                return Life(None, exits=2.0, code=1)
        return Life(ready, migrated)

    def task(self, which: str, database: Database) -> Life:
        """What a task before or after the rollout does."""
        migrates = self.schema is not None and database.schema < self.schema and which == "before"
        if self.fault == f"{which}-fails":
            return Life(None, exits=2.0, code=1)
        if self.fault == f"{which}-hangs":
            return Life(None)
        return Life(None, MIGRATION if migrates else None, exits=MIGRATION + 1)

    @property
    def good(self) -> bool:
        """Whether a deployment of it should succeed, on a database that it knows."""
        patient = self.fault == "slow-start" and self.seconds <= PATIENCE
        return patient or self.fault in (None, "exit-twice", "busy-once")

    @property
    def served(self) -> str:
        return "v0.0.1" if self.fault == "wrong-version" else f"v{self.version}+abc1234"
