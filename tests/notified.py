"""Stand-ins for those who are notified. They refuse what the real ones are documented to refuse.

Each takes a request as `receive(method, url, headers, body)` and gives status, headers and body.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

type Response = tuple[int, dict[str, str], str]

_URL = re.compile(r"(https?://\S+)?")


def _json(status: int, body: Any) -> Response:
    return status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(body)


@dataclass
class GitHub:
    """https://docs.github.com/en/rest: commit statuses, deployments and their statuses.

    Args:
        repositories: the commits of each.
        answers: given in turn instead of its own, such as while it is down.
    """

    repositories: Mapping[str, set[str]]
    token: str = f"github_pat_{'1' * 22}"
    answers: list[Response] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: str) -> Response:
        if self.answers:
            return self.answers.pop(0)
        given = {name.lower(): value for name, value in headers.items()}
        if not given.get("user-agent"):
            return _json(403, {"message": "Request forbidden by administrative rules."})
        if given.get("authorization") != f"Bearer {self.token}":
            return _json(401, {"message": "Bad credentials"})
        address = urlsplit(url)
        assert (address.scheme, address.netloc) == ("https", "api.github.com")
        match address.path.split("/")[1:]:
            case ["repos", owner, name, *rest] if f"{owner}/{name}" in self.repositories:
                commits = self.repositories[f"{owner}/{name}"]
            case _:
                return _json(404, {"message": "Not Found"})
        document = json.loads(body) if body else {}
        match method, rest:
            case "POST", ["statuses", sha]:
                return self._status(sha, commits, document)
            case "GET", ["deployments"]:
                query = parse_qs(address.query)
                (task,) = query.pop("task")
                assert not query
                return _json(200, [d for d in self.deployments if d["task"] == task])
            case "POST", ["deployments"]:
                return self._deployment(commits, document)
            case "POST", ["deployments", number, "statuses"]:
                return self._deployment_status(int(number), document)
        return _json(404, {"message": "Not Found"})

    def _status(self, sha: str, commits: set[str], document: dict[str, Any]) -> Response:
        if not re.fullmatch("[0-9a-f]{40}", sha) or sha not in commits:
            return _json(422, {"message": f"No commit found for SHA: {sha}"})
        if wrong := self._wrong(document, ("error", "failure", "pending", "success")):
            return wrong
        self.statuses.append({"context": "default", **document, "sha": sha})
        return _json(201, {"id": len(self.statuses), **document})

    def _deployment(self, commits: set[str], document: dict[str, Any]) -> Response:
        if "ref" not in document:
            return _json(422, {"message": 'Invalid request.\n\n"ref" wasn\'t supplied.'})
        if document["ref"] not in commits:
            return _json(422, {"message": f"No ref found for: {document['ref']}"})
        if document.get("auto_merge", True):
            return _json(202, {"message": "Auto-merged main into a branch on deployment."})
        if document.get("required_contexts") != [] and self.statuses:
            return _json(409, {"message": "Conflict: Commit status checks failed"})
        created = {"id": len(self.deployments) + 1, "statuses": [], **document}
        self.deployments.append(created)
        return _json(201, created)

    def _deployment_status(self, number: int, document: dict[str, Any]) -> Response:
        states = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
        if wrong := self._wrong(document, states):
            return wrong
        if not 0 < number <= len(self.deployments):
            return _json(404, {"message": "Not Found"})
        own = self.deployments[number - 1]
        if document["state"] == "success" and document.get("auto_inactive", True):
            for other in self.deployments:
                ended = other["statuses"] and other["statuses"][-1]["state"] == "success"
                if other is not own and other["environment"] == own["environment"] and ended:
                    other["statuses"].append({"state": "inactive"})
        own["statuses"].append(document)
        return _json(201, {"id": len(own["statuses"]), **document})

    @staticmethod
    def _wrong(document: dict[str, Any], states: tuple[str, ...]) -> Response | None:
        problems = []
        if document.get("state") not in states:
            problems.append({"field": "state", "code": "custom"})
        if len(document.get("description") or "") > 140:
            problems.append({"message": "description is too long (maximum is 140 characters)"})
        for name in ("target_url", "log_url", "environment_url"):
            if not _URL.fullmatch(document.get(name, "")):
                problems.append({"field": name, "code": "custom"})
        return (
            _json(422, {"message": "Validation Failed", "errors": problems}) if problems else None
        )


@dataclass
class Slack:
    """An incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

    path: str = "/services/T0/B0/x"
    answers: list[Response] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: str) -> Response:
        if self.answers:
            return self.answers.pop(0)
        if urlsplit(url).path != self.path:
            return 404, {}, "no_service"
        try:
            message = json.loads(body)
        except ValueError:
            return 400, {}, "invalid_payload"
        if method != "POST" or not message.get("text"):
            return 400, {}, "no_text"
        blocks = message.get("blocks", [])
        if len(blocks) > 50 or not all(map(self._valid, blocks)):
            return 400, {}, "invalid_blocks"
        self.messages.append(message)
        return 200, {}, "ok"

    @staticmethod
    def _valid(block: Mapping[str, Any]) -> bool:
        """https://docs.slack.dev/reference/block-kit/blocks/section-block, and the text's escapes
        in https://docs.slack.dev/messaging/formatting-message-text#escaping"""
        if block.keys() != {"type", "text"} or block["type"] != "section":
            return False
        text = block["text"]
        if text.keys() != {"type", "text"} or text["type"] not in ("mrkdwn", "plain_text"):
            return False
        rest = re.sub(r"<https?://[^<>|]+\|[^<>|]+>|&(amp|lt|gt);", "", text["text"])
        return 1 <= len(text["text"]) <= 3000 and not re.search("[&<>]", rest)


@dataclass
class Receiver:
    """A webhook as Standard Webhooks specifies its receiver."""

    key: str = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
    now: float = 0
    answers: list[Response] = field(default_factory=list)
    events: dict[str, Any] = field(default_factory=dict)

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: str) -> Response:
        if self.answers:
            return self.answers.pop(0)
        given = {name.lower(): value for name, value in headers.items()}
        message, moment = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
        if not message or "." in message or abs(int(moment or 0) - self.now) > 300:
            return 400, {}, "timestamp"
        key = base64.b64decode(self.key.removeprefix("whsec_"))
        digest = hmac.new(key, f"{message}.{moment}.{body}".encode(), hashlib.sha256).digest()
        wanted = f"v1,{base64.b64encode(digest).decode()}"
        if wanted not in given.get("webhook-signature", "").split(" "):
            return 401, {}, "signature"
        document = json.loads(body)
        if document.keys() != {"type", "timestamp", "data"}:
            return 400, {}, "payload"
        self.events[message] = document
        return 204, {}, ""
