"""Find out how a site is built: its generator, package manager, runtime and commands.

The command decides before the upload, and the state machine after it, with the same function: from
the names of the files, and from the content of those that say how to build. Imports decisions only,
no AWS.
"""

import hashlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from deployer.docs import runtimes
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

type Files = Mapping[str, bytes]

_CONFIGS = r"(astro|docusaurus|next|rspress|theme|starlight)\.config\.[cm]?[jt]sx?"
_DOCUMENT = re.compile(
    r"(^|/)(package\.json|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|yarn\.lock"
    r"|pnpm-workspace\.yaml|bun\.lockb?|\.npmrc|\.yarnrc(\.yml)?|\.nvmrc|\.node-version"
    r"|\.python-version|mkdocs\.ya?ml|conf\.py|pyproject\.toml|uv\.lock|[\w.-]*requirements[\w.-]*"
    rf"\.txt|requirements/[\w.-]+\.txt|(hugo|config)\.(toml|ya?ml|json)|{_CONFIGS}"
    r"|\.(vitepress|vuepress)/config[\w./-]*\.[cm]?[jt]s)$"
)
# Settings of generators and plugins that read the dates of pages from git's history
_HISTORY = re.compile(
    rb"\blastUpdated\s*:(?!\s*(?:false|undefined|null))|\bshowLastUpdate\w*\s*:\s*true"
    rb"|git-revision-date|git-authors|git-committers|last_updated_by_git|gitstamp"
    rb"|\benableGitInfo\b\W+true"
)
# Scripts that build a site, in order of preference: where there are both, `export` makes the files
# and `build` may make a server
_SCRIPTS = ("export", "build", "docs:build", "build:docs", "docs-build", "build-docs")
# Where a site usually is in a repository, in order of preference
_USUAL = (".", "docs", "website", "documentation", "doc", "site", "docs/source")
_NAMED_DOCS = re.compile("docs?$")
_OUTPUTS = (
    *("out", "build/client", "dist", "build", ".vitepress/dist", "docs/.vitepress/dist"),
    *("public", "_site", "doc_build", ".output/public", "_build/html", "site"),
)
_TOOLS = '"$CODEBUILD_SRC_DIR/.tools"'
_PACKAGES = '"$CODEBUILD_SRC_DIR/.packages"'
_URL = re.compile(r"https?://[\w.:/~%+-]+")
_NPM, _PYPI = "https://registry.npmjs.org/", "https://pypi.org/simple/"


class _Generator(NamedTuple):
    """A generator of the npm registry.

    Attributes:
        command: what the script that builds the site runs.
        docs: whether it makes nothing but documentation.
        outputs: the folders that it writes.
    """

    name: str
    command: str
    docs: bool
    outputs: tuple[str, ...]


_GENERATORS = {
    "vitepress": _Generator(
        "VitePress", "vitepress build", True, (".vitepress/dist", "docs/.vitepress/dist")
    ),
    "@docusaurus/core": _Generator("Docusaurus", "docusaurus build", True, ("build",)),
    "@astrojs/starlight": _Generator("Astro Starlight", "astro build", True, ("dist",)),
    "nextra": _Generator("Nextra", "next build", True, ("out",)),
    "vuepress": _Generator(
        "VuePress", "vuepress build", True, (".vuepress/dist", "docs/.vuepress/dist")
    ),
    "@rspress/core": _Generator("Rspress", "rspress build", True, ("doc_build",)),
    "rspress": _Generator("Rspress", "rspress build", True, ("doc_build",)),
    "hugo-bin": _Generator("Hugo", "hugo", False, ("public",)),
    "hugo-extended": _Generator("Hugo", "hugo", False, ("public",)),
    "@11ty/eleventy": _Generator("Eleventy", "eleventy", False, ("_site",)),
    "astro": _Generator("Astro", "astro build", False, ("dist",)),
    "next": _Generator("Next.js", "next build", False, ("out",)),
    "nuxt": _Generator("Nuxt", "nuxt generate", False, (".output/public", "dist")),
    "gatsby": _Generator("Gatsby", "gatsby build", False, ("public",)),
}
# Lock files, by package manager, in order of preference
_LOCKS = {
    "pnpm": ("pnpm-lock.yaml",),
    "yarn": ("yarn.lock",),
    "bun": ("bun.lock", "bun.lockb"),
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
}
# https://pnpm.io/installation, https://github.com/pnpm/spec/tree/master/lockfile
_PNPM_OF_LOCK = {"5": "7", "6": "8"}


