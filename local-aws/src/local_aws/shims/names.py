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
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ministack.core import x509_utils
from ministack.services import route53

from local_aws import server
from local_aws.shims.lambda_worker import AUTHORITY, NAMES

Ports = dict[int, tuple[str, int]]
"""By the port that is asked for: the address and the port that answer."""

places: dict[str, Ports] = {}
"""Where a load balancer's listeners are, by its DNSName."""

_published: dict[str, Any] = {}
_LONGEST_CHAIN = 8


def publish() -> None:
    """Write down what the names of all hosted zones lead to, if that has changed."""
    global _published
    records: dict[str, dict[str, Any]] = {}
    for zone in list(route53._records._data.values()):
        for record in list(zone):
            records.setdefault(record["Name"].rstrip(".").lower(), {})[record["Type"]] = record
    names = {name: where for name in records if (where := _lead(name, records))}
    if names != _published:
        _published = names
        _write(_directory() / NAMES, json.dumps(names).encode())


def _lead(
    name: str, records: dict[str, dict[str, Any]], steps: int = _LONGEST_CHAIN
) -> dict[str, Any] | None:
    """{"ports": …} of a load balancer, or {"address": …}; None if it leads nowhere here."""
    if name in places:
        return {"ports": places[name]}
    if name not in records or not steps:
        return None
    for record in records[name].values():
        if "AliasTarget" in record:
            target = record["AliasTarget"]["DNSName"]
            return _lead(target.rstrip(".").lower(), records, steps - 1)
    if "CNAME" in records[name]:
        target = records[name]["CNAME"]["ResourceRecords"][0]
        return _lead(target.rstrip(".").lower(), records, steps - 1)
    if "A" in records[name]:
        return {"address": records[name]["A"]["ResourceRecords"][0]}
    return None


def context(names: list[str], addresses: Sequence[str] = ()) -> ssl.SSLContext:
    """A server's TLS with a certificate for these names and addresses, made and signed now."""
    signed = x509_utils.sign_leaf_certificate(
        *_authority(), [*names, *addresses][0], names, list(addresses), key_type="ec256"
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:  # which is for its owner only
        file.write("".join(signed[:2]))
        file.flush()
        tls.load_cert_chain(file.name)
    return tls


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
