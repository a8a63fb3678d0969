"""Read from a Dockerfile what ECS must know: ports, the health check, the platform.

Command, user and variables are in the image, and ECS takes them from there.
https://docs.docker.com/reference/dockerfile/
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.origins.application import Application, as_name, seconds
from deployer.deploy.documents import PLATFORMS

_DIRECTIVE = re.compile(r"#\s*([a-z]+)\s*=\s*(\S+)\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"(?<!<)<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_VARIABLE = re.compile(r"\\.|\$(?:(\w+)|\{(\w+)(?::([+-])((?:[^{}]|\{[^{}]*\})*))?\})")
_FLAGS = {"interval": "interval", "timeout": "timeout", "start-period": "startPeriod"}
_PORTS = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp))?", re.IGNORECASE)


def read(file: Path, text: str) -> Application:
    """Return the application whose image a Dockerfile builds, as its last stage says."""
    application = Application(as_name(file.resolve().parent.name), file.name)
    stages = dict[str, list[tuple[str, str]]]()
    before, stage = dict[str, str](), list[tuple[str, str]]()
    for word, rest in _instructions(text):
        if word == "FROM":
            flags, words = _flags(_filled(rest, before))
            platform = flags.get("platform", "")
            application.platform = platform if platform in PLATFORMS else "linux/amd64"
            parts = words.split() or [""]
            stage = [*stages.get(parts[0].lower(), ())]
            if len(parts) == 3 and parts[1].upper() == "AS":
                stages[parts[2].lower()] = stage
        elif word == "ARG" and not stage:
            before |= _assigned(rest, before)
            continue
        stage.append((word, rest))
    if not any(word == "FROM" for word, _ in stage):
        application.problems.append(f"{file.name}: it has no FROM, so it is not a Dockerfile")
    _stage(application, stage)
    return application


def _stage(application: Application, stage: list[tuple[str, str]]) -> None:
    known = dict[str, str]()
    for word, rest in stage:
        if word in ("ARG", "ENV"):
            known |= _assigned(rest, known)
        elif word == "EXPOSE":
            for port in _filled(rest, known).split():
                _expose(application, port)
        elif word == "HEALTHCHECK":
            _check(application, rest)
        elif word == "VOLUME":
            application.notes.append(
                f"VOLUME {rest}: what is written there is lost with the task; an EFS volume in"
                " taskDefinition keeps it"
            )


def _expose(application: Application, port: str) -> None:
    match = _PORTS.fullmatch(port)
    if not match:
        application.problems.append(f"EXPOSE {port}: not a port; name it with --port")
        return
    if (match[3] or "tcp").lower() == "udp":
        application.notes.append(f"EXPOSE {port}: UDP; add it to portMappings if it is needed")
        return
    first, last = int(match[1]), int(match[2] or match[1])
    ports = range(first, last + 1)
    if last - first > 100 or not 0 < first <= last < 65536:
        application.problems.append(f"EXPOSE {port}: name the port that serves with --port")
        return
    application.ports += [number for number in ports if number not in application.ports]


def _check(application: Application, rest: str) -> None:
    flags, command = _flags(rest)
    if command.strip().upper() == "NONE":
        application.container.pop("healthCheck", None)
        return
    kind, _, command = command.partition(" ")
    if kind.upper() != "CMD" or not command.strip():
        application.problems.append(f"HEALTHCHECK {rest}: neither CMD nor NONE")
        return
    try:
        values = {ours: seconds(flags[name]) for name, ours in _FLAGS.items() if name in flags}
        if "retries" in flags:
            values["retries"] = int(flags["retries"])
    except ValueError as error:
        application.problems.append(f"HEALTHCHECK: {error}")
        return
    words = _as_array(command)
    application.check(["CMD", *words] if words else ["CMD-SHELL", command], values)


def _as_array(command: str) -> list[str]:
    """Return a command in exec form; [] if it is in shell form."""
    try:
        words = json.loads(command)
    except ValueError:
        return []
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else []


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction and its arguments, without comments, continuations and heredocs."""
    lines, escape, directives = iter(text.removeprefix("\ufeff").splitlines()), "\\", True
    for line in lines:
        stripped = line.strip()
        if directives and (match := _DIRECTIVE.match(stripped)):
            escape = match[2] if match[1].lower() == "escape" else escape
            continue
        directives = directives and not stripped
        if not stripped or stripped.startswith("#"):
            directives = False
            continue
        whole = stripped
        while whole.endswith(escape):
            whole = whole[:-1]
            for following in lines:
                if following.strip() and not following.strip().startswith("#"):
                    whole += following.rstrip()
                    break
            else:
                break
        word, _, rest = whole.partition(" ")
        if word.upper() in ("RUN", "COPY", "ADD"):
            for _, end in _HEREDOC.findall(rest):
                for following in lines:
                    if following.strip() == end:
                        break
        yield word.upper(), rest.strip()


def _flags(rest: str) -> tuple[dict[str, str], str]:
    """Return the flags of an instruction, and what follows them."""
    flags = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return flags, rest


def _assigned(rest: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ENV or ARG; an ARG without a default stays unknown."""
    try:
        words = shlex.split(rest)
    except ValueError:
        return {}
    if words and "=" not in words[0] and len(words) > 1:  # ENV name value
        return {words[0]: _filled(rest.partition(" ")[2], known)}
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name: _filled(value, known) for name, _, value in pairs}


def _filled(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, sign, word = match[1] or match[2], match[3], match[4] or ""
        if name is None:
            return match[0]
        if sign == "+":
            return word if known.get(name) else ""
        return known.get(name) or (_filled(word, known) if sign else "")

    return _VARIABLE.sub(value, text)