@dataclass(frozen=True)
class Plan:
    """How to build a site.

    Attributes:
        directory: the folder of the site.
        summary: what was found, in words.
        warnings: what may not be as intended, and what to do about it.
        install, build: commands of bash; none for a site that is built already.
        outputs: the folders that may hold the built site, relative to the site's.
        runtimes: CodeBuild's names of the runtimes, and their versions.
        registries: where packages come from; the build checks first that they can be reached.
        packages: the key of the cache of downloaded packages; it names their lock file.
        history: whether the generator reads the dates of pages from git.
    """

    directory: str
    summary: str
    warnings: tuple[str, ...]
    install: tuple[str, ...]
    build: tuple[str, ...]
    outputs: tuple[str, ...]
    runtimes: Mapping[str, str] = field(default_factory=dict)
    registries: tuple[str, ...] = ()
    packages: str = "none"
    history: bool = False

    @property
    def is_built(self) -> bool:
        """Whether the files are the site, as they are."""
        return not self.build


def is_document(path: str) -> bool:
    """Return whether `plan` needs the content of a file."""
    return bool(_DOCUMENT.search(path)) and "node_modules" not in path.split("/")


def plan(files: Files, name: str, build: Build) -> Plan:
    """Plan how to build a site.

    Args:
        files: every file of the sources; documents with their content.
        name: what the sources are called in messages: an archive's or a directory's name.
        build: the site spec's build settings; empty fields are detected.
    Raises:
        SourcesRejected: nothing says how to build, or what does is incomplete.
    """
    sites = _sites(files)
    site, others = _choose(sites, files, name, build)
    planned = _PLANS[site.kind](site, files, name, build)
    warnings = (*planned.warnings, *_hidden(site, others))
    history = any(
        _HISTORY.search(content)
        for path, content in files.items()
        if content and _in_folder(path, site.folder)
    )
    outputs = (build.output,) if build.output else planned.outputs
    return replace(planned, warnings=warnings, history=history, outputs=outputs)


def buildspec(template: str, planned: Plan) -> str:
    """Return the buildspec for a plan.

    Args:
        template: buildspecs/docs.yaml, whose placeholders this fills in with JSON, which is YAML.
    """
    values = {
        "registries": " ".join(planned.registries),
        "outputs": " ".join(planned.outputs),
        "found": planned.summary,
        "runtimes": planned.runtimes,
        "install": (*planned.install, 'touch "$CODEBUILD_SRC_DIR/.installed"'),
        "build": planned.build,
        "packages": planned.packages,
    }
    for name, value in values.items():
        template = template.replace(f'"<{name}>"', json.dumps(value, ensure_ascii=False))
    return template


# Which folder -------------------------------------------------------------------------------------


class _Site(NamedTuple):
    """A folder that can be built; `rank` is lower the surer it is documentation."""

    rank: int
    folder: str
    kind: str
    document: str
    generator: str = ""


_ONLY_DOCS, _ANY_SITE, _A_SCRIPT, _HTML, _NO_SCRIPT = range(5)


