"""Which archive's content was built by which build, in the releases table.

The builds' records themselves are kept by `releases`, as releases are.
"""

import time

from deployer.build.image_build import Build
from deployer.store import table

_LIFE = 30 * 24 * 3600  # seconds; after that the image in ECR tells that it is the same


def claim(build: Build, instead_of: str = "") -> str | None:
    """Take an archive's content for a build, if no other has it or just the one to replace.

    Args:
        instead_of: the id of a build that failed.
    Returns:
        None, or the id of the build that has it.
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
