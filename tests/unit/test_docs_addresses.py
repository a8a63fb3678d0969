"""What a site serves at which address."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from deployer.docs import addresses
from deployer.docs.addresses import Links, Redirect, Slash

# Pages -------------------------------------------------------------------------------------------


def of_pages(*built: str, slash: Slash = "") -> dict[str, str]:
    """Each key with the file that it serves, or where it redirects to."""
    objects = addresses.of_pages(built, slash)
    return {key: served.get("of") or served["location"] for key, served in objects.items()}


@pytest.mark.parametrize(
    ("built", "slash", "objects"),
    [
        (["a.html"], "", {"a": "a.html", "a/index.html": "/a"}),
        (["a.html"], "never", {"a": "a.html", "a/index.html": "/a"}),
        (["a.html"], "always", {"a/index.html": "a.html", "a": "/a/"}),
        (["a/index.html"], "", {"a": "/a/"}),
        (["a/index.html"], "always", {"a": "/a/"}),
        (["a/index.html"], "never", {"a": "a/index.html", "a/index.html": "/a"}),
        # names with a dot
        (["b/a.js.html"], "", {"b/a.js": "b/a.js.html", "b/a.js/index.html": "/b/a.js"}),
        (["b/tf.output/index.html"], "", {"b/tf.output": "/b/tf.output/"}),
        (["ü b.html"], "", {"ü b": "ü b.html", "ü b/index.html": "/%C3%BC%20b"}),
        # a file has the address
        (["a.js.html", "a.js"], "", {}),
        (["a", "a/index.html"], "never", {}),
        # both: VitePress's guide.html and guide/index.html
        (["a.html", "a/index.html"], "", {"a": "a.html"}),
        (["a.html", "a/index.html"], "always", {"a": "a.html"}),
        # these have their address already
        (["index.html", "404.html", "de/404.html"], "", {}),
    ],
)
def test_each_page_has_its_addresses(
    built: list[str], slash: Slash, objects: Mapping[str, str]
) -> None:
    assert of_pages(*built, slash=slash) == objects


def test_two_pages_of_one_name_keep_their_own_addresses() -> None:
    """/a is a.html, and /a/ is a/index.html."""
    objects, _ = redirected("/x /a 200\n/y /a/ 200", "a.html", "a/index.html")
    assert (objects["x"], objects["y"]) == ({"of": "a.html"}, {"of": "a/index.html"})


@pytest.mark.parametrize(
    ("page", "text", "slash"),
    [
        # Docusaurus, by default
        ("index.html", '<a href="/docs/intro">', "never"),
        ("docs/intro/index.html", '<a class="x" href="/docs/other#part">', "never"),
        # MkDocs, Hugo, Starlight, Next.js with trailingSlash
        ("docs/intro/index.html", '<a href="../other/">', ""),
        ("docs/intro/index.html", "<a href=/docs/other/>", ""),
        ("docs/intro/index.html", '<a href="../other">', "never"),
        # the canonical address counts, others with a host do not
        ("index.html", '<link rel="canonical" href="https://x.example/docs/intro">', "never"),
        ("index.html", '<a href="https://github.com/docs/intro">', ""),
        ("index.html", '<a href="//x.example/docs/intro">', ""),
        # not to a page in a folder
        ("index.html", '<a href="/docs/missing"><a href="/"><a href="#a"><a href="http://[">', ""),
    ],
)
def test_the_links_show_whether_addresses_end_with_a_slash(
    page: str, text: str, slash: str
) -> None:
    links = Links.among(["index.html", "docs/intro/index.html", "docs/other/index.html"])
    links.count(page, text)
    assert links.slash == slash


def test_a_few_links_without_a_slash_do_not_decide() -> None:
    links = Links.among(["a/index.html"])
    links.count("index.html", '<a href="/a/">' + '<a href="/a">' * 4)
    assert links.slash == ""


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("index.html", "/"),
        ("a b/ü/index.html", "/a%20b/%C3%BC/"),
        ("a/50%.html", "/a/50%25.html"),
        ("a/my-index.html", "/a/my-index.html"),
        ("guides/node.js", "/guides/node.js"),
    ],
)
def test_a_key_has_an_address(key: str, path: str) -> None:
    assert addresses.address(key) == path


# Redirects ---------------------------------------------------------------------------------------


def test_redirects_are_read_as_netlify_documents_them() -> None:
    text = """