def _sites(files: Files) -> list[_Site]:
    sites, top = [], _top(files)
    for path, content in files.items():
        folder, base = str(PurePosixPath(path).parent), PurePosixPath(path).name
        if base == "package.json" and is_document(path):
            sites.append(_package_site(path, folder, content))
        elif base in ("mkdocs.yml", "mkdocs.yaml"):
            sites.append(_Site(_ONLY_DOCS, folder, "mkdocs", path, "MkDocs"))
        elif base == "conf.py" and re.search(rb"(?m)^(html_theme|extensions|project)\b", content):
            sites.append(_Site(_ONLY_DOCS, folder, "sphinx", path, "Sphinx"))
        elif base.startswith(("hugo.", "config.")) and is_document(path):
            if base.startswith("hugo.") or re.search(rb"(?im)^\W*baseurl\b", content):
                sites.append(_Site(_ANY_SITE, folder, "hugo", path, "Hugo"))
        elif path == _in(top, "index.html"):
            sites.append(_Site(_HTML, folder, "html", path, "built HTML"))
    return sorted(set(sites))


def _package_site(path: str, folder: str, content: bytes) -> _Site:
    package = _json(content)
    scripts = _table(package, "scripts")
    if generator := _generator(package):
        rank = _ONLY_DOCS if generator.docs else _ANY_SITE
        return _Site(rank, folder, "node", path, generator.name)
    rank = _A_SCRIPT if any(script in scripts for script in _SCRIPTS) else _NO_SCRIPT
    return _Site(rank, folder, "node", path)


def _generator(package: Any) -> _Generator | None:
    dependencies = _table(package, "dependencies") | _table(package, "devDependencies")
    return next((made for key, made in _GENERATORS.items() if key in dependencies), None)


def _choose(
    sites: Sequence[_Site], files: Files, name: str, build: Build
) -> tuple[_Site, list[_Site]]:
    """Return the site to build, and the others that could be built."""
    top = _top(files)
    usual = [_in(top, folder) for folder in _USUAL] + list(_USUAL)
    depth = 0 if top == "." else 1

    def order(site: _Site) -> tuple[int, bool, int, bool, bool]:
        place = usual.index(site.folder) if site.folder in usual else len(usual)
        named = bool(_NAMED_DOCS.search(site.folder))
        # what makes any site may make the application at the top, with its documentation beside it
        first = named and site.rank != _ONLY_DOCS and site.folder.count("/") == depth
        return site.rank, not first, place, not named, site.kind != "node"

    if build.directory:
        folders = [build.directory, _in(top, build.directory)]
        inside = [site for folder in folders for site in sites if site.folder == folder]
        inside += [
            _Site(_HTML, folder, "html", _in(folder, "index.html"), "built HTML")
            for folder in folders
            if _in(folder, "index.html") in files
        ]
        inside.sort(key=lambda site: (bool(build.script) and site.kind != "node", *order(site)))
        if inside:
            return inside[0], []
        raise SourcesRejected(
            f"{name}: folder {build.directory} has no package.json, mkdocs.yml, conf.py,"
            f" hugo.toml or index.html; {_choices(sites)}"
        )
    if not sites:
        raise SourcesRejected(
            f"{name} has no package.json, mkdocs.yml, conf.py or hugo.toml that says how to build"
            " a site, and no index.html at its top. Add a package.json with a script build; or"
            " build the site yourself, and give the folder with its index.html"
        )
    best, *others = sorted(sites, key=order)
    rivals = [other for other in others if order(other) == order(best)]
    if rivals and best.folder not in usual:
        raise SourcesRejected(f"{name} has several folders that may be the site: {_choices(sites)}")
    return best, [site for site in others if site.rank <= _A_SCRIPT]


def _choices(sites: Sequence[_Site]) -> str:
    if not sites:
        return "no other folder has one either"
    documents = ", ".join(site.document for site in sites[:10])
    return f"it has {documents}; name the folder with --folder, or set DocsDirectory"


