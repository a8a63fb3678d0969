"""Application Load Balancers that work: listeners that listen, targets that are checked.

MiniStack keeps the load balancers, listeners, rules, target groups and registrations, and decides
what happens with a request; after every change of them `reconcile` brings the sockets and the
health checks to what they say. A load balancer has a loopback address of its own. A listener's port
from 1024 on is its port there; port 80, which would need root, is the one in the load balancer's
DNSName (host:port), and any other has one that `places` knows.

Follows elasticloadbalancing/latest/application: target-group-health-checks.html (states, reason
codes, "only one passing check" for a new target), and the API reference of TargetHealth.
ELB_TIME_SCALE scales the intervals of health checks.

Not modelled: the state draining, Network and Gateway Load Balancers, stickiness, security groups,
WAF rules, weights (the first target group of a forward action gets all), HTTP/2, WebSockets, the
idle timeout.
"""

import asyncio
import collections
import contextlib
import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import hypercorn
from hypercorn.asyncio import serve
from ministack import app
from ministack.core.responses import StreamingResponse, request_scope
from ministack.services import acm, alb
from ministack.services.cloudformation import provisioners

from local_aws.shims import Shim, names, network

_log = logging.getLogger("local_aws.elb")
TIME_SCALE = float(os.environ.get("ELB_TIME_SCALE", "1"))
_NO_REASON = ("", "")
_LONGEST_REQUEST = 300.0  # the default of deregistration_delay.timeout_seconds

Record = dict[str, Any]
Key = tuple[str, str, int]
"""Target group, id, port."""

_lock = threading.RLock()
_idle = threading.Condition(_lock)
_targets: dict[Key, "Target"] = {}
_busy: collections.Counter[str] = collections.Counter()
"""How many requests are under way, by the address of their target."""
_serving: ContextVar[list[str]] = ContextVar("serving")
"""The addresses of the targets that serve this request."""
_listeners: dict[str, "_Listener"] = {}
_places: dict[str, "Place"] = {}
_loop = asyncio.new_event_loop()
_FOLLOW_SECONDS = 0.1  # until what was changed is seen
_turns = itertools.count()
_shim = Shim()
watchers: list[Callable[[str], None]] = []
"""Called with a target group after the health of one of its targets changed."""


class Place:
    """Where a load balancer is on this machine."""

    def __init__(self) -> None:
        self.address, self._lease = network.lease("127.10")
        self._ports: dict[int, int] = {}

    def port(self, listener: int) -> int:
        """The port at which the listener's port is found."""
        if listener not in self._ports:
            # Any, where another program has the port at every address.
            for wanted in (listener if listener >= 1024 else 0, 0):
                with contextlib.suppress(OSError), socket.socket() as probe:
                    probe.bind((self.address, wanted))
                    self._ports[listener] = probe.getsockname()[1]
                    break
        return self._ports[listener]

    @property
    def name(self) -> str:
        return f"{self.address}:{self.port(80)}"

    def leave(self) -> None:
        self._lease.close()


class Target:
    """A registered target, and what its health checks found."""

    def __init__(self, group: str, identifier: str, port: int) -> None:
        self.group, self.id, self.port = group, identifier, port
        self.state = "initial"
        self.reason = ("Elb.RegistrationInProgress", "Target registration is in progress")
        self._passed = self._failed = 0
        self._watch: asyncio.Task[None] | None = None

    def use(self, used: bool) -> None:
        """Begin the health checks, or end them: only a group that is used is checked."""
        if used and self._watch is None:
            self._set("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
            self._passed = self._failed = 0
            self._watch = asyncio.ensure_future(self._check(), loop=_loop)
        elif not used:
            self.stop()
            self._set(
                "unused",
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            )

    def stop(self) -> None:
        if self._watch:
            _loop.call_soon_threadsafe(self._watch.cancel)
            self._watch = None

    async def _check(self) -> None:
        account, region = _owner(self.group)
        while True:
            group = alb._tgs.get_scoped(account, region, self.group)
            if group is None:
                return
            try:
                async with asyncio.timeout(group["HealthCheckTimeoutSeconds"]):
                    wrong = await _probe(group, self)
            except TimeoutError:
                wrong = ("Target.Timeout", "Request timed out")
            except (OSError, ValueError):
                wrong = ("Target.FailedHealthChecks", "Health checks failed")
            with _lock:
                self._judge(group, wrong)
            await asyncio.sleep(group["HealthCheckIntervalSeconds"] * TIME_SCALE)

    def _judge(self, group: Record, wrong: tuple[str, str] | None) -> None:
        if wrong is None:
            self._passed, self._failed = self._passed + 1, 0
            # "newly registered targets need only pass one health check"
            if self.state == "initial" or self._passed >= group["HealthyThresholdCount"]:
                self._set("healthy", *_NO_REASON)
        else:
            self._passed, self._failed = 0, self._failed + 1
            if self._failed >= group["UnhealthyThresholdCount"]:
                self._set("unhealthy", *wrong)

    def _set(self, state: str, reason: str, description: str) -> None:
        changed = self.state != state
        self.state, self.reason = state, (reason, description)
        if changed:
            for watcher in watchers:
                watcher(self.group)


async def _probe(group: Record, target: Target) -> tuple[str, str] | None:
    """One health check; None if it passed, its reason code and description otherwise."""
    port = target.port if group["HealthCheckPort"] == "traffic-port" else group["HealthCheckPort"]
    reader, writer = await asyncio.open_connection(target.id, int(port))
    try:
        writer.write(
            f"GET {group['HealthCheckPath']} HTTP/1.1\r\nHost: {target.id}:{port}\r\n"
            "Connection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
            "Accept-Encoding: gzip, compressed\r\n\r\n".encode()
        )
        words = (await reader.readline()).split()
        code = int(words[1]) if len(words) > 1 else 0
    finally:
        writer.close()
    if network.another_answers(target.id, int(port)):
        return "Target.FailedHealthChecks", "Health checks failed"
    if _matches_code(group["Matcher"]["HttpCode"], code):
        return None
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{code}]"


