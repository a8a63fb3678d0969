"""Which files of a site browsers keep for good, and the types that files are served as."""

import base64
import hashlib

import pytest

from deployer.docs import caching, media, publication
from deployer.docs.caching import Content

BODY = b"the content of a file"
SHA256, MD5 = hashlib.sha256(BODY), hashlib.md5(BODY)
BASE64 = base64.urlsafe_b64encode(SHA256.digest()).decode()
BASE32 = base64.b32encode(hashlib.sha1(BODY).digest()).decode()


def immutable(path: str, *, vitepress: bool = False) -> bool:
    content = Content(path)
    content.update(BODY)
    return publication.is_immutable(path, content.names(), vitepress)


GENERATED = {
    "Next.js": (
        "_next/static/chunks/main-app-e3ae5bb6541ef423.js",
        "_next/static/chunks/4bd1b696-182b6b13bdad92e3.js",
        "_next/static/chunks/pages/[[...slug]]-e3ae5bb6541ef423.js",
        "_next/static/chunks/app/docs/page-1a2b3c4d5e6f7a8b.js",
        "_next/static/css/3a4b5c6d7e8f9a0b.css",
        "_next/static/media/e4af272ccee01ff0-s.p.woff2",
        "_next/static/media/logo.1a2b3c4d.svg",
    ),
    "Astro": (
        "_astro/index.D5Qn6b1-.css",
        "_astro/Search.astro_astro_type_script_index_0_lang.CJiOmi4V.js",
        "_astro/hero.D1abCdEf_Z1xYzAb.webp",
    ),
    "Nuxt": ("_nuxt/DqX1x2y3.js", "_nuxt/entry.Ab12Cd34.css"),
    "SvelteKit": ("_app/immutable/nodes/0.Ab12Cd34.js", "_app/immutable/entry/app.Ab12Cd34.js"),
    "Docusaurus": (
        "assets/js/17896441.8da7eb52.js",
        "assets/js/237.c326e95d.js",
        "assets/js/runtime~main.0a1b2c3d.js",
        "assets/css/styles.abcdef01.css",
        "assets/images/logo-2c7f8a4d9e1b3c5d7e9f0a1b2c3d4e5f.png",
    ),
    "Material for MkDocs": (
        "assets/javascripts/bundle.a5f9d56c.min.js",
        "assets/javascripts/workers/search.a7633da7.min.js",
        "assets/stylesheets/palette.fb2fffe2.min.css",
    ),
    "Vite": ("assets/index-BYc4dDKc.js", "assets/index-D3fGh1Jk.css"),
}
VITEPRESS = (
    "assets/app.DEKfSKWO.js",
    "assets/chunks/theme.DnAZZl47.js",
    "assets/guide.md.BKSCDbDb.lean.js",
    "assets/style.DFTx90Kk.css",
    "assets/inter-roman-greek.BBVDIX6e.woff2",
)
NOT_HASHED = (
    # only look so
    "release-notes-2024.pdf",
    "login-screen-Overview.png",
    "data-schema-v2.json",
    "assets/login-screen-Overview.png",
    "assets/my-Diagram2.png",
    "assets/js/report.20240115.js",
    "assets/guide-settings.js",
    "assets/guide-Settings.js",
    "images/architecture-a1b2c3d4.png",
    "downloads/build-3f2a1b4c5d6e7f8091a2b3c4d5e6f708192a3b4c.txt",
    # Sphinx and MkDocs
    "_static/pygments.css",
    "_static/basic.css",
    "_static/documentation_options.js",
    "_static/css/fonts/Roboto-Slab-Bold.woff2",
    "_sources/index.rst.txt",
    "searchindex.js",
    "objects.inv",
    "search/search_index.json",
    "sitemap.xml.gz",
    "css/fontawesome.min.css",
    "js/base.js",
    # of a generator, and not hashed
    "_nuxt/builds/latest.json",
    "_nuxt/builds/meta/0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.json",
    "_next/static/eUXhK0gdZbLSzFQ2Tq4Pn/_buildManifest.js",
    "_next/static/handbook/_buildManifest.js",
    "_next/data/eUXhK0gdZbLSzFQ2Tq4Pn/index.json",
    "_astro/ec.0vx5m.js",
    "assets/js/main.a64e784c.js.LICENSE.txt",
    "assets/javascripts/lunr/min/lunr.multi.min.js",
    "hashmap.json",
    "pagefind/pagefind.js",
    "pagefind/fragment/en_1a2b3c4.pf_fragment",
    # pages
    "index.html",
    "_next/static/chunks/page-e3ae5bb6541ef423.html",
)