def _hidden(site: _Site, others: Sequence[_Site]) -> Iterator[str]:
    if elsewhere := [other for other in others if other.folder != site.folder][:3]:
        documents = ", ".join(other.document for other in elsewhere)
        yield (
            f"{documents} could be built too; {site.document} is. To build another, name its"
            f" folder with --folder {elsewhere[0].folder}, or set DocsDirectory"
        )


def _top(files: Files) -> str:
    """Return the single folder that holds all files, or `.`."""
    tops = {path.split("/", 1)[0] for path in files}
    return tops.pop() if len(tops) == 1 and not any("/" not in path for path in files) else "."


# A package of the npm registry --------------------------------------------------------------------


def _plan_node(site: _Site, files: Files, name: str, build: Build) -> Plan:
    try:
        package = json.loads(files[site.document])
    except (ValueError, RecursionError) as error:
        raise SourcesRejected(f"{name}: {site.document} is not valid JSON: {error}") from None
    scripts, generator = _table(package, "scripts"), _generator(package)
    script = build.script or _script(scripts, generator)
    if script not in scripts:
        expected = build.script or " or ".join(_SCRIPTS[:2])
        available = ", ".join(map(str, scripts)) or "no scripts"
        raise SourcesRejected(
            f"{name}: {site.document} has no script {expected}; it has {available[:300]}."
            " Add one that builds the site, or name another with DocsScript"
        )
    manager = _manager(site.folder, files, name, site.document)
    version, wanted_by, warnings = runtimes.node(_near(files, site.folder), package)
    parts = [site.generator or f"the script {script} of {site.document}"]
    if generator:
        declared = _table(package, "dependencies") | _table(package, "devDependencies")
        version_of = str(declared[_package_of(generator, declared)])[:40]
        parts = [f"{generator.name} ({version_of})"]
    parts += [f"in {site.folder}" if site.folder != "." else "", manager.words]
    return Plan(
        directory=site.folder,
        summary=_sentence(*parts, f"Node {version} ({wanted_by})"),
        warnings=(
            *manager.warnings,
            *warnings,
            *_unset(files, site.folder, build),
            *_not_static(generator, site.folder, files),
        ),
        install=(_cd(manager.folder), *manager.install, _runs_on("node", version, wanted_by)),
        build=(_cd(site.folder), f"{manager.name} run {shlex.quote(script)}"),
        outputs=tuple(dict.fromkeys((*_node_outputs(generator, scripts[script]), *_OUTPUTS))),
        runtimes={"nodejs": version},
        registries=_npm_registries(files, site.folder, files[manager.lock]),
        packages=f"{manager.name}-{_hash(files[manager.lock])}",
    )


def _script(scripts: Mapping[str, Any], generator: _Generator | None) -> str:
    """Return the script that builds the site; a library's `build` may build the library."""
    usual = [script for script in _SCRIPTS if script in scripts]
    runs = [
        name for name in (*usual, *scripts) if generator and generator.command in str(scripts[name])
    ]
    chosen = [*[name for name in usual if name == "export"], *runs, *usual]
    return next(iter(chosen), "")


def _not_static(generator: _Generator | None, folder: str, files: Files) -> Iterator[str]:
    """Warn of a Next.js that makes a server, not files: it does so by default."""
    if generator and generator.command == "next build":
        configs = {
            path: content
            for path, content in files.items()
            if re.fullmatch(r"next\.config\.\w+", PurePosixPath(path).name)
            and str(PurePosixPath(path).parent) == folder
        }
        if not any(
            b"export" in re.sub(rb"export default|module.exports", b"", content)
            for content in configs.values()
        ):
            named = ", ".join(configs) or _in(folder, "next.config.mjs")
            yield f"Next.js makes files only with output: 'export' in {named}"


def _package_of(generator: _Generator, declared: Mapping[str, Any]) -> str:
    return next(
        name for name, made in _GENERATORS.items() if made == generator and name in declared
    )


