"""What is shipped, and the gates it passes: metadata, Makefile, CI, changelog, and no trace of anybody's machine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = ROOT / "pyproject.toml"
MAKE = shutil.which("make")

# Folders below the root of a machine's disk that a file of the project has no reason to name.
MACHINE_FOLDERS = ("Users", "home", "mnt", "private", "root", "tmp", "work", "workspace")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))


def requirement(text: str) -> str:
    """The name in a requirement: ``numpy`` for ``numpy>=2.0``."""
    return re.split(r"[^A-Za-z0-9_.-]", text, maxsplit=1)[0].lower()


def committed(root: Path) -> list[Path]:
    """The files that git has, staged ones included; without git (an sdist), nothing to hold."""
    command = ["git", "ls-files", "-z", "--cached"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [root / name for name in done.stdout.split("\0") if name and (root / name).is_file()]


def machine_paths(text: str) -> list[str]:
    """The absolute paths of some machine, or of this very one, that a text mentions."""
    here = {str(ROOT), str(Path.home()), sys.prefix, sys.base_prefix}
    known = [re.escape(path) for path in sorted(here) if len(Path(path).parts) > 2 and not path.startswith("/usr")]
    pattern = rf"(?<![\w.~)\]}}>*-])(?:/(?:{'|'.join(MACHINE_FOLDERS)})/\w[\w./-]*|(?:{'|'.join(known) or '$^'})(?!\w))"
    return re.findall(pattern, text)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if MAKE is None:
        pytest.skip("no make on this machine")
    clean = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    return subprocess.run([MAKE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=clean)


def test_the_metadata_say_what_the_package_is(config: dict[str, Any]) -> None:
    project = config["project"]
    assert project["name"] == "chainrule"
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert project["scripts"] == {"chainrule": "chainrule.cli:main"}
    assert {requirement(text) for text in project["dependencies"]} == {
        "latex2mathml",
        "llvmlite",
        "numpy",
        "rich",
        "scipy",
    }
    assert config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/chainrule"]


def test_the_extras_are_there_and_only_two_of_them_bring_torch(config: dict[str, Any]) -> None:
    extras = config["project"]["optional-dependencies"]
    assert set(extras) == {"dask", "dev", "docs", "examples", "interop", "jax", "plot", "torch"}
    pins = {name: text for name, texts in extras.items() for text in texts if requirement(text) == "torch"}
    assert set(pins) == {"interop", "torch"}
    assert len(set(pins.values())) == 1
    assert not any(requirement(text) == "torch" for text in config["project"]["dependencies"])


def written_version() -> str:
    """The version as the package's first file writes it, which is where the build reads it."""
    text = (ROOT / "src" / "chainrule" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(\d+\.\d+\.\d+(?:\.dev\d+|rc\d+)?)"$', text, re.MULTILINE)
    return str(version)


def test_the_version_is_written_once(config: dict[str, Any]) -> None:
    assert config["project"]["dynamic"] == ["version"]
    assert config["tool"]["hatch"]["version"] == {"path": "src/chainrule/__init__.py"}
    places = [path for path in (ROOT / "src").rglob("*.py") if written_version() in path.read_text(encoding="utf-8")]
    assert [str(path.relative_to(ROOT)) for path in places] == ["src/chainrule/__init__.py"]
    assert written_version() not in PYPROJECT.read_text(encoding="utf-8")


def test_the_installed_version_is_the_one_written() -> None:
    try:
        installed = importlib.metadata.version("chainrule")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("chainrule runs from the checkout and is not installed")
    assert installed == written_version(), "the environment is older than the version: touch pyproject.toml, make env"


def test_the_package_is_typed() -> None:
    assert (ROOT / "src" / "chainrule" / "py.typed").is_file()


def test_the_gates_are_shut(config: dict[str, Any]) -> None:
    tool = config["tool"]
    assert tool["ruff"]["lint"]["select"] == ["ALL"]
    assert tool["mypy"]["strict"] is True
    assert set(tool["mypy"]["files"]) == {"src", "tests"}
    assert not any(override.get("ignore_errors") for override in tool["mypy"]["overrides"])
    assert tool["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    assert "--strict-markers" in tool["pytest"]["ini_options"]["addopts"]


def test_every_lint_that_is_ignored_has_its_reason() -> None:
    lines = PYPROJECT.read_text(encoding="utf-8").splitlines()
    ignored = [line for line in lines if re.match(r'\s+"[A-Z]+[0-9]*",', line)]
    assert ignored
    assert [line for line in ignored if not re.search(r",\s+# \S", line)] == []


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


TARGETS = set("bench clean docs env format gallery help lint test test-interop tour types".split())


def test_the_makefile_has_its_targets_and_says_what_each_does() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE)) == TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) >= TARGETS


def test_make_alone_prints_the_targets_and_does_nothing() -> None:
    done = make()
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")} == TARGETS


def test_make_refuses_an_old_python_with_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("python", f"PYTHON={old}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].startswith("chainrule needs Python 3.11 or newer, ")
    assert make("python", f"PYTHON={sys.executable}").returncode == 0


def test_ci_runs_all_tests_and_ends_with_them() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-2:] == ["make test", "make test-interop"]


def test_the_navigation_of_the_documentation_names_every_page_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w./-]+\.md\b", text.partition("\nnav:\n")[2])
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages)


def test_no_committed_file_names_a_path_of_a_machine() -> None:
    found = []
    for path in committed(ROOT):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {mention}" for mention in machine_paths(text)]
    assert found == []


@pytest.mark.parametrize("place", [*("/" + folder + "/x" for folder in MACHINE_FOLDERS), f"{ROOT}/src", f"{ROOT}"])
def test_a_path_of_a_machine_is_found(place: str) -> None:
    for text in (place, f"see {place}.", f'open("{place}")', f"file://{place}"):
        assert machine_paths(text)


@pytest.mark.parametrize("text", ["src/home/x", "https://example.org/home/x", "/dev/null", "/usr/bin/env bash", "/tmp"])
def test_other_paths_are_no_machines(text: str) -> None:
    assert machine_paths(text) == []