# a comment
/old              /new
/a/b/    https://example.com/x?y=z  302   # another
/forced  /new 301!
/docs/* /manual/:splat 308
/gone   /lost 404
/as     /a.html 200
"""
    rules, problems = addresses.redirects(text)
    assert problems == []
    assert rules == [
        Redirect("old", "/new", 301, False, False),
        Redirect("a/b", "https://example.com/x?y=z", 302, False, False),
        Redirect("forced", "/new", 301, True, False),
        Redirect("docs", "/manual/:splat", 308, False, True),
        Redirect("gone", "/lost", 404, False, False),
        Redirect("as", "/a.html", 200, False, False),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/a", "no target"),
        ("https://x.example/a /b", "must be a path"),
        ("/a b", "a path or a URL"),
        ("/a //evil.example", "a path or a URL"),
        ("/a id=:id /b 301", "query parameters"),
        ("/a /b 302 Language=de", "conditions"),
        ("/a /b 418", "status 418"),
        ("/:year/a /b", "placeholders"),
        ("/a*b /b", "placeholders"),
        ("/* /index.html 200", "status 200 is not supported with"),
        ("/a /b/:splat", ":splat needs a source"),
        ("/a/* https://x.example:splat", ":splat needs"),
        ("/a/* https://:splat/b", ":splat needs"),
        ("/a https://x.example/b 200", "a page of the site"),
    ],
)
def test_what_is_not_supported_of_a_redirect_is_named_with_its_line(
    line: str, problem: str
) -> None:
    rules, (found,) = addresses.redirects(f"\n{line}\n")
    assert rules == []
    assert found.startswith("_redirects, line 2 (")
    assert problem in found


def redirected(text: str, *built: str) -> tuple[dict[str, Any], list[str]]:
    rules, problems = addresses.redirects(text)
    assert problems == []
    return addresses.of_redirects(rules, addresses.of_pages(built, ""), built)


def test_a_page_comes_before_a_redirect_that_is_not_forced() -> None:
    built = "a.html", "b/index.html"
    assert redirected("/a /x\n/b /x\n/a.html /x", *built) == ({}, [])
    objects, _ = redirected("/a /x 301!\n/a /y 301!", *built)
    to_x = {"location": "/x", "status": 301}
    assert objects == {"a": to_x, "a/index.html": to_x}


def test_a_rewrite_needs_a_page() -> None:
    objects, problems = redirected("/x /a 200\n/y /none 200\n/z /a 404", "a.html")
    assert problems == ["_redirects: /y leads to /none, not a page"]
    assert objects["x"] == objects["x/index.html"] == {"of": "a.html"}
    assert objects["z"] == {"of": "a.html", "status": 404}


def test_a_target_is_written_as_a_header_may_hold_it() -> None:
    objects, _ = redirected("/x /größe?a=b#c")
    assert objects["x"]["location"] == "/gr%C3%B6%C3%9Fe?a=b#c"


# Headers -----------------------------------------------------------------------------------------


def test_headers_are_given_to_the_addresses_that_match() -> None:
    text = """
/*
  X-Frame-Options: DENY
/docs/*
  X-Robots-Tag: noindex
  X-Robots-Tag: nofollow
/:lang/start
  Content-Language: de
/data.bin
  Content-Type: application/x-data
  Cache-Control: max-age=60
"""
    rules, problems = addresses.header_rules(text)
    assert problems == []

    def of(key: str) -> Any:
        served, problem = addresses.with_headers(key, {"kind": "k"}, rules)
        assert problem is None
        return served

    frame = {"x-frame-options": "DENY"}
    assert of("index.html")["headers"] == frame
    assert of("docs/a.html")["headers"] == {**frame, "x-robots-tag": "noindex, nofollow"}
    assert of("docs/index.html")["headers"] == {**frame, "x-robots-tag": "noindex, nofollow"}
    assert of("de/start/index.html")["headers"] == {**frame, "content-language": "de"}
    assert of("a/de/start")["headers"] == frame
    assert of("data.bin") == {"kind": "application/x-data", "cache": "max-age=60", "headers": frame}


@pytest.mark.parametrize(
    "line", ["X-A: b", "/a\n nonsense", "/a\n Set-Cookie: a=b", "/a\n X-A: ü", "/a\n Location: /b"]
)
def test_a_header_that_can_not_be_set_is_named_with_its_line(line: str) -> None:
    rules, (problem,) = addresses.header_rules(line)
    assert f"_headers, line {line.count(chr(10)) + 1} (" in problem
    assert not any(rule.headers for rule in rules)


def test_headers_that_do_not_fit_are_left_out() -> None:
    rules, _ = addresses.header_rules(f"/a\n X-A: {'x' * 1500}")
    served, problem = addresses.with_headers("a", {"kind": "k"}, rules)
    assert served == {"kind": "k"}
    assert problem is not None


# What the edge needs -----------------------------------------------------------------------------


def test_a_site_without_such_rules_needs_nothing_at_the_edge() -> None:
    missing, problems = addresses.missing([], ["index.html", "404.html"])
    assert (missing.pairs(["index.html"]), problems) == ([], [])


def test_the_rules_and_every_key_are_at_the_edge() -> None:
    keys = [f"guide/page-{number}" for number in range(1000)]
    keys += ["404.html", "de/404.html", "de/at/404.html"]
    rules, _ = addresses.redirects("/a/* /b/:splat\n/c /d")
    missing, problems = addresses.missing(rules, keys)
    assert problems == []
    pairs = {pair["Key"]: pair["Value"] for pair in missing.pairs(keys)}
    assert json.loads(pairs.pop("rules")) == [[["a", "/b/:splat", 301]], ["de/at", "de"]]
    assert list(pairs) == [str(number) for number in range(5)]
    assert sum(map(len, pairs.values())) == 3 * len(keys)
    assert max(map(len, pairs.values())) <= 1000


def test_more_than_the_edge_holds_is_said_and_left_out() -> None:
    keys = ["de/404.html", *(f"page-{number}" for number in range(20_000))]
    missing, (problem,) = addresses.missing([], keys)
    assert missing.pairs(keys) == []
    assert "20001 addresses" in problem
    rules, _ = addresses.redirects("\n".join(f"/from-{n}/* /to-{n}/:splat" for n in range(100)))
    assert addresses.missing(rules, ["index.html"])[0].redirects == ()