def _node_outputs(generator: _Generator | None, script: object) -> Iterator[str]:
    """Yield where the generator writes; VitePress and VuePress do so in the folder they build."""
    if built := re.search(r"\b(vitepress|vuepress) build ([\w./-]+)", str(script)):
        yield str(PurePosixPath(built[2]) / f".{built[1]}" / "dist")
    yield from generator.outputs if generator else ()


class _Manager(NamedTuple):
    """A package manager: its name, the lock file and its folder, and the commands to install."""

    name: str
    words: str
    lock: str
    folder: str
    install: tuple[str, ...]
    warnings: tuple[str, ...]


def _manager(folder: str, files: Files, name: str, document: str) -> _Manager:
    """Return the package manager of the lock file that is nearest.

    Raises:
        SourcesRejected: there is none, or it does not lock this package.
    """
    named, version, where = _named_manager(files, folder)
    for above in _above(folder):
        locks = {
            manager: path
            for manager, names in _LOCKS.items()
            for path in (_in(above, lock) for lock in reversed(names))
            if path in files
        }
        if not locks:
            continue
        manager = named if named in locks else next(iter(locks))
        if above != folder and not _is_workspace(files, above, manager):
            break
        warnings = []
        if len(locks) > 1 and named not in locks:
            warnings.append(
                f"{' and '.join(locks.values())} lock the same packages; {locks[manager]} is used."
                " Delete the others, or name the package manager in packageManager"
            )
        if named and named != manager:
            warnings.append(
                f"{where} names {named}, but the lock file is {locks[manager]}: {manager} is used"
            )
        known = (version, where) if named == manager else ("", locks[manager])
        words, install = _installation(manager, *known, locks[manager], above, files)
        return _Manager(manager, words, locks[manager], above, install, tuple(warnings))
    every = ", ".join(lock for names in _LOCKS.values() for lock in names[:1])
    raise SourcesRejected(
        f"{name} has no lock file beside {document} or in a workspace above it ({every}), so no"
        " build would be like another. Install the packages once, and commit the lock file; if it"
        " is in a folder above, give that folder and name the site's with --folder"
    )


def _is_workspace(files: Files, folder: str, manager: str) -> bool:
    if manager == "pnpm":
        return _in(folder, "pnpm-workspace.yaml") in files
    package = _json(files.get(_in(folder, "package.json"), b""))
    return isinstance(package, dict) and bool(package.get("workspaces"))


def _named_manager(files: Files, folder: str) -> tuple[str, str, str]:
    """Return the package manager that the package names, or its workspace; version; document.

    https://nodejs.org/api/packages.html#packagemanager
    """
    for above in _above(folder):
        path = _in(above, "package.json")
        package = _json(files.get(path, b""))
        text = package.get("packageManager") if isinstance(package, dict) else None
        if isinstance(text, str) and (at := re.match(r"(npm|pnpm|yarn|bun)@([\w.-]+)", text)):
            return at[1], at[2], path
        engine = _table(_table(package, "devEngines"), "packageManager")
        if engine.get("name") in _LOCKS:
            return str(engine["name"]), str(engine.get("version") or ""), path
    return "", "", ""