def _matches_code(matcher: str, code: int) -> bool:
    """Whether the code is in e.g. "200,301" or "200-399"."""
    for part in matcher.split(","):
        low, _, high = part.partition("-")
        if int(low) <= code <= int(high or low):
            return True
    return False


class _Listener:
    """An open listener."""

    def __init__(self, record: Record, place: Place) -> None:
        self.arn: str = record["ListenerArn"]
        self.balancer: str = record["LoadBalancerArn"]
        self.port: int = record["Port"]
        self.serves = _serves(record)
        self._over = asyncio.Event()
        certificates: list[str] = record.get("Certificates", [])
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((place.address, place.port(self.port)))
        opened.listen(128)  # from now on it answers, if only in a moment
        config = hypercorn.Config()
        config.bind = [f"fd://{opened.detach()}"]
        config.graceful_timeout = 0
        config.loglevel = "ERROR"
        if certificates:
            config.certfile = config.keyfile = str(self._certificate(certificates[0]))
            config.alpn_protocols = ["http/1.1"]
        _soon(serve(self._serve, config, shutdown_trigger=self._over.wait))

    def close(self) -> None:
        _loop.call_soon_threadsafe(self._over.set)

    def _certificate(self, arn: str) -> Path:
        with request_scope(*_owner(self.arn)):
            record = acm._certificates[arn]
        main = record["DomainName"]
        others = set(record.get("SubjectAlternativeNames", ())) - {main}
        return names.certificate([main, *sorted(others)])

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        addresses: list[str] = []
        _serving.set(addresses)
        try:
            await self._answer(scope, receive, send)
        finally:
            with _idle:
                _busy.subtract(addresses)
                _idle.notify_all()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        with request_scope(*_owner(self.arn)):
            status, answered, content = await alb.dispatch_request(
                alb._lbs[self.balancer], scope["method"], scope["path"], headers, body,
                parse_qs(query), self.port, scope["client"][0], query, scope["raw_path"].decode(),
            )  # fmt: skip
        if isinstance(content, StreamingResponse):
            await app._send_streaming_response(send, receive, status, answered, content)
        else:
            await app._send_response(send, status, answered, content)


def _serves(record: Record) -> tuple[Any, ...]:
    """What a listener has to be opened anew for."""
    return (record["Port"], record["Protocol"], *record.get("Certificates", ()))


@_shim.wraps(
    alb,
    "_forward_to_tg",
    "tg_arn method path headers body query_params raw_query_string raw_path",
)
async def _forward_to_tg(original: Callable[..., Any], group: str, *request: Any) -> Any:
    """To the healthy targets by turns: "If a target group contains only unhealthy registered
    targets, the load balancer routes requests to all those targets, regardless of their health
    status." """
    with _lock:
        among = [target for target in _targets.values() if target.group == group]
        healthy = [target for target in among if target.state == "healthy"]
        usable = healthy or [target for target in among if target.state == "unhealthy"]
        if not usable:
            return 503, {"Content-Type": "text/plain"}, b"503 Service Unavailable"
        target = usable[next(_turns) % len(usable)]
        _busy[target.id] += 1
        _serving.get([]).append(target.id)
    method, path, headers, body, query, raw_query, raw_path = request
    return await alb._proxy_http_target(
        {"Id": target.id, "Port": target.port}, alb._tgs[group], method, raw_path or path, headers,
        body, query, raw_query,
    )  # fmt: skip


# What MiniStack keeps, and what is there


def reconcile() -> None:
    """Open, close, check and drain until all is as MiniStack's records have it. Quick; from any
    thread."""
    with _lock:
        balancers = {lb["LoadBalancerArn"]: lb for lb in list(alb._lbs._data.values())}
        for arn in _places.keys() - balancers.keys():
            _places.pop(arn).leave()
        wanted = {
            record["ListenerArn"]: record
            for record in list(alb._listeners._data.values())
            if record["LoadBalancerArn"] in _places
        }
        for arn, listener in list(_listeners.items()):
            if arn not in wanted or listener.serves != _serves(wanted[arn]):
                _listeners.pop(arn).close()
        for arn, record in wanted.items():
            if arn not in _listeners:
                _listeners[arn] = _Listener(record, _places[record["LoadBalancerArn"]])
        names.places.clear()
        for listener in _listeners.values():
            place = _places[listener.balancer]
            ports = names.places.setdefault(place.name, {})
            ports[listener.port] = (place.address, place.port(listener.port))
        names.publish()
        _reconcile_targets()


