"""Application Load Balancers on the local AWS: each test names what it follows.

Pages of elasticloadbalancing/latest/application.
"""

import contextlib
import http.client
import http.server
import itertools
import json
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecs_support import World, completed, primary, until
from local_aws.aws import LocalAws
from support import Function, packed

SETTINGS = {
    "ELB_TIME_SCALE": "0.02",
    "ECS_HEALTH_CHECK_SCALE": "0.1",
    "ECS_STEADY_SECONDS": "0.3",
    "ECS_RESTART_SECONDS": "0.1",
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """An interval of 5 s is 0.1 s here."""
    with LocalAws.start(settings=SETTINGS) as running:
        yield running


_HOSTS = itertools.count(1)


class App(http.server.ThreadingHTTPServer):
    """A target. Its health is `status`; it answers with what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((f"127.0.1.{next(_HOSTS)}", 0), _Handler)
        self.status = 200
        self.agents: list[str] = []
        self.slow = False
        self.go_on = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def target(self) -> dict[str, Any]:
        return {"Id": self.server_address[0], "Port": self.server_port}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: App

    def do_GET(self) -> None:
        if self.path == "/health":
            self.server.agents.append(self.headers["User-Agent"])
            self._answer(self.server.status, b"")
        elif self.path == "/slow":
            self.server.slow = True
            self.server.go_on.wait(30)
            self._answer(200, b"")
        elif self.path == "/cut":
            self.close_connection = True
        else:
            self._answer(200, json.dumps([self.path, *self.headers.items()]).encode())

    def do_POST(self) -> None:
        self._answer(201, self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def app() -> Iterator[App]:
    with App() as running:
        yield running
        running.shutdown()


class Balancer:
    """A load balancer with a target group that is checked every 0.1 s."""

    def __init__(self, aws: LocalAws, name: str, **attributes: str) -> None:
        self.elb = aws.client("elbv2")
        self.name = name
        result = self.elb.create_load_balancer(Name=name)["LoadBalancers"][0]
        self.arn, self.dns = result["LoadBalancerArn"], result["DNSName"]
        self.set(self.elb.modify_load_balancer_attributes, LoadBalancerArn=self.arn, **attributes)
        self.group = self.create_group(name)

    def create_group(self, name: str, **more: Any) -> str:
        settings = {
            "Protocol": "HTTP",
            "Port": 3000,
            "TargetType": "ip",
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 5,
            "HealthyThresholdCount": 3,
            "UnhealthyThresholdCount": 2,
        }
        result = self.elb.create_target_group(Name=name, **(settings | more))
        arn: str = result["TargetGroups"][0]["TargetGroupArn"]
        return arn

    def set(self, modify: Any, **more: str) -> None:
        attributes = [{"Key": k, "Value": more.pop(k)} for k in list(more) if "." in k]
        if attributes:
            modify(Attributes=attributes, **more)

    def listen(self, port: int = 80, **action: Any) -> str:
        action = action or {"Type": "forward", "TargetGroupArn": self.group}
        result = self.elb.create_listener(
            LoadBalancerArn=self.arn, Protocol="HTTP", Port=port, DefaultActions=[action]
        )
        arn: str = result["Listeners"][0]["ListenerArn"]
        if port == 80:
            until(lambda: listens(*self.dns.split(":")), bool)
        return arn

    def register(self, *apps: App) -> None:
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[each.target for each in apps])

    def health(self) -> list[dict[str, Any]]:
        response = self.elb.describe_target_health(TargetGroupArn=self.group)
        return response["TargetHealthDescriptions"]  # type: ignore[no-any-return]

    def states(self) -> list[str]:
        return [each["TargetHealth"]["State"] for each in self.health()]

    def until(self, *states: str) -> list[dict[str, Any]]:
        right = lambda seen: sorted(e["TargetHealth"]["State"] for e in seen) == sorted(states)  # noqa: E731
        return until(self.health, right)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.dns, timeout=10)

    def get(self, path: str = "/", **headers: str) -> tuple[int, bytes]:
        answer, body = self.ask(path, **headers)
        return answer.status, body

    def ask(self, path: str = "/", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()


def listens(host: str, port: str | int) -> bool:
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionError:
        return False
    return True


@pytest.fixture
def balancer(aws: LocalAws, name: str) -> Balancer:
    return Balancer(aws, name)


# Listeners: load-balancer-listeners.html, listener-rules.html


def test_requests_reach_a_healthy_target_with_what_the_load_balancer_adds(
    balancer: Balancer, app: App
) -> None:
    balancer.listen()
    balancer.register(app)
    (shown,) = balancer.until("healthy")
    assert shown["Target"] == app.target
    assert shown["HealthCheckPort"] == str(app.server_port)
    assert set(app.agents) == {"ELB-HealthChecker/2.0"}

    status, body = balancer.get("/a/b?c=%20d", Cookie="e=f")
    path, *headers = json.loads(body)
    seen = {name.lower(): value for name, value in headers}
    assert (status, path, seen["cookie"]) == (200, "/a/b?c=%20d", "e=f")
    assert seen["host"] == balancer.dns.split(":")[0]
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", "80")
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-amzn-trace-id"].startswith("Root=1-")


def test_a_connection_carries_many_requests_and_large_bodies(balancer: Balancer, app: App) -> None:
    balancer.listen()
    balancer.register(app)
    balancer.until("healthy")
    sent = b"0123456789" * 100_000
    with contextlib.closing(balancer.connect()) as connection:
        for body in (sent, b"", sent):
            connection.request("POST", "/", body)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (201, body)
        connection.request("POST", "/", iter([b"a", b"b"]), {"Content-Length": "2"})
        assert connection.getresponse().read() == b"ab"


def test_rules_decide_in_the_order_of_their_priority(balancer: Balancer, app: App) -> None:
    def reply(text: str) -> dict[str, Any]:
        config = {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": text}
        return {"Type": "fixed-response", "FixedResponseConfig": config}

    listener = balancer.listen(**reply("default"))
    rules = [
        (30, {"Field": "path-pattern", "Values": ["/api/*"]}, reply("api")),
        (
            20,
            {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.app.test"]}},
            reply("app"),
        ),
        (10, {"Field": "path-pattern", "Values": ["/api/v?"]}, reply("version")),
    ]
    for priority, condition, action in rules:
        balancer.elb.create_rule(
            ListenerArn=listener, Priority=priority, Conditions=[condition], Actions=[action]
        )
    assert balancer.get("/") == (418, b"default")
    assert balancer.get("/api/x") == (418, b"api")
    assert balancer.get("/api/v2") == (418, b"version")
    assert balancer.get("/api/x", Host="a.app.test:80") == (418, b"app")
    assert balancer.get("/API/x", Host="app.test") == (418, b"default")
    assert balancer.ask()[0].headers["Server"] == "awselb/2.0"


def test_a_redirect_leads_to_the_other_listener(balancer: Balancer, app: App) -> None:
    config = {"Protocol": "HTTP", "Port": "8443", "StatusCode": "HTTP_301"}
    balancer.listen(Type="redirect", RedirectConfig=config)
    balancer.listen(8443)
    balancer.register(app)
    balancer.until("healthy")

    answer, _ = balancer.ask("/x?y=z", Host="app.test")
    assert answer.status == 301
    assert answer.headers["Location"] == "http://app.test:8443/x?y=z"


def test_a_changed_listener_listens_anew_and_a_deleted_one_not_at_all(balancer: Balancer) -> None:
    config = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "here"}
    fixed = {"Type": "fixed-response", "FixedResponseConfig": config}
    listener = balancer.listen(8081, **fixed)

    host = balancer.dns.split(":")[0]
    until(lambda: listens(host, 8081), bool)
    balancer.elb.modify_listener(ListenerArn=listener, Port=8082)
    until(lambda: listens(host, 8082), bool)
    until(lambda: listens(host, 8081), lambda open_: not open_)
    balancer.elb.delete_load_balancer(LoadBalancerArn=balancer.arn)
    until(lambda: listens(host, 8082), lambda open_: not open_)


# load-balancer-troubleshooting.html


def test_errors_of_the_load_balancer(balancer: Balancer, app: App) -> None:
    balancer.listen()
    assert balancer.get()[0] == 503
    balancer.register(app)
    balancer.until("healthy")
    assert balancer.get("/cut")[0] == 502
    app.shutdown()
    app.server_close()
    assert balancer.get()[0] == 502


# Target health: target-group-health-checks.html


def test_a_target_is_in_use_from_the_first_listener_on(balancer: Balancer, app: App) -> None:
    balancer.register(app)
    (shown,) = balancer.until("unused")
    assert shown["TargetHealth"]["Reason"] == "Target.NotInUse"
    assert not app.agents
    balancer.listen()
    balancer.until("healthy")


def test_a_target_turns_unhealthy_and_healthy_by_the_thresholds(
    balancer: Balancer, app: App
) -> None:
    balancer.listen()
    app.status = 500
    balancer.register(app)
    (shown,) = balancer.until("unhealthy")
    assert len(app.agents) >= 2
    assert shown["TargetHealth"]["Reason"] == "Target.ResponseCodeMismatch"
    assert shown["TargetHealth"]["Description"] == "Health checks failed with these codes: [500]"
    # "routes requests to all those targets, regardless of their health status"
    assert balancer.get()[0] == 200

    before = len(app.agents)
    app.status = 200
    balancer.until("healthy")
    assert len(app.agents) - before >= 3  # an old target needs all of them
    app.shutdown()
    app.server_close()
    (shown,) = balancer.until("unhealthy")
    assert shown["TargetHealth"]["Reason"] == "Target.FailedHealthChecks"


def test_a_new_target_needs_one_check_and_an_unhealthy_one_gets_no_requests(
    balancer: Balancer, app: App
) -> None:
    balancer.elb.modify_target_group(
        TargetGroupArn=balancer.group, Matcher={"HttpCode": "200-299,301"}, HealthyThresholdCount=10
    )
    app.status = 301
    balancer.listen()
    balancer.register(app)
    balancer.until("healthy")
    assert len(app.agents) < 4
    with App() as other:
        other.status = 404
        balancer.register(other)
        balancer.until("healthy", "unhealthy")
        ports = {json.loads(balancer.get()[1])[0] for _ in range(4)}
        assert ports == {"/"}
        assert not [r for r in (balancer.get() for _ in range(4)) if r[0] != 200]
        other.shutdown()
    assert balancer.get()[0] == 200


# Deregistration: load-balancer-target-groups.html


def test_a_target_that_is_deregistered_ends_its_requests(balancer: Balancer, app: App) -> None:
    balancer.listen()
    balancer.register(app)
    balancer.until("healthy")
    with contextlib.closing(balancer.connect()) as connection:
        connection.request("GET", "/slow")
        until(lambda: app.slow, bool)
        balancer.elb.deregister_targets(TargetGroupArn=balancer.group, Targets=[app.target])
        until(balancer.health, lambda left: left == [])
        assert balancer.get()[0] == 503
        app.go_on.set()
        assert connection.getresponse().status == 200


# Names and certificates: Route 53 and ACM in front


VISIT = """
import urllib.request
def handler(event, context):
    with urllib.request.urlopen(event["url"], timeout=30) as response:
        return [response.status, response.read().decode(), response.url]
"""


def test_a_function_comes_by_its_name_over_tls(aws: LocalAws, name: str, app: App) -> None:
    domain = f"{name}.test"
    zones, balancer = aws.client("route53"), Balancer(aws, name)
    zone = zones.create_hosted_zone(Name=domain, CallerReference=name)["HostedZone"]["Id"]

    def record(host: str, **more: Any) -> None:
        change = {"Action": "UPSERT", "ResourceRecordSet": {"Name": host, **more}}
        zones.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})

    alias = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": balancer.dns}
    record(domain, Type="A", AliasTarget=alias | {"EvaluateTargetHealth": False})
    record(f"*.{domain}", Type="A", AliasTarget=alias | {"EvaluateTargetHealth": False})
    certificate = aws.client("acm").request_certificate(
        DomainName=domain, SubjectAlternativeNames=[f"*.{domain}"]
    )["CertificateArn"]
    to_https = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    balancer.listen(Type="redirect", RedirectConfig=to_https)
    balancer.elb.create_listener(
        LoadBalancerArn=balancer.arn,
        Protocol="HTTPS",
        Port=443,
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": balancer.group}],
    )
    balancer.register(app)
    balancer.until("healthy")
    visit = Function(aws, name, packed(app=VISIT))

    def seen(url: str) -> tuple[str, dict[str, str], str]:
        answer = visit("visit", url=url)
        assert isinstance(answer, list), answer
        status, body, came_to = answer
        assert status == 200
        path, *headers = json.loads(body)
        return path, {key.lower(): value for key, value in headers}, came_to

    path, headers, came_to = seen(f"http://{domain}/healthz?a=b")
    assert (path, came_to) == ("/healthz?a=b", f"https://{domain}:443/healthz?a=b")
    assert (headers["host"], headers["x-forwarded-proto"]) == (domain, "https")
    _, headers, _ = seen(f"https://8080--app.{domain}/")
    assert headers["host"] == f"8080--app.{domain}"
    failed = visit("visit", url=f"https://a.b.{domain}/")["failed"]
    assert "certificate is not valid for 'a.b." in failed["errorMessage"]
    assert "URLError" in visit("visit", url="http://nowhere.test/")["failed"]["errorType"]

    # A person on this machine: curl --cacert AUTHORITY --connect-to …
    trusting = ssl.create_default_context(cafile=aws.authority)
    with socket.create_connection(aws.locate(domain, 443), 5) as raw:
        trusting.wrap_socket(raw, server_hostname=domain).close()

    zones.change_resource_record_sets(
        HostedZoneId=zone,
        ChangeBatch={
            "Changes": [
                {
                    "Action": "DELETE",
                    "ResourceRecordSet": {
                        "Name": domain,
                        "Type": "A",
                        "AliasTarget": alias | {"EvaluateTargetHealth": False},
                    },
                }
            ]
        },
    )
    until(lambda: aws.locate(domain, 443), lambda described: described == (domain, 443))


# CloudFormation


def test_a_load_balancer_out_of_a_template(aws: LocalAws, name: str, app: App) -> None:
    def template(text: str) -> str:
        config = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": text}
        group = {
            "Port": 3000,
            "Protocol": "HTTP",
            "TargetType": "ip",
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 5,
            "Targets": [app.target],
        }
        forward = {"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}
        rule = {
            "ListenerArn": {"Ref": "Listener"},
            "Priority": 1,
            "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/app"]}}],
            "Actions": [forward],
        }
        listener = {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "Port": 80,
            "Protocol": "HTTP",
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": config}],
        }
        resources = {
            "Balancer": ("LoadBalancer", {"Name": name}),
            "Group": ("TargetGroup", group),
            "Listener": ("Listener", listener),
            "Rule": ("ListenerRule", rule),
        }
        return json.dumps(
            {
                "Resources": {
                    key: {"Type": f"AWS::ElasticLoadBalancingV2::{kind}", "Properties": properties}
                    for key, (kind, properties) in resources.items()
                },
                "Outputs": {"Url": {"Value": {"Fn::Sub": "http://${Balancer.DNSName}/"}}},
            }
        )

    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=template("one"))
    outputs = until(lambda: aws.outputs(name), bool)
    host = urllib.parse.urlsplit(outputs["Url"]).netloc
    (described,) = aws.client("elbv2").describe_load_balancers(Names=[name])["LoadBalancers"]
    assert described["DNSName"] == host

    def get(path: str) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    until(lambda: listens(*host.split(":")), bool)
    assert get("/") == b"one"
    cloudformation.update_stack(StackName=name, TemplateBody=template("two"))
    until(lambda: get("/"), lambda body: body == b"two")
    cloudformation.delete_stack(StackName=name)

    def refused() -> bool:
        try:
            get("/")
        except ConnectionError:  # refused, or reset where the listener closes just then
            return True
        return False

    until(refused, bool)


# ECS: service-load-balancing.html


class Behind:
    """An ECS service behind a load balancer."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.balancer = Balancer(world.aws, name)
        self.balancer.elb.modify_target_group(
            TargetGroupArn=self.balancer.group, HealthCheckPath="/healthz"
        )
        group = {"containerName": "app", "containerPort": 3000}
        self.configured = [group | {"targetGroupArn": self.balancer.group}]
        ports = [{"containerPort": 3000}]
        self.definition = world.define(portMappings=ports)


@pytest.fixture
def behind(aws: LocalAws, name: str) -> Iterator[Behind]:
    world = World(aws, name)
    yield Behind(world, name)
    world.close()


def test_a_service_needs_a_target_group_that_a_load_balancer_uses(behind: Behind) -> None:
    with pytest.raises(ClientError, match="does not have an associated load balancer"):
        behind.world.create(behind.definition, loadBalancers=behind.configured)


def test_a_rollout_behind_a_load_balancer_loses_no_request(behind: Behind) -> None:
    world, balancer = behind.world, behind.balancer
    balancer.listen()
    world.create(
        behind.definition, loadBalancers=behind.configured, healthCheckGracePeriodSeconds=500
    )
    world.steady()
    assert balancer.states() == ["healthy"]
    first = world.tasks()

    failed: list[Any] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                if (answer := balancer.get())[0] != 200:
                    failed.append(answer)
            except OSError as error:
                failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        second = primary(world.update(forceNewDeployment=True))["id"]
        assert primary(world.steady())["id"] == second
        until(world.tasks, lambda tasks: len(tasks) == 1 and tasks != first)
    finally:
        over.set()
        asking.join()
    assert not failed
    assert balancer.states() == ["healthy"]


def test_a_task_that_fails_the_health_checks_is_replaced_after_the_grace_period(
    behind: Behind,
) -> None:
    world, balancer = behind.world, behind.balancer
    balancer.listen()
    world.create(
        behind.definition, loadBalancers=behind.configured, healthCheckGracePeriodSeconds=100
    )
    world.steady()
    (task,) = world.tasks()
    world.post(task, "/sick")
    balancer.until("unhealthy")
    (stopped,) = world.stopped()
    assert (
        stopped["stoppedReason"]
        == f"Task failed ELB health checks in (target-group {balancer.group})"
    )
    started = stopped["startedAt"]
    assert (stopped["stoppingAt"] - started).total_seconds() >= 2  # the grace period, scaled
    says = [event["message"] for event in world.service()["events"]]
    assert any(
        "is unhealthy in (target-group" in message
        and "due to (reason Health checks failed with these codes: [500])" in message
        for message in says
    )
    world.until(lambda s: s["runningCount"] == 1)
    balancer.until("healthy")


def test_the_circuit_breaker_sees_tasks_that_no_load_balancer_finds_healthy(
    behind: Behind,
) -> None:
    world, balancer = behind.world, behind.balancer
    balancer.listen()
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    world.create(
        behind.definition,
        loadBalancers=behind.configured,
        deploymentConfiguration=breaker,
        healthCheckGracePeriodSeconds=500,
    )
    first = primary(world.steady())["id"]
    silent = world.script("sleep 60")
    world.update(
        world.define(silent, portMappings=[{"containerPort": 3000}], stopTimeout=2),
        healthCheckGracePeriodSeconds=0,
    )
    world.until(lambda s: primary(s)["id"] == first and completed(s))
    assert balancer.get()[0] == 200
    for stopped in world.stopped(3):
        assert "Task failed ELB health checks" in stopped["stoppedReason"]


def test_a_program_of_this_machine_makes_no_target_healthy(behind: Behind) -> None:
    world, balancer = behind.world, behind.balancer
    with http.server.HTTPServer(("0.0.0.0", 0), _Everywhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        balancer.elb.modify_target_group(TargetGroupArn=balancer.group, HealthCheckPort=str(port))
        balancer.listen()
        world.create(behind.definition, loadBalancers=behind.configured)
        world.until(lambda s: any("is unhealthy" in e["message"] for e in s["events"]))
        server.shutdown()


class _Everywhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