def _installation(
    manager: str, version: str, where: str, lock: str, folder: str, files: Files
) -> tuple[str, tuple[str, ...]]:
    """Return which package manager in words, and the commands that install it and the packages."""
    head = files[lock][:2000]
    words = f"{manager} {version} ({where})" if version else f"{manager} ({where})"
    if manager == "npm":
        install = f"npm ci --no-audit --no-fund --foreground-scripts --cache {_PACKAGES}"
        return words, (*([_tool(f"npm@{version}")] if version else []), _PATH, install)
    if manager == "pnpm":
        if not version:
            locked = re.search(rb"lockfileVersion: '?(\d+)", head)
            version = _PNPM_OF_LOCK.get(locked[1].decode() if locked else "", "10")
        install = f"pnpm install --frozen-lockfile --reporter=append-only --store-dir {_PACKAGES}"
        return words, (_tool(f"pnpm@{version}"), _PATH, install)
    if manager == "bun":
        install = f"BUN_INSTALL_CACHE_DIR={_PACKAGES} bun install --frozen-lockfile"
        return words, (_tool(f"bun@{version or '1'}"), _PATH, install)
    if version.startswith(("0.", "1.")) or (not version and b"__metadata:" not in head):
        install = (
            "yarn install --frozen-lockfile --non-interactive --network-timeout 60000"
            f" --cache-folder {_PACKAGES}"
        )
        return words, (_tool(f"yarn@{version or '1'}"), _PATH, install)
    if not version:
        locked = re.search(rb"__metadata:\s+version: (\d+)", head)
        version = "4" if locked and int(locked[1]) >= 8 else "3"
    own = any(path.startswith(_in(folder, ".yarn/cache") + "/") for path in files)
    cache = "" if own else f"YARN_ENABLE_GLOBAL_CACHE=false YARN_CACHE_FOLDER={_PACKAGES}/yarn "
    return words, (_tool(f"@yarnpkg/cli-dist@{version}"), _PATH, f"{cache}yarn install --immutable")


_PATH = f"export PATH={_TOOLS}/bin:$PATH"


def _tool(package: str) -> str:
    return (
        f"npm install --global --prefix {_TOOLS} --cache {_PACKAGES}/npm --prefer-offline --no-fund"
        f" --no-audit --loglevel=error {shlex.quote(package)}"
    )


def _settings(files: Files, folder: str) -> dict[str, bytes]:
    """Return the settings of the package managers, the nearest first."""
    names = (".npmrc", ".yarnrc.yml", ".yarnrc")
    paths = [_in(above, name) for above in _above(folder) for name in names]
    return {path: files[path] for path in paths if path in files}


def _unset(files: Files, folder: str, build: Build) -> Iterator[str]:
    """Warn of variables that the settings name and the build does not have."""
    for path, content in _settings(files, folder).items():
        names = {name.decode() for name in re.findall(rb"\$\{(\w+)\}", content)}
        if missing := sorted(names - build.secrets.keys()):
            yield (
                f"{path} needs {', '.join(missing)}, which the build does not have: name the"
                " secrets with DocsSecrets"
            )


def _npm_registries(files: Files, folder: str, lock: bytes) -> tuple[str, ...]:
    """Return where the packages come from, as the settings and the lock file name it."""
    settings = b"\n".join(_settings(files, folder).values())
    named = re.findall(
        rb"(?m)^\s*(?:@[\w.-]+:)?(?:registry|npmRegistryServer)[\s=:]+[\"']?(https?://[^\s\"'#]+)",
        settings,
    )
    default = re.search(rb"(?m)^\s*(?:registry|npmRegistryServer)[\s=:]+[\"']?https?://", settings)
    hosts = re.findall(rb"(?:resolved|tarball:?)\"?:?\s*\"?(https?://[^/\s\"']+/)", lock)
    urls = [*named, *([] if default else [_NPM.encode()]), *dict.fromkeys(hosts)]
    return _distinct([url.decode(errors="replace") for url in urls])


def _distinct(urls: Sequence[str]) -> tuple[str, ...]:
    """Return one URL of each host, the first; yarn's registry is an alias of npm's."""
    hosts: dict[str, str] = {}
    for url in urls:
        # whether it answers shows without credentials, which belong into no log
        if address := _URL.fullmatch(re.sub(r"//[^/@]*@", "//", url)):
            host = address[0].split("/")[2]
            if host != "registry.yarnpkg.com":
                hosts.setdefault(host, address[0])
    return tuple(list(hosts.values())[:5])


# Packages of PyPI ---------------------------------------------------------------------------------


