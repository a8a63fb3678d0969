"""The records of builds, and their claims on archives' content, as items of the releases table."""

import time

from deployer.build.image_build import Build, RecordedBuild
from deployer.store import releases, table

_LIFE = 30 * 24 * 3600  # seconds; after that, the label of the image in ECR shows a duplicate

_records = releases.Records[RecordedBuild]()
open_build, find, of_execution = _records.open_release, _records.find, _records.of_execution
history, newest = _records.history, _records.newest


def claim(build: Build, instead_of: str = "") -> str | None:
    """Claim an archive's content for a build, if no build or only `instead_of` has claimed it.

    Args:
        instead_of: the id of a build that failed.
    Returns:
        None, or the id of the build that holds the claim.
    """
    item = {
        "service": f"content:{build['service']}",
        "id": build["content"],
        "build": build["id"],
        "execution": build["execution"],
        "expiresAt": int(time.time()) + _LIFE,
    }
    free = "attribute_not_exists(#id) OR #execution = :me OR #build = :old"
    holder = table.put_if(item, free, me=build["execution"], old=instead_of)
    return str(holder["build"]) if holder else None