@pytest.mark.parametrize("path", [path for paths in GENERATED.values() for path in paths])
def test_what_a_generator_is_known_to_hash_is_kept_for_good(path: str) -> None:
    assert immutable(path)


@pytest.mark.parametrize("path", VITEPRESS)
def test_what_vitepress_hashes_is_kept_for_good(path: str) -> None:
    assert immutable(path, vitepress=True)
    assert caching.by_vitepress(b'<meta name="generator" content="VitePress v1.6.4">')
    assert not caching.by_vitepress(b'<meta name="generator" content="Hugo 0.150">')


@pytest.mark.parametrize("path", NOT_HASHED)
def test_what_only_looks_hashed_is_asked_for_again(path: str) -> None:
    assert not immutable(path)
    assert not immutable(path, vitepress=True)


@pytest.mark.parametrize(
    "name",
    [
        f"main.{SHA256.hexdigest()}.css",
        f"main-{SHA256.hexdigest()[:8]}.min.css",
        f"{MD5.hexdigest()}.png",
        f"logo.{MD5.hexdigest()[:12]}.svg",
        f"app-{BASE64[:10]}.js",
        f"app-{BASE32[:8]}.js",
        f"app-{BASE32[:8].lower()}.js",
    ],
)
def test_a_name_that_holds_a_hash_of_the_content_is_kept_for_good(name: str) -> None:
    assert immutable(f"anywhere/{name}")


@pytest.mark.parametrize(
    "name",
    [
        f"main.{SHA256.hexdigest()[:7]}.css",  # too short to prove anything
        f"main.{SHA256.hexdigest()[:8]}zz.css",  # it goes on otherwise
        f"main.{SHA256.hexdigest()[1:]}.css",
        f"main.{hashlib.sha256(b'other').hexdigest()}.css",
    ],
)
def test_a_hash_of_something_else_proves_nothing(name: str) -> None:
    assert not immutable(f"anywhere/{name}")


@pytest.mark.parametrize(
    ("path", "head", "kind"),
    [
        ("a.html", b"", "text/html; charset=utf-8"),
        ("a.WOFF2", b"", "font/woff2"),
        ("a.b.js", b"", "text/javascript; charset=utf-8"),
        ("a.svg", b"<svg/>", "image/svg+xml"),
        ("a.py", b"", "text/x-python; charset=utf-8"),
        ("a.tf", b"", "text/plain; charset=utf-8"),
        ("a.toml", b"", "application/toml"),
        ("a.log", b"", "text/plain; charset=utf-8"),
        ("a.xlsx", b"PK", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("LICENSE", b"MIT", "text/plain; charset=utf-8"),
        (".nojekyll", b"", "text/plain; charset=utf-8"),
        ("objects.inv", b"# Sphinx\n\x78\x9c", "application/octet-stream"),
        ("wasm.en.pagefind", b"\x1f\x8b\x08", "application/octet-stream"),
    ],
)
def test_the_name_tells_the_type_of_a_file(path: str, head: bytes, kind: str) -> None:
    assert media.media(path, head) == (kind, True)


@pytest.mark.parametrize(
    ("path", "head", "kind"),
    [
        ("a.graphql", b"type Query { \xc3\xbc }", "text/plain; charset=utf-8"),
        ("a.ics", b"BEGIN:VCALENDAR\r\n", "text/plain; charset=utf-8"),
        ("a.feed", b'<?xml version="1.0"?><rss/>', "application/xml; charset=utf-8"),
        ("a.zzz", "ü".encode()[:1], "text/plain; charset=utf-8"),  # cut within a letter
        ("a.zzz", "ü".encode("latin-1") + b"a", "application/octet-stream"),
        ("a.zzz", b"MZ\0\0", "application/octet-stream"),
    ],
)
def test_without_a_known_ending_the_content_tells(path: str, head: bytes, kind: str) -> None:
    assert media.media(path, head) == (kind, False)
