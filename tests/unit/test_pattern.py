"""Patterns that users write: the same as Python's, in bounded time, or refused."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer import pattern
from deployer.pattern import Unsupported

PIECES = st.sampled_from(
    [
        *("a", "b", "1", r"\d", r"\w", r"\.", ".", "[ab]", "[^a]", "[a-c.-]", "-", r"[\d.]"),
        *("[]a]", "^", "$", r"\b", "(?:a|b)", "(ab|a)", "(1)", "", "(|a)", r"\x61", "[\\]a]"),
    ]
)
TIMES = st.sampled_from(
    ["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}", "{0}"]
)
PARTS = st.tuples(PIECES, TIMES).map(
    lambda part: f"{part[0]}{'' if part[0] in ('^', '$', r'\b', '') else part[1]}"
)
SEQUENCES = st.lists(PARTS, max_size=4).map("".join)
PATTERNS = st.recursive(
    SEQUENCES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, TIMES).map(lambda part: f"(?:{part[0]}){part[1]}"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=4,
)


@given(PATTERNS, st.text("ab1.-\n", max_size=8))
def test_what_matches_is_what_matches_in_python(text: str, tag: str) -> None:
    assert pattern.compile(text).fullmatch(tag) == (re.fullmatch(text, tag) is not None)


@pytest.mark.parametrize(
    ("text", "tag", "matches"),
    [
        (r"v?\d+\.\d+\.\d+(-rc\.\d+)?", "v1.20.3-rc.1", True),
        (r"^v?\d+(\.\d+)*$", "1.2.3", True),
        (r"(?i)release-.*", "Release-7", True),
        (r"main-[0-9a-f]{7,40}", "main-0a1b2c3", True),
        (r"main-[0-9a-f]{7,40}", "main-0a1b2c", False),
        (r"[0-9]+\.[0-9]+\.[0-9]+", "1.2.3-amd64", False),
        (r"(?P<name>prod|stage)-\d{4}", "stage-2026", True),
    ],
)
def test_patterns_that_people_write(text: str, tag: str, matches: bool) -> None:
    assert pattern.compile(text).fullmatch(tag) is matches


@pytest.mark.parametrize(
    "text",
    [r"(a+)+b", r"(a|a)*b", r"(a|aa)+b", r"(.*)*x", r"(a*)*b", r"a*a*a*a*a*a*a*b", r"(\w+\s?)*x"],
)
def test_no_pattern_takes_long(text: str) -> None:
    """Python's engine takes longer than anybody waits for the first of these."""
    began = time.process_time()
    assert not pattern.compile(text).fullmatch("a" * 128)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        *(r"(?!x)a", r"(?=x)a", r"(?<!x)a", r"(a)\1", r"(?P<n>a)(?P=n)", r"(?>a)", r"a*+"),
        *(r"(?x)a b", r"((a{100}){100}){100}", r"(?i:a)", r"(a)(?(1)b|c)"),
    ],
)
def test_what_cannot_be_run_is_refused(text: str) -> None:
    with pytest.raises(Unsupported):
        pattern.compile(text)


@pytest.mark.parametrize("text", ["(", "[a", "*", r"(?P<n>a)(?P<n>b)", "a{2,1}"])
def test_what_is_not_a_regular_expression_is_an_error(text: str) -> None:
    with pytest.raises(re.error):
        pattern.compile(text)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ("v.*", r"v1\..*", "v1."),
        (r"v?[0-9]+\.[0-9]+(-[a-z0-9]+)?", r"[0-9.]+-rc[0-9]", "0.0-rc0"),
        (r"^v[0-9]$", r"\bv1\b", "v1"),
        ("a{3,100}b", "(aa)*b", "aaaab"),
        (".*-prod", ".*-staging", None),
        ("rc-.*", "release-.*", None),
        (r"a\bb", "ab", None),
        ("a*", "b*", None),
    ],
)
def test_a_text_that_two_patterns_match_is_found(one: str, other: str, text: str | None) -> None:
    result = pattern.common(pattern.compile(one), pattern.compile(other), "01abcdefprsv.-")
    assert result == text


def test_the_search_for_a_common_text_ends() -> None:
    """Although there are some million states that both may be in."""
    one, other = (pattern.compile(f"(a|b)*{last}(a|b){{20}}") for last in "ab")
    assert pattern.common(one, other, "ab") is None
