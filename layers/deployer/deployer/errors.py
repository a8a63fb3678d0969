"""The failures that the state machines handle by name. Imports nothing.

Step Functions matches ErrorEquals against the bare class name, without inheritance, so each name
is an interface (tests/template checks that both sides agree).

    DeployError
    ├── RequestRejected   the event or request is not supported               → record, fail
    ├── ServiceUnknown    no service spec names the repository or service   → record, fail
    ├── SpecInvalid       the service spec has fields that are wrong        → record, fail
    ├── ImageMissing      the requested image is not in the repository       → record, fail
    ├── PreflightFailed   something that the deployment needs is missing     → record, fail
    ├── SiteUnknown       no site spec names the documentation site         → record, fail
    ├── SourcesRejected   the uploaded archive can't be built               → record, fail
    ├── SiteRejected      the build output can't be published               → record, fail
    ├── DatabaseFailed    a snapshot or restoration failed, or took too long → record, fail
    ├── SchedulesFailed   a schedule could not be updated or restored        → roll back
    ├── LockTimedOut      the lock was not free in time                     → record, fail
    ├── LockLost          it was redriven after another held the lock       → record, fail
    ├── AwsUnavailable    AWS throttles, fails or does not answer           → retry, bounded
    ├── ServiceDraining   the service's deleted predecessor still drains    → retry, bounded
    ├── TaskStopping      a task of the release still stops                  → retry, bounded
    ├── NotificationFailed  Slack or a webhook did not take an event        → its queue retries
    └── ServiceScaledDown the service is scaled to zero: nothing to judge   → record, fail
"""


class DeployError(Exception):
    """Base of every failure that the workflow handles by name."""


class RequestRejected(DeployError):
    """The input of the execution is neither a push event nor a supported request."""


class ServiceUnknown(DeployError):
    """No service spec names this repository or service."""


class SpecInvalid(DeployError):
    """The service spec has invalid fields; the message names each with its path."""


class ImageMissing(DeployError):
    """The requested image is not in the repository, or cannot run as this service."""


class PreflightFailed(DeployError):
    """Something that the deployment needs is missing; the message names each."""


class SiteUnknown(DeployError):
    """No site spec names this documentation site."""


class SourcesRejected(DeployError):
    """The archive with a site's sources is missing, unsafe or lacks what a build needs."""


class SiteRejected(DeployError):
    """The build output cannot safely replace the live site."""


class DatabaseFailed(DeployError):
    """The database's snapshot or restoration failed, or did not finish in time."""


class SchedulesFailed(DeployError):
    """A schedule of the service could not be updated, or put back; the message names it."""


class LockTimedOut(DeployError):
    """Another deployment held the lock for longer than the time limit."""


class LockLost(DeployError):
    """The execution lost the lock: it ended, another cleaned up, then it was redriven."""


class AwsUnavailable(DeployError):
    """AWS throttled the call, failed (5xx) or did not answer, despite botocore's retries."""


class ServiceDraining(DeployError):
    """A deleted service of the same name still drains, so it can't be created yet."""


class TaskStopping(DeployError):
    """A task before or after the rollout is being stopped and still runs."""


class ServiceScaledDown(DeployError):
    """The service is scaled to zero, so no release of it can be judged."""


class NotificationFailed(DeployError):
    """Slack or a webhook did not take a notification; its queue delivers it again."""
