"""Which files of a site browsers keep for good, and the types that files are served as."""

import base64
import hashlib
from dataclasses import dataclass

import pytest

from deployer.docs import caching, media, publication
from deployer.docs.caching import Content

BODY = b"the content of a file"
SHA256, MD5 = hashlib.sha256(BODY), hashlib.md5(BODY)
BASE64 = base64.urlsafe_b64encode(SHA256.digest()).decode()
BASE32 = base64.b32encode(hashlib.sha1(BODY).digest()).decode()


def immutable(path: str, front_page: str = "") -> bool:
    content = Content(path)
    content.update(BODY)
    known = caching.patterns(front_page.encode())
    return publication.is_immutable(path, content.names(), known)


@dataclass(frozen=True)
class Built:
    """Files of a real build.

    Attributes:
        kept: hashed by the generator: what a second build changed had other names.
        checked: not hashed, or not by its content.
        front: what its front page says of it.
    """

    kept: tuple[str, ...]
    checked: tuple[str, ...]
    front: str = ""


GENERATED = {
    "Next.js 15, app": Built(
        kept=(
            "_next/static/chunks/118-5105647b61aac609.js",
            "_next/static/chunks/179.3e95d852a681fa6c.js",
            "_next/static/chunks/4bd1b696-c023c6e3521b1417.js",
            "_next/static/chunks/app/_not-found/page-c44888b8466c5f4e.js",
            "_next/static/chunks/app/page-2a11d8cfe9d5b37e.js",
            "_next/static/chunks/main-app-c3025803f780c81d.js",
            "_next/static/chunks/polyfills-42372ed130431b0a.js",
            "_next/static/css/d134d87b99810c4b.css",
            "_next/static/media/logo.d903ded6.svg",
            "_next/static/media/e4af272ccee01ff0-s.p.woff2",
        ),
        checked=(  # the build's id names the folder, and may be any
            "_next/static/D67okj3SEglEotcDqnwVe/_buildManifest.js",
            "_next/static/D67okj3SEglEotcDqnwVe/_ssgManifest.js",
            "_next/static/handbook/_buildManifest.js",
            "guide/index.txt",
        ),
    ),
    "Next.js 15, pages": Built(
        kept=(
            "_next/static/chunks/pages/[slug]-fb7079320c1b6efd.js",
            "_next/static/chunks/pages/[[...slug]]-e3ae5bb6541ef423.js",
            "_next/static/chunks/pages/_app-3f2d811ce44b4582.js",
            "_next/static/chunks/webpack-d09fabd91de71e4a.js",
        ),
        checked=(
            "_next/data/TIDJjAA_E6fMvd7OdAJLq/guide.json",
            "_next/static/TIDJjAA_E6fMvd7OdAJLq/_buildManifest.js",
        ),
    ),
    "Next.js 16, Turbopack": Built(
        kept=(
            "_next/static/chunks/092r-mewpaf3q.js",
            "_next/static/chunks/0cz1d0mv5g_q7.js",
            "_next/static/chunks/0-_a2gozoi2xv.js",
            "_next/static/chunks/2j6dqv2mf8uk3.css",
            "_next/static/chunks/turbopack-2u1d16houkiyo.js",
            "_next/static/media/logo.0q1-d7n6s5cyf.svg",
        ),
        checked=(
            "_next/static/caY_L_RcGWgry5_wx2GpD/_buildManifest.js",
            "_next/static/caY_L_RcGWgry5_wx2GpD/_clientMiddlewareManifest.js",
            "_next/static/0cz1d0mv5g_q7/_ssgManifest.js",
            "_next/static/chunks/documentation.js",
        ),
    ),
    "Astro Starlight 0.36": Built(
        kept=(
            "_astro/index.D5Qn6b1-.css",
            "_astro/Search.astro_astro_type_script_index_0_lang.CJiOmi4V.js",
            "_astro/ui-core.C0u4jL1_.js",
            "_astro/hero.D1abCdEf_Z1xYzAb.webp",
        ),
        checked=(
            "_astro/ec.0vx5m.js",  # of a plugin, and too short to be sure
            "_astro/ec.v4551.css",
            "pagefind/pagefind.js",
            "pagefind/pagefind-ui.css",
            "pagefind/fragment/en_c32215a.pf_fragment",
            "pagefind/pagefind.en_a6b1598d8c.pf_meta",
        ),
        front='<meta name="generator" content="Astro v5.16.0"/>',
    ),
    "Nuxt": Built(
        kept=("_nuxt/DqX1x2y3.js", "_nuxt/entry.Ab12Cd34.css"),
        checked=(
            "_nuxt/builds/latest.json",
            "_nuxt/builds/meta/0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.json",
        ),
    ),
    "SvelteKit": Built(
        kept=("_app/immutable/nodes/0.Ab12Cd34.js", "_app/immutable/entry/app.Ab12Cd34.js"),
        checked=("_app/version.json",),
    ),
    "VitePress 1.6": Built(
        kept=(
            "assets/app.DEKfSKWO.js",
            "assets/chunks/framework.B1q8Oer0.js",
            "assets/guide.md.BKSCDbDb.js",
            "assets/guide.md.BKSCDbDb.lean.js",
            "assets/index.md.9m43HXye.lean.js",
            "assets/style.DFTx90Kk.css",
            "assets/inter-roman-greek.BBVDIX6e.woff2",
            "assets/inter-italic-latin-ext.CN1xVJS-.woff2",
        ),
        checked=(
            "hashmap.json",
            "vp-icons.css",
            "assets/player.release1.js",  # of the site's own folder public
            "assets/player.my-Guide.js",
        ),
        front='<meta name="generator" content="VitePress v1.6.3">',
    ),
    "Docusaurus 3.9": Built(
        kept=(
            "assets/js/17896441.8da7eb52.js",
            "assets/js/237.c326e95d.js",
            "assets/js/runtime~main.46297bae.js",
            "de/assets/js/main.a64e784c.js",
            "assets/css/styles.875780c2.css",
            "assets/images/logo-2c7f8a4d9e1b3c5d7e9f0a1b2c3d4e5f.png",
        ),
        checked=(
            "assets/js/main.a64e784c.js.LICENSE.txt",
            "assets/js/report.20240115.js",
            "img/logo-2c7f8a4d9e1b3c5d7e9f0a1b2c3d4e5f.png",
        ),
        front='<meta name=generator content="Docusaurus v3.9.2">',
    ),
    "Material for MkDocs 9.8": Built(
        kept=(
            "assets/javascripts/bundle.a5f9d56c.min.js",
            "assets/javascripts/workers/search.a7633da7.min.js",
            "assets/stylesheets/main.57a0d79d.min.css",
            "latest/assets/stylesheets/palette.fb2fffe2.min.css",
        ),
        checked=(
            "assets/javascripts/bundle.a5f9d56c.min.js.map",
            "assets/javascripts/lunr/min/lunr.multi.min.js",
            "assets/images/favicon.png",
            "search/search_index.json",
            "sitemap.xml.gz",
        ),
        front='<meta name="generator" content="mkdocs-1.6.1, mkdocs-material-9.8.2">',
    ),
    # its pages ask with ?v= and a checksum, of which a browser's cache and S3's key know nothing
    "Sphinx 9, Furo": Built(
        kept=(),
        checked=(
            "_static/pygments.css",
            "_static/styles/furo.css",
            "_static/scripts/furo.js.map",
            "_static/css/fonts/Roboto-Slab-Bold.woff2",
            "_sources/index.rst.txt",
            "searchindex.js",
            "objects.inv",
        ),
    ),
    "Vite": Built(
        kept=("assets/index-BYc4dDKc.js", "assets/index-D3fGh1Jk.css"),
        checked=(
            "assets/demo-iPhone15.js",
            "assets/intro-MyGuide2.css",
            "assets/hero-BYc4dDKc.png",  # Vite's, or of the site's own folder public
        ),
        front='<script type="module" crossorigin src="/assets/index-BYc4dDKc.js"></script>',
    ),
}
ONLY_LOOK_HASHED = (
    "release-notes-2024.pdf",
    "login-screen-Overview.png",
    "data-schema-v2.json",
    "assets/login-screen-Overview.png",
    "assets/my-Diagram2.png",
    "assets/guide-settings.js",
    "assets/guide-Settings.js",
    "assets/demo-iPhone15.js",
    "images/architecture-a1b2c3d4.png",
    "downloads/build-3f2a1b4c5d6e7f8091a2b3c4d5e6f708192a3b4c.txt",
    "css/fontawesome.min.css",
    "_next/static/chunks/page-e3ae5bb6541ef423.html",  # a page
)
FRONT_PAGES = ["", *(built.front for built in GENERATED.values() if built.front)]


@pytest.mark.parametrize(
    ("path", "front"), [(path, built.front) for built in GENERATED.values() for path in built.kept]
)
def test_what_a_generator_is_known_to_hash_is_kept_for_good(path: str, front: str) -> None:
    assert immutable(path, front)


@pytest.mark.parametrize(
    ("path", "front"),
    [
        (path, built.front)
        for built in GENERATED.values()
        for path in (*built.checked, "index.html")
    ],
)
def test_what_a_generator_does_not_hash_is_asked_for_again(path: str, front: str) -> None:
    assert not immutable(path, front)


@pytest.mark.parametrize("path", ONLY_LOOK_HASHED)
def test_what_only_looks_hashed_is_asked_for_again(path: str) -> None:
    assert not any(immutable(path, front) for front in FRONT_PAGES)


def test_in_assets_only_the_generator_of_the_site_hashes() -> None:
    others = (built for built in GENERATED.values() if built.front)
    paths = [path for built in others for path in built.kept if "assets/" in path]
    assert len(paths) > 10
    assert not any(immutable(path) for path in paths)


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