def _used() -> set[str | None]:
    """The target groups that a listener forwards to."""
    listeners = {record["ListenerArn"] for record in list(alb._listeners._data.values())}
    return {
        action.get("TargetGroupArn")
        for rule in list(alb._rules._data.values())
        if rule["ListenerArn"] in listeners
        for action in rule["Actions"]
    }


def _reconcile_targets() -> None:
    used = _used()
    registered: set[Key] = set()
    for group in list(alb._tgs._data.values()):
        arn = group["TargetGroupArn"]
        account, region = _owner(arn)
        with request_scope(account, region):
            for target in list(alb._targets.get(arn, ())):
                registered.add((arn, target["Id"], int(target.get("Port") or group["Port"])))
    for key in registered:
        _soon(_use(_targets.setdefault(key, Target(*key)), key[0] in used))
    for key in _targets.keys() - registered:
        _targets.pop(key).stop()
        for watcher in watchers:
            watcher(key[0])


async def _use(target: Target, used: bool) -> None:
    with _lock:
        if (target.group, target.id, target.port) in _targets:
            target.use(used)


def wait_until_idle(address: str) -> None:
    """Wait for the requests under way to the targets at an address, as a deregistration does."""
    with _idle:
        _idle.wait_for(lambda: not _busy[address], _LONGEST_REQUEST * TIME_SCALE)


def is_used(group: str) -> bool:
    """Whether a load balancer forwards to the target group."""
    with _lock:
        return group in _used()


def target(group: str, address: str, port: int) -> Target | None:
    """A registered target."""
    with _lock:
        return _targets.get((group, address, port))


def _owner(arn: str) -> tuple[str, str]:
    """Account and region."""
    _, _, _, region, account, _ = arn.split(":", 5)
    return account, region


def _soon(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(coroutine, _loop)


# In front of MiniStack's API and its CloudFormation types


def _settle(balancer: str) -> str:
    """Give a new load balancer its place; its DNSName."""
    with _lock:
        _places[balancer] = Place()
        alb._lbs[balancer]["DNSName"] = _places[balancer].name
        return _places[balancer].name


def _create_load_balancer(original: Callable[..., Any], parameters: Any) -> Any:
    before = set(alb._lbs)
    status, headers, body = original(parameters)
    for arn in set(alb._lbs) - before:
        old = alb._lbs[arn]["DNSName"]
        body = body.replace(old.encode(), _settle(arn).encode())
    return status, headers, body


def _describe_target_health(parameters: Any) -> Any:
    arn = alb._p(parameters, "TargetGroupArn")
    group = alb._tgs[arn]
    with _lock:
        shown = [(t.id, t.port, t.state, *t.reason) for t in _targets.values() if t.group == arn]
    members = ""
    for identifier, port, state, reason, description in shown:
        checked = group["HealthCheckPort"]
        why = f"<Reason>{reason}</Reason><Description>{description}</Description>" if reason else ""
        members += (
            f"<member><Target><Id>{identifier}</Id><Port>{port}</Port></Target>"
            f"<HealthCheckPort>{port if checked == 'traffic-port' else checked}</HealthCheckPort>"
            f"<TargetHealth><State>{state}</State>{why}</TargetHealth></member>"
        )
    return alb._xml(
        200,
        "DescribeTargetHealth",
        f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>",
    )


def _then_reconcile(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return original(*arguments, **named)
    finally:
        reconcile()


def _made_by_template(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    arn, attributes = original(*arguments, **named)
    return arn, attributes | {"DNSName": _settle(arn)}


async def _follow() -> None:
    while True:
        try:
            reconcile()
        except Exception:
            _log.exception("the load balancers are not as they should be")
        await asyncio.sleep(_FOLLOW_SECONDS)


def install() -> None:
    """Put this in front of MiniStack's ELB, and start the thread of all load balancers."""
    _shim.install()
    actions = alb._ACTION_MAP
    actions["CreateLoadBalancer"] = partial(_create_load_balancer, actions["CreateLoadBalancer"])
    actions["DescribeTargetHealth"] = _describe_target_health
    alb.set_targets_for_group = partial(_then_reconcile, alb.set_targets_for_group)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ElasticLoadBalancingV2::LoadBalancer"]
    handlers["create"] = partial(_made_by_template, handlers["create"])
    # By name too: an update that replaces calls it.
    provisioners._elbv2_load_balancer_create = handlers["create"]
    _soon(_follow())
    threading.Thread(target=_loop.run_forever, name="load-balancers", daemon=True).start()
