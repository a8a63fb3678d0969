"""The prose linter finds what it is told to find, and the tree is clean of it."""

import pytest

from tests.prose import main, refused, words

LIST = "# a comment\n\ntext | \\bgoes back\\b | roll back\nall | \\bis at it\\b | is running\n"


def test_the_tree_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    code = main()
    assert (code, capsys.readouterr().err) == (0, "")


def test_a_word_is_refused_where_its_scope_says() -> None:
    content = "It goes\nback.\nIt Goes back; another is at it.\n"
    text = list(refused("docs/a.md", content, words(LIST)))
    assert text == [
        "docs/a.md:3: 'Goes back'; better: roll back",
        "docs/a.md:3: 'is at it'; better: is running",
    ]
    assert list(refused("cli/a.py", content, words(LIST))) == [
        "cli/a.py:3: 'is at it'; better: is running"
    ]


def test_a_line_of_the_list_that_cannot_be_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown scope 'docs'"):
        words("docs | x | y")
