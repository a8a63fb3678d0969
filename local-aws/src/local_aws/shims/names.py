"""Names and their certificates: Route 53 leads to the load balancers of this machine, over TLS too.

The records of hosted zones are written to a file whenever they change; a Lambda function looks
there before it asks anyone else (`lambda_worker`), so that a URL with a name of a hosted zone takes
the way that it takes on AWS. Certificates of ACM are signed by an authority of this local AWS,
which the functions trust.

Route53/latest/DeveloperGuide: DomainNameFormat.html (wildcards),
resource-record-sets-choosing-alias-non-alias.html.
"""

import datetime
import functools
import ipaddress
import json
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ministack.services import route53
from ministack.services.cloudformation import provisioners

from local_aws import server
from local_aws.shims import Shim
from local_aws.shims.lambda_worker import AUTHORITY, NAMES

Ports = dict[int, tuple[str, int]]
"""By the port that is asked for: the address and the port that answer."""

places: dict[str, Ports] = {}
"""Where a load balancer's listeners are, by its DNSName."""

_published: dict[str, Any] = {}
_LONGEST_CHAIN = 8
_SIGNS_ONLY = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
shim = Shim()


def publish() -> None:
    """Write down what the names of all hosted zones lead to, if that has changed."""
    global _published
    records: dict[str, dict[str, Any]] = {}
    for found in list(route53._records._data.values()):
        for record in list(found):
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


def context(names: list[str]) -> ssl.SSLContext:
    """A server's TLS with a certificate for these names or addresses, made and signed now."""
    key, issuer = _authority()
    own = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate(names[0][:64], issuer.subject, own.public_key())
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # which is for its owner only
        file.write(certificate.public_bytes(serialization.Encoding.PEM) + _private(own))
        file.flush()
        made.load_cert_chain(file.name)
    return made


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@functools.cache
def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Made when a certificate is needed first; the key never leaves this process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local AWS")])
    certificate = (
        _certificate("Local AWS", name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(_SIGNS_ONLY, True)
        .sign(key, hashes.SHA256())
    )
    _write(_directory() / AUTHORITY, certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


def _certificate(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=395))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _directory() -> Path:
    return Path(os.environ[server.MARKER])


def _write(path: Path, content: bytes) -> None:
    """At once, for whoever reads it meanwhile."""
    scratch = path.with_suffix(".new")
    scratch.write_bytes(content)
    scratch.replace(path)


@shim.wraps(route53, "_change_resource_record_sets", "zone_id body")
def _change_records(original: Callable[..., Any], *arguments: Any) -> Any:
    return _then_publish(original)(*arguments)


@shim.wraps(route53, "_delete_hosted_zone", "zone_id")
def _delete_zone(original: Callable[..., Any], *arguments: Any) -> Any:
    return _then_publish(original)(*arguments)


def _then_publish(original: Callable[..., Any]) -> Callable[..., Any]:
    def change(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named)
        publish()
        return answer

    return change


def install() -> None:
    """Publish after every change of a record."""
    shim.install()
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Route53::RecordSet"]
    for operation in ("create", "update", "delete"):
        handlers[operation] = _then_publish(handlers[operation])