def _plan_mkdocs(site: _Site, files: Files, name: str, build: Build) -> Plan:
    output = build.output or "site"
    zensical = b"zensical" in b"".join(_requirements(files, site.folder).values())
    program = "zensical" if zensical else "mkdocs"
    command = "zensical build" if zensical else f"mkdocs build --site-dir {shlex.quote(output)}"
    return _plan_python(site, files, name, program, command, output)


def _plan_sphinx(site: _Site, files: Files, name: str, build: Build) -> Plan:
    output = build.output or "_build/html"
    command = f"sphinx-build -b html -d _build/doctrees . {shlex.quote(output)}"
    return _plan_python(site, files, name, "sphinx", command, output)


def _plan_hugo(site: _Site, files: Files, name: str, build: Build) -> Plan:
    output = build.output or "public"
    command = f"hugo --destination {shlex.quote(output)}"
    return _plan_python(site, files, name, "hugo", command, output)


def _plan_python(
    site: _Site, files: Files, name: str, program: str, command: str, output: str
) -> Plan:
    requirements = _requirements(files, site.folder)
    if not requirements:
        raise SourcesRejected(
            f"{name}: {site.document} is built by {program}, but no requirements.txt,"
            f" pyproject.toml or uv.lock beside it or above says in which version. Add"
            f" {_in(site.folder, 'requirements.txt')} with {program} and whatever else the site"
            " needs"
        )
    chosen = next(
        (path for path, text in requirements.items() if program.encode() in text.lower()),
        next(iter(requirements)),
    )
    folder, base = str(PurePosixPath(chosen).parent), PurePosixPath(chosen).name
    project = _toml(files.get(_in(folder, "pyproject.toml"), b""))
    version, wanted_by, warnings = runtimes.python(_near(files, site.folder), project)
    if base == "pyproject.toml" and _table(_table(_table(project, "tool"), "poetry"), "group"):
        warnings += (
            f"{chosen} names packages in groups of Poetry, which pip does not install: list those"
            f" that the site needs in {_in(site.folder, 'requirements.txt')}",
        )
    extra = _docs_packages(project)
    venv = f"python3 -m venv {_TOOLS}"
    pip = "pip install --quiet --cache-dir " + _PACKAGES
    install: tuple[str, ...]
    if base == "uv.lock":
        sync = " ".join(
            [
                "uv sync --frozen --inexact",
                *(f"--{kind} {shlex.quote(group)}" for kind, group in extra),
            ]
        )
        install = (
            f"{pip} 'uv>=0.9,<1'",
            f"UV_CACHE_DIR={_PACKAGES} UV_PROJECT_ENVIRONMENT={_TOOLS} UV_PYTHON_DOWNLOADS=never"
            f" {sync}",
        )
    elif base == "pyproject.toml":
        extras = ",".join(group for kind, group in extra if kind == "extra")
        groups = [group for kind, group in extra if kind == "group"]
        install = (
            *([f"{pip} 'pip>=25.1'"] if groups else []),
            f"{pip} {shlex.quote(f'.[{extras}]' if extras else '.')}"
            + "".join(f" --group {shlex.quote(group)}" for group in groups),
        )
    else:
        install = (f"{pip} --requirement {shlex.quote(base)}",)
    wheels = f"{version} {_hash(b''.join(requirements.values()))}".replace(" ", "-")
    return Plan(
        directory=site.folder,
        summary=_sentence(
            site.generator,
            f"in {site.folder}" if site.folder != "." else "",
            f"packages of {chosen}",
            f"Python {version} ({wanted_by})",
        ),
        warnings=warnings,
        install=(
            _cd(folder),
            venv,
            _PATH,
            *install,
            _runs_on("python", version, wanted_by),
        ),
        build=(_cd(site.folder), command),
        outputs=(output,),
        runtimes={"python": version},
        registries=_pypi_registries(requirements[chosen], project),
        packages=f"{'uv' if base == 'uv.lock' else 'pip'}-{wheels}",
    )


