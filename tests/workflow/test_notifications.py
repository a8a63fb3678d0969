"""What Slack and a webhook get of a release, over TLS, through the stack's own rule and queue; and
what the role of CI may do."""

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo import ROOT, package
from demo.stage import Stage
from tests.notified import Receiver, Response, Slack

TOPIC = "arn:aws:sns:us-east-1:000000000000:alarms"
FUNCTION = "deployer-SendNotification"


@dataclass
class Notified:
    """Slack and a webhook at one address, which hears what its paths say."""

    slack: Slack = field(default_factory=Slack)
    webhook: Receiver = field(default_factory=Receiver)

    def receive(self, method: str, url: str, headers: dict[str, str], body: str) -> Response:
        if url.startswith("/services/"):
            return self.slack.receive(method, url, headers, body)
        self.webhook.now = time.time()
        return self.webhook.receive(method, url, headers, body)

    def types(self, service: str) -> list[str]:
        events = [e for e in self.webhook.events.values() if e["data"]["service"] == service]
        return sorted(event["type"] for event in events)

    def texts(self, service: str) -> list[str]:
        texts = [message["text"] for message in self.slack.messages]
        return [text for text in texts if text.startswith(f"{service} ")]


def certificate(directory: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, in a file that also serves as the authorities'."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = directory / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o644)
    return path


@contextmanager
def served(notified: Notified, certificate: Path) -> Iterator[str]:
    """The address at which the stand-ins answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, headers, text = notified.receive(
                "POST", self.path, dict(self.headers.items()), body
            )
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def notified(deployer: Stage, tmp_path: Path) -> Iterator[Notified]:
    """Who is notified by the stack, whose certificate the function trusts."""
    aws, result = deployer.aws, Notified()
    secrets, functions = aws.client("secretsmanager"), aws.client("lambda")
    trusted = certificate(tmp_path)
    settings = functions.get_function_configuration(FunctionName=FUNCTION)["Environment"]
    trusting = {**settings["Variables"], "SSL_CERT_FILE": str(trusted)}
    with served(result, trusted) as url:
        values = {
            "slack": f"{url}{result.slack.path}",
            "webhook": json.dumps({"url": f"{url}/hook", "keys": [result.webhook.key]}),
        }
        for name, value in values.items():
            secrets.create_secret(Name=f"deployer/{name}", SecretString=value)
        functions.update_function_configuration(
            FunctionName=FUNCTION, Environment={"Variables": trusting}
        )
        package.create(
            aws,
            "deployer-notifications",
            {"ServiceName": "test", "Slack": "true", "Webhook": "true", "AlarmTopicArn": TOPIC},
            TemplateBody=(ROOT / "infrastructure/notifications.yaml").read_text(),
            Capabilities=["CAPABILITY_IAM"],
        )
        yield result
        aws.client("cloudformation").delete_stack(StackName="deployer-notifications")
        functions.update_function_configuration(FunctionName=FUNCTION, Environment=settings)
        for name in values:
            secrets.delete_secret(SecretId=f"deployer/{name}", ForceDeleteWithoutRecovery=True)


def eventually(condition: Callable[[], bool], what: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, what()
        time.sleep(0.2)


@pytest.mark.walk
def test_slack_and_the_webhook_hear_of_a_release(live: Stage, notified: Notified) -> None:
    live.deployed("1.1.0")
    live.deployed("1.2.0", fault="exit-at-start")
    name = live.service
    texts = [f"{name} 1.1.0 is live", f"{name} 1.2.0 failed and was rolled back"]
    eventually(lambda: len(notified.texts(name)) == 2, lambda: notified.slack.messages)
    assert sorted(notified.texts(name)) == texts
    types = ["release.failed_rolled_back", "release.started", "release.started"]
    eventually(lambda: len(notified.types(name)) == 4, lambda: notified.webhook.events)
    assert notified.types(name) == [*types, "release.succeeded"]
