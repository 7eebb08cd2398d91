"""The gallery: textbook and chainrule give the same numbers for every entry, and every entry has its page."""

from __future__ import annotations

import ast
import importlib.util
import sys
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.derive.browser import CHROMIUM, browser

import chainrule as cr
from chainrule.containers import flatten

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


MAKER = load(GALLERY / "__main__.py", "chainrule_gallery")
NAMES: tuple[str, ...] = MAKER.ENTRIES


def flat(tree: Any) -> Any:
    return np.concatenate([np.ravel(leaf) for leaf in flatten(tree)[0]])


def test_every_file_is_an_entry_and_in_the_index() -> None:
    files = {path.stem for path in GALLERY.glob("*.py")} - {"__main__"}
    assert files == set(NAMES)
    index = (GALLERY / "index.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"{name}.py" not in index] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_plain_numpy(name: str) -> None:
    tree = ast.parse((GALLERY / f"{name}.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"numpy", "scipy.special"}


@pytest.mark.parametrize("name", NAMES)
def test_the_textbook_says_what_we_say(name: str) -> None:
    module = MAKER.load(name)
    f, args = module.problem()
    ours, theirs = cr.grad(f, argnums=module.ARGNUMS)(*args), module.textbook(*args)
    assert [leaf.shape for leaf in map(np.asarray, flatten(ours)[0])] == [
        leaf.shape for leaf in map(np.asarray, flatten(theirs)[0])
    ]
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-10, atol=1e-10 * np.max(np.abs(flat(theirs))))


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_textbook_would_be_noticed(name: str) -> None:
    module = MAKER.load(name)
    assert MAKER.gap(module) < 1e-10
    right = module.textbook
    module.textbook = lambda *args: tuple(
        [1.001 * np.asarray(leaf) for leaf in flatten(one)[0]] for one in right(*args)
    )
    assert MAKER.gap(module) > 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lasso"])
def test_an_entry_is_derived_at_a_point_where_the_witness_can_see(name: str) -> None:
    module = MAKER.load(name)
    f, args = module.problem()
    for which in module.ARGNUMS:
        rest = list(args)

        def of_one(x: Any, rest: list[Any] = rest, which: int = which) -> Any:
            return f(*rest[:which], x, *rest[which + 1 :])

        witness = cr.numerical.grad(of_one, args[which], mode="economic", progress=False)
        gap = np.abs(flat(cr.grad(f, argnums=which)(*args)) - flat(witness.value))
        assert np.all(gap <= flat(witness.error))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery, as ``make gallery`` makes it."""
    folder = tmp_path_factory.mktemp("gallery")
    MAKER.main(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_its_page_verified_with_the_textbook_beside_it(made: Path, name: str) -> None:
    text = (made / f"{name}.html").read_text(encoding="utf-8")
    module = MAKER.load(name)
    assert text.startswith("<!DOCTYPE html>")
    assert len(text.encode()) < 1_000_000
    assert "NOT VERIFIED" not in text
    assert 'class="latex"' not in text, "a formula that could not be converted"
    assert "What the textbook says" in text
    assert escape(module.SOURCE) in text
    assert "the two agree to" in text


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_its_text_and_latex(made: Path, name: str) -> None:
    assert len((made / f"{name}.txt").read_text(encoding="utf-8").splitlines()) > 20
    assert r"\begin{document}" in (made / f"{name}.tex").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_every_page_opens_without_a_complaint_and_is_walked_to_its_end(made: Path) -> None:
    with browser() as tab:
        for dark, name in enumerate(NAMES):
            tab.window(1400, 900)
            tab.medium(dark=bool(dark % 2))
            tab.open(made / f"{name}.html")
            tab.press("ArrowRight", 3)
            last = tab.evaluate("+document.getElementById('where').max")
            tab.evaluate(
                f"document.getElementById('where').value = {last - 1};"
                "document.getElementById('where').dispatchEvent(new Event('input'))"
            )
            tab.press("ArrowRight")
            assert tab.evaluate("document.getElementById('on').disabled") is True, name
            assert tab.evaluate("document.querySelectorAll('main math').length") > 10
            tab.window(390, 844, phone=True)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 390, name
            assert tab.complaints == [], name
            assert [url for url in tab.requests if not url.endswith(".html")] == [], name
