"""Fill the variables of a compose file, as `docker compose` does.

https://docs.docker.com/reference/compose-file/interpolation/
"""

import re
from collections.abc import Mapping
from typing import Any

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BARE = re.compile(_NAME)
_BRACED = re.compile(rf"({_NAME})(:?[-?+])?")


class Variables:
    """The variables that a compose file may use.

    Attributes:
        problems: those that are required or malformed, after `fill`.
        unset: those that have neither a value nor a default.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []
        self.unset: set[str] = set()

    def fill(self, value: Any, path: str = "") -> Any:
        """Return a value of a file with every variable in its texts filled in."""
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Mapping):
            at = f"{path}." if path else ""
            return {name: self.fill(entry, f"{at}{name}") for name, entry in value.items()}
        if isinstance(value, list):
            return [self.fill(entry, f"{path}[{index}]") for index, entry in enumerate(value)]
        return value

    def _text(self, text: str, path: str) -> str:
        done, at = [], 0
        while (dollar := text.find("$", at)) >= 0:
            done.append(text[at:dollar])
            following = text[dollar + 1 : dollar + 2]
            if following == "$":
                done.append("$")
                at = dollar + 2
            elif following == "{" and (end := _closing(text, dollar + 2)) > 0:
                done.append(self._braced(text[dollar + 2 : end], path))
                at = end + 1
            elif match := _BARE.match(text, dollar + 1):
                done.append(self._value(match[0]))
                at = match.end()
            else:
                self.problems.append(f"{path}: a $ that names no variable: write $$")
                at = dollar + 1
        return "".join([*done, text[at:]])

    def _braced(self, inside: str, path: str) -> str:
        match = _BRACED.match(inside)
        if not match or (not match[2] and match.end() < len(inside)):
            self.problems.append(f"{path}: not a variable such as ${{NAME}} or ${{NAME:-default}}")
            return ""
        name, sign, word = match[1], match[2] or "", inside[match.end() :]
        value = self._values.get(name)
        there = bool(value) if sign.startswith(":") else value is not None
        if sign.endswith("+"):
            return self._text(word, path) if there else ""
        if there:
            return str(value)
        if sign.endswith("-"):
            return self._text(word, path)
        if sign.endswith("?"):
            self.problems.append(f"{path}: ${name} is not set: {word or 'the file requires it'}")
            return ""
        return self._value(name)

    def _value(self, name: str) -> str:
        if name not in self._values:
            self.unset.add(name)
        return self._values.get(name, "")


def _closing(text: str, at: int) -> int:
    """Return where the brace that was opened before `at` is closed; -1 if it is not."""
    depth = 1
    while at < len(text):
        depth += {"{": 1, "}": -1}.get(text[at], 0) if text[at] in "{}" else 0
        if depth == 0:
            return at
        at += 1
    return -1


def variables(text: str) -> dict[str, str]:
    """Return the variables of a `.env` file.

    https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not _BARE.fullmatch(name):
            continue
        if value[:1] in ("'", '"') and value.find(value[0], 1) > 0:
            value = value[1 : value.find(value[0], 1)]
        else:
            value = re.split(r"\s+#", value)[0].rstrip()
        values[name] = value
    return values
