"""The functions at CloudFront's edge, run by Node on what a publication left."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from ministack.core import cloudfront_js

from deployer.docs import addresses, publication, site
from deployer.docs.publication import Contents, File
from tests.template.cloudformation import parsed

pytestmark = pytest.mark.skipif(not cloudfront_js.available(), reason="there is no Node")

BUILT = (
    "index.html",
    "404.html",
    "guide/index.html",
    "ref/a.b.html",
    "logo.svg",
    "de/404.html",
    "de/ü b.html",
)
RULES = "/old/* /guide/:splat\n/out/* https://x.example/:splat 302\n/up/* /:splat"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html#limits-functions
MOST_BYTES = 10_240


def code(name: str) -> str:
    return str(json.loads(parsed("docs"))["Resources"][name]["Properties"]["FunctionCode"])


def run(name: str, event: Mapping[str, Any], store: Mapping[str, str] | None = None) -> Any:
    kept = json.dumps(store or {})
    kvs = (
        f"const cf = {{ kvs: () => ({{ get: async (key) => {{ const held = {kept};"
        " if (!(key in held)) throw new Error('KeyNotFound'); return held[key]; } }) };"
    )
    body = code(name).replace("import cf from 'cloudfront';", kvs)
    return cloudfront_js.evaluate(body.encode(), {"context": {}, "viewer": {}, **event})


def contents(redirects: str = RULES) -> Contents:
    files = {path: File(path, 1, "r2") for path in BUILT}
    return publication.contents("r2", files, {}, ["r2"], {"_redirects": redirects}, "")


@pytest.fixture
def ask() -> Callable[..., Any]:
    pairs = site.switch(["r2", "r1"], contents().pairs)
    store = {pair["Key"]: pair["Value"] for pair in pairs}

    def asked(uri: str, query: Any = None, **more: Any) -> Any:
        request = {"uri": uri, "querystring": query or {}, "headers": {}, "cookies": {}, **more}
        return run("Route", {"request": request}, store)

    return asked


@pytest.mark.parametrize("name", ["Route", "Pin"])
def test_a_function_stays_well_below_the_limit(name: str) -> None:
    assert len(code(name).encode()) < MOST_BYTES / 2


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/", "index.html"),
        ("/guide/", "guide/index.html"),
        ("/guide", "guide"),
        ("/ref/a.b", "ref/a.b"),
        ("/logo.svg", "logo.svg"),
        ("/missing", "missing"),
        ("/missing.js", "missing.js"),
        ("/de/missing/", "de/404.html"),
        ("/de/missing.js", "de/404.html"),
        ("/de", "de"),
        ("/%zz", "%zz"),
    ],
)
def test_a_path_is_led_to_the_object_of_the_live_release(
    ask: Callable[..., Any], path: str, key: str
) -> None:
    assert ask(path)["uri"] == f"/releases/r2/{key}"


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/old", 301, "/guide/"),
        ("/old/", 301, "/guide/"),
        ("/old/a/%C3%BC?", 301, "/guide/a/%C3%BC?"),
        ("/out/a/", 302, "https://x.example/a/"),
        # no path leads to another host
        ("/up//evil.example", 301, "/evil.example"),
        ("/up/\\evil.example", 301, "/evil.example"),
        ("/up/$&", 301, "/$&"),
    ],
)
def test_a_redirect_with_a_star_leads_on(
    ask: Callable[..., Any], path: str, status: int, location: str
) -> None:
    answer = ask(path)
    assert (answer["statusCode"], answer["headers"]["location"]["value"]) == (status, location)


def test_a_redirect_keeps_the_query(ask: Callable[..., Any]) -> None:
    query = {
        "a": {"value": "1", "multiValue": [{"value": "1"}, {"value": "2"}]},
        "b": {"value": ""},
    }
    assert ask("/old/x", query)["headers"]["location"]["value"] == "/guide/x?a=1&a=2&b"


def test_every_object_is_found_and_hardly_anything_else(ask: Callable[..., Any]) -> None:
    for key in contents().files:
        assert unquote(ask(addresses.address(key))["uri"]) == f"/releases/r2/{key}"
    asked = [ask(f"/de/missing-{number}")["uri"] for number in range(50)]
    assert asked.count("/releases/r2/de/404.html") >= 49


def test_what_belongs_to_an_open_page_comes_from_its_release(ask: Callable[..., Any]) -> None:
    cookies = {"release": {"value": "r1"}}

    def of(dest: str) -> str:
        headers = {"sec-fetch-dest": {"value": dest}}
        return str(ask("/de/x.png", cookies=cookies, headers=headers)["uri"])

    assert of("image") == "/releases/r1/de/x.png"
    assert of("document") == "/releases/r2/de/404.html"


@pytest.mark.parametrize(
    "value", ["r2,r1", "r2,r1;0;/"], ids=["older deployer", "all with a slash"]
)
def test_where_all_names_get_a_slash_the_edge_adds_it(value: str) -> None:
    request = {"uri": "/a.b/c", "querystring": {}, "headers": {}, "cookies": {}}
    answer = run("Route", {"request": request}, {"releases": value})
    assert (answer["statusCode"], answer["headers"]["location"]["value"]) == (302, "/a.b/c/")
    for path in ("/a.css", "/tf.output"):
        answer = run("Route", {"request": {**request, "uri": path}}, {"releases": value})
        assert answer["uri"] == f"/releases/r2{path}"


def test_a_store_that_changes_meanwhile_fails_no_request() -> None:
    request = {"uri": "/a", "querystring": {}, "headers": {}, "cookies": {}}
    assert run("Route", {"request": request}, {"releases": "r2;9"})["uri"] == "/releases/r2/a"
    assert run("Route", {"request": request})["statusCode"] == 503


def answered(metadata: Mapping[str, str], status: int = 200, query: Any = None) -> Any:
    headers = {f"x-amz-meta-{name}": {"value": value} for name, value in metadata.items()}
    request = {"uri": "/", "querystring": query or {}, "headers": {}, "cookies": {}}
    response = {"statusCode": status, "statusDescription": "OK", "headers": headers, "cookies": {}}
    return run("Pin", {"request": request, "response": response})


def test_an_object_says_how_it_is_answered() -> None:
    moved = answered(
        {"release": "r2", "location": "/a/", "status": "302"}, query={"q": {"value": "1"}}
    )
    assert moved["statusCode"] == 302
    assert moved["headers"]["location"]["value"] == "/a/?q=1"
    assert set(moved["headers"]) == {"location", "x-amz-meta-release"}
    lost = answered({"release": "r2", "status": "404"})
    assert (lost["statusCode"], "statusDescription" in lost) == (404, False)
    more = answered({"headers": json.dumps({"x-robots-tag": "noindex"})})
    assert more["headers"] == {"x-robots-tag": {"value": "noindex"}}


def test_what_a_browser_has_already_stays_as_it_is() -> None:
    assert answered({"status": "404"}, status=304)["statusCode"] == 304
