"""What roles may do though no workflow test does it, and what is denied on purpose: why."""

from tests.permissions.record import Permission

UNUSED: dict[Permission, str] = {}

DENIED: dict[Permission, str] = {}
