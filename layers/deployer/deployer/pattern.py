"""Regular expressions that users write, matched in a time that the pattern's author cannot stretch.

Python's own engine tries one way after the other, and takes years for `(a+)+b` and thirty letters;
one such pattern would hold all services. Here all ways are followed at once (Thompson, "Regular
expression search algorithm", 1968), so a match takes at most the pattern's size times the text's.
An engine such as google-re2 does the same, but is compiled for one platform, which the layer is
not: it is built wherever `sam build` runs.

The syntax is that of Python's `re`, whose own compiler checks it and matches the single characters.
What needs going back (references, lookaround) is refused.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

MAX_STATES = 2000  # of a pattern, with its repetitions written out
_PAIRS = 2000  # of states, one of each pattern, in the search for a common text

_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
_FLAGS = re.compile(r"\(\?([aimsux]+)\)")
_GROUP = re.compile(r"\((?:\?(?:P<\w+>|:))?")
_TIMES = re.compile(r"([*+?]|\{(\d*)(?:(,)(\d*))?\})(\??)")
_ATOM = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]+\}|0[0-7]{0,2}|.)"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|.",
    re.DOTALL,
)
_PLACES = {"^", "$", r"\A", r"\Z", r"\b", r"\B"}  # match between characters


class Unsupported(ValueError):
    """A pattern that is a regular expression, and cannot be run in bounded time."""


@dataclass
class _State:
    """A step: the character or the place that it matches; without either it is free."""

    character: re.Pattern[str] | None = None
    place: re.Pattern[str] | None = None
    after: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Pattern:
    """A pattern that can be matched; see `compile`."""

    states: list[_State]
    start: int
    end: int

    def fullmatch(self, text: str) -> bool:
        """Return whether the whole text matches."""
        here = self._reached({self.start}, text, 0)
        for at in range(len(text)):
            there = {
                after
                for state in here
                if (character := self.states[state].character) and character.match(text[at])
                for after in self.states[state].after
            }
            here = self._reached(there, text, at + 1)
        return self.end in here

    def after(self, states: frozenset[int], character: str) -> frozenset[int]:
        """Return the states that a character leads to, as if each place were where it has to be."""
        return frozenset(
            after
            for state in self._reached(set(states))
            if (fitting := self.states[state].character) and fitting.match(character)
            for after in self.states[state].after
        )

    def _reached(self, begun: set[int], text: str | None = None, at: int = 0) -> set[int]:
        """Return the states that are reached without a character. Without a text, every place is
        taken for where it has to be."""
        seen, left = set(begun), list(begun)
        while left:
            state = self.states[left.pop()]
            if state.character:
                continue
            if state.place and text is not None and not state.place.match(text, at):
                continue
            more = [after for after in state.after if after not in seen]
            seen.update(more)
            left += more
        return seen


@lru_cache(256)
def compile(pattern: str) -> Pattern:
    """Make a pattern ready.

    Raises:
        re.error: it is not a regular expression.
        Unsupported: it cannot be run in bounded time; the message says why.
    """
    re.compile(pattern)
    if _REFERENCE.search(re.sub(r"\\\\", "", pattern)):
        raise Unsupported("a reference to an earlier group cannot be used here")
    return _Parser(pattern).parsed()


def common(first_pattern: Pattern, second_pattern: Pattern, characters: str) -> str | None:
    """Return a short text that both patterns match; None if none is found, which is not to say that
    there is none: only so many are tried.

    Args:
        characters: those that the text may have.
    """
    first = (frozenset({first_pattern.start}), frozenset({second_pattern.start}))
    seen, left = {first}, deque([(first, "")])
    while left and len(seen) < _PAIRS:
        (mine, theirs), text = left.popleft()
        if text and first_pattern.fullmatch(text) and second_pattern.fullmatch(text):
            return text
        for character in characters:
            pair = (first_pattern.after(mine, character), second_pattern.after(theirs, character))
            if all(pair) and pair not in seen:
                seen.add(pair)
                left.append((pair, text + character))
    return None


class _Parser:
    """Builds the states of a pattern that Python's compiler took."""

    def __init__(self, pattern: str) -> None:
        self.text, self.at, self.states = pattern, 0, list[_State]()
        self.flags = re.NOFLAG
        if found := _FLAGS.match(pattern):
            if set(found[1]) - set("aim"):
                raise Unsupported(f"the flags {found[0]} cannot be used here; only (?i) can")
            self.flags = re.IGNORECASE if "i" in found[1] else re.NOFLAG
            self.at = found.end()

    def parsed(self) -> Pattern:
        start, end = self._choice()
        return Pattern(self.states, start, end)

    def _state(
        self, character: re.Pattern[str] | None = None, place: re.Pattern[str] | None = None
    ) -> int:
        if len(self.states) >= MAX_STATES:
            raise Unsupported("it repeats too much; write smaller numbers into {}")
        self.states.append(_State(character, place))
        return len(self.states) - 1

    def _choice(self) -> tuple[int, int]:
        """Alternatives, up to a `)` or the end."""
        ways = [self._sequence()]
        while self.text[self.at : self.at + 1] == "|":
            self.at += 1
            ways.append(self._sequence())
        start, end = self._state(), self._state()
        for first, last in ways:
            self.states[start].after.append(first)
            self.states[last].after.append(end)
        return start, end

    def _sequence(self) -> tuple[int, int]:
        start = last = self._state()
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            for first, end in self._repeated():
                self.states[last].after.append(first)
                last = end
        return start, last

    def _repeated(self) -> Iterator[tuple[int, int]]:
        """A piece as often as it is to be there; the parts that follow each other."""
        begin = self.at
        part = self._piece()
        times = _TIMES.match(self.text, self.at)
        if times is None or (times[1][0] == "{" and not (times[2] or times[3])):
            yield part
            return
        self.at = after = times.end()
        if self.text[self.at : self.at + 1] == "+":
            raise Unsupported("possessive repetition, such as a*+, cannot be used here")
        least, most = _bounds(times)
        yield from self._copies(part, begin, least, most)
        self.at = after

    def _copies(
        self, part: tuple[int, int], begin: int, least: int, most: int | None
    ) -> Iterator[tuple[int, int]]:
        count = max(least + (most is None), most or 0)
        for number in range(count):
            if number:
                self.at = begin
                part = self._piece()
            first, last = part
            if number >= least:  # it may be missing
                start, end = self._state(), self._state()
                self.states[start].after += [first, end]
                self.states[last].after.append(end)
                if most is None:
                    self.states[last].after.append(first)
                first, last = start, end
            yield first, last

    def _piece(self) -> tuple[int, int]:
        """A group, a character, or a place between two."""
        if self.text[self.at] == "(":
            group = _GROUP.match(self.text, self.at)
            if group is None or self.text[group.end() : group.end() + 1] == "?":
                shown = self.text[self.at : self.at + 4]
                raise Unsupported(f"{shown} cannot be used here: groups are ( ) and (?: )")
            self.at = group.end()
            inside = self._choice()
            self.at += 1
            return inside
        atom = _ATOM.match(self.text, self.at)
        assert atom is not None
        self.at = atom.end()
        matches = re.compile(atom[0], self.flags)
        place = atom[0] in _PLACES
        state, end = self._state(*((None, matches) if place else (matches,))), self._state()
        self.states[state].after.append(end)
        return state, end


def _bounds(times: re.Match[str]) -> tuple[int, int | None]:
    """How often a piece is there at least and at most; None is without end."""
    match times[1]:
        case "*":
            return 0, None
        case "+":
            return 1, None
        case "?":
            return 0, 1
    least = int(times[2] or 0)
    if not times[3]:
        return least, least
    return least, int(times[4]) if times[4] else None