def _requirements(files: Files, folder: str) -> dict[str, bytes]:
    """Return the documents that name Python packages for a site, the likeliest first."""
    documents: dict[str, bytes] = {}
    for above in _above(folder):
        names = [_in(above, "uv.lock")]
        names += sorted(
            (
                path
                for path in files
                if re.search(r"(^|/)[\w.-]*requirements[\w.-]*(\.txt|/[\w.-]+\.txt)$", path)
                and _in_folder(path, above)
                and PurePosixPath(path).relative_to(above if above != "." else "").parts[0]
                in (PurePosixPath(path).name, "docs", "doc", "requirements")
            ),
            key=lambda path: (
                "doc" not in path.removeprefix(above),
                not path.endswith("/requirements.txt"),
                path,
            ),
        )
        names.append(_in(above, "pyproject.toml"))
        documents |= {
            path: files[path] for path in names if path in files and path not in documents
        }
    return documents


def _docs_packages(project: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the dependency groups and extras of a project that are for its documentation."""
    groups = _table(project, "dependency-groups")
    extras = _table(_table(project, "project"), "optional-dependencies")
    kinds = (("group", groups), ("extra", extras))
    names = ("docs", "doc", "documentation")
    return [(kind, name) for kind, table in kinds for name in names if name in table]


def _pypi_registries(requirements: bytes, project: Mapping[str, Any]) -> tuple[str, ...]:
    named = re.findall(
        rb"(?m)^\s*(-i|--index-url|--extra-index-url)[\s=]+(https?://\S+)", requirements
    )
    indexes = _table(_table(project, "tool"), "uv").get("index")
    urls = [url.decode(errors="replace") for _, url in named]
    if isinstance(indexes, list):
        urls += [str(index.get("url")) for index in indexes if isinstance(index, dict)]
    if not any(option in (b"-i", b"--index-url") for option, _ in named):
        urls.append(_PYPI)
    return _distinct(urls)


# A site that is built already ---------------------------------------------------------------------


def _plan_html(site: _Site, files: Files, name: str, build: Build) -> Plan:
    where = site.folder if site.folder != "." else "its top folder"
    return Plan(site.folder, f"Built HTML in {where}, published as it is", (), (), (), (".",))


_PLANS = {
    "node": _plan_node,
    "mkdocs": _plan_mkdocs,
    "sphinx": _plan_sphinx,
    "hugo": _plan_hugo,
    "html": _plan_html,
}


# What the plans share -----------------------------------------------------------------------------


def _cd(folder: str) -> str:
    return 'cd "$CODEBUILD_SRC_DIR"' + ("" if folder == "." else "/" + shlex.quote(folder))


def _runs_on(program: str, version: str, wanted_by: str) -> str:
    """Return a command that says so if the build runs on another version than was chosen."""
    names = {"node": "Node.js", "python": "Python"}
    wanted = f"{names[program]} {version} ({wanted_by})"
    return (
        f'case "$({program} --version)" in *[v\\ ]{version}.*) ;;'
        f' *) echo "WARNING: this build runs on $({program} --version), not on"'
        f" {shlex.quote(wanted)};; esac"
    )


def _sentence(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _above(folder: str) -> list[str]:
    """Return a folder and those above it, the nearest first."""
    return [folder, *map(str, PurePosixPath(folder).parents)]


def _near(files: Files, folder: str) -> list[tuple[str, bytes]]:
    """Return the documents beside a site and above it, the nearest first."""
    return [
        (path, files[path])
        for above in _above(folder)
        for name in (".nvmrc", ".node-version", ".python-version", "package.json")
        if (path := _in(above, name)) in files
    ]


def _in_folder(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(folder + "/")


def _in(folder: str, name: str) -> str:
    return str(PurePosixPath(folder) / name)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _toml(content: bytes) -> Mapping[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        return {}


def _table(document: Any, key: str) -> dict[str, Any]:
    """Return a table of a document; an empty one if there is none."""
    value = document.get(key) if isinstance(document, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}
