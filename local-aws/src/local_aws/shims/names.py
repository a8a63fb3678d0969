"""Names and their certificates: Route 53 leads to the load balancers of this machine, over TLS too.

The records of hosted zones are written to a file whenever they change; a Lambda function looks
there before it asks anyone else (`lambda_worker`), so that a URL with a name of a hosted zone takes
the way that it takes on AWS. Certificates of ACM are signed by an authority of this local AWS,
which the functions trust.

Route53/latest/DeveloperGuide: DomainNameFormat.html (wildcards),
resource-record-sets-choosing-alias-non-alias.html.
"""

import functools
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ministack.core import x509_utils
from ministack.services import route53

from local_aws import server
from local_aws.shims.lambda_worker import AUTHORITY, NAMES

Ports = dict[int, tuple[str, int]]
"""By the port that is asked for: the address and the port that answer."""

places: dict[str, Ports] = {}
"""Where a load balancer's listeners are, by its DNSName."""

_published: dict[str, Ports] = {}


def publish() -> None:
    """Write down what the names of all hosted zones lead to, if that has changed."""
    global _published
    names: dict[str, Ports] = {}
    for zone in list(route53._records._data.values()):
        for record in list(zone):
            balancer = record.get("AliasTarget", {}).get("DNSName", "").rstrip(".").lower()
            if balancer in places:
                names[record["Name"].rstrip(".").lower()] = places[balancer]
    if names != _published:
        _published = names
        _write(_directory() / NAMES, json.dumps(names).encode())


def certificate(names: list[str], addresses: Sequence[str] = ()) -> Path:
    """Make and sign a certificate for these names and addresses, in one file with its key."""
    signed = x509_utils.sign_leaf_certificate(
        *_authority(), [*names, *addresses][0], names, list(addresses), key_type="ec256"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write("".join(signed[:2]))
    return Path(file.name)


@functools.cache
def _authority() -> tuple[str, str]:
    """Made when a certificate is needed first; the key never leaves this process."""
    certificate, key = x509_utils.generate_ca()
    _write(_directory() / AUTHORITY, certificate.encode())
    return certificate, key


def _directory() -> Path:
    return Path(os.environ[server.MARKER])


def _write(path: Path, content: bytes) -> None:
    """At once, for whoever reads it meanwhile."""
    scratch = path.with_suffix(".new")
    scratch.write_bytes(content)
    scratch.replace(path)
