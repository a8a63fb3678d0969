"""The records of documentation sites' releases, as items of the releases table."""

from deployer.docs.site import RecordedDocs
from deployer.store import releases

_records = releases.Records[RecordedDocs]()
open_release, find, of_execution = _records.open_release, _records.find, _records.of_execution
history = _records.history
