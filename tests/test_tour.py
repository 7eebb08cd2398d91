"""The tour: what it prints at any width, in colour or not, what it writes, and that its figures are computed."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

import chainrule as cr
from chainrule.cli import main

for needed in ("matplotlib", "plotext", "sklearn"):
    pytest.importorskip(needed)

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def tour() -> Iterator[ModuleType]:
    """The example, loaded as the command loads it."""
    before = list(sys.path)
    sys.path.insert(0, str(EXAMPLES))
    spec = importlib.util.spec_from_file_location("tour", EXAMPLES / "tour.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["tour"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    del sys.modules["tour"]


class Taken(NamedTuple):
    """One tour: its text, and the files it says it wrote."""

    text: str
    files: list[Path]
    folder: Path

    def lines(self) -> list[str]:
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in self.text.splitlines()]


def take(tour: ModuleType, folder: Path, width: int, *, terminal: bool = False, most: int = 3) -> Taken:
    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    files = tour.main(folder / "made" / "here", console, most)
    return Taken(page.getvalue(), files, folder)


@pytest.fixture(scope="module")
def narrow(tour: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return take(tour, tmp_path_factory.mktemp("narrow"), 80)


@pytest.fixture(scope="module")
def wide(tour: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return take(tour, tmp_path_factory.mktemp("wide"), 120, terminal=True)


def test_it_tells_its_story_in_order(narrow: Taken) -> None:
    order = [
        "partial derivatives of a function",
        "def loss(params, images, labels):",
        "finite differences",
        "They agree",
        "program grad_loss(",
        "floating-point operations",
        "cr.derive(loss, params, images, labels)",
        "composition of 19 steps",
        "cr.check(loss, params, images, labels)",
        "PASS",
        "FAIL",
        "SciPy's minimisers",
        "loss against iterations",
        "loss against gradients",
        "What each method made of it",
        "* stopped after",
        "here/gradient.txt",
        "here/derivation.html",
        "here/check.png",
        "here/methods.png",
    ]
    text = "\n".join(narrow.lines())
    places = [text.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["narrow", "wide"])
def test_nothing_runs_over_the_edge_or_is_cut_but_code(request: pytest.FixtureRequest, name: str) -> None:
    taken: Taken = request.getfixturevalue(name)
    width = {"narrow": 80, "wide": 120}[name]
    # A path is one word, to be copied: it is never broken.
    paths = tuple(path.name for path in taken.files)
    assert max(len(line) for line in taken.lines() if not line.endswith(paths)) <= width
    cut = [line for line in taken.lines() if "…" in line]
    assert all(re.match(r"  .*(program grad_loss|= \w+\(|#)", line) for line in cut), cut


def test_without_a_terminal_there_are_no_escapes_and_letters_draw_the_curves(narrow: Taken) -> None:
    assert "\x1b" not in narrow.text
    assert "g gradient descent" in narrow.text
    assert "⠤" not in narrow.text


def test_with_a_terminal_there_are_colours_and_the_plots_stand_side_by_side(wide: Taken) -> None:
    assert "\x1b[" in wide.text
    titles = [line for line in wide.lines() if "loss against iterations" in line]
    assert len(titles) == 1
    assert "loss against gradients" in titles[0]


def test_the_files_are_those_that_it_names(narrow: Taken) -> None:
    written = [path for path in narrow.folder.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(narrow.files)
    for path in narrow.files:
        assert any(line.strip().endswith(path.name) for line in narrow.lines())
    picture = next(path for path in written if path.suffix == ".png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_the_program_that_it_writes_is_the_gradients(tour: ModuleType, narrow: Taken) -> None:
    path = next(path for path in narrow.files if path.name == "gradient.txt")
    training, _ = tour.digits.load()
    program = cr.grad(tour.digits.loss).program(tour.digits.start(), *training)
    assert path.read_text(encoding="utf-8") == f"{program}\n"


def test_the_page_of_the_derivation_is_whole_and_small(narrow: Taken) -> None:
    path = next(path for path in narrow.files if path.name == "derivation.html")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")
    assert "hidden" in text
    assert "NOT VERIFIED" not in text
    assert len(text.encode()) < 1_000_000


def test_the_table_holds_the_gradients_own_figures(tour: ModuleType, narrow: Taken) -> None:
    training, _ = tour.digits.load()
    gradient = cr.grad(tour.digits.loss)(tour.digits.start(), *training)
    rows = [re.match(r"  (W1|b1|W2|b2)\[([\d, ]+)\] +([+-]\S+) +([+-]\S+) ", line) for line in narrow.lines()]
    found = [row for row in rows if row is not None]
    assert {row[1] for row in found} == {"W1", "b1", "W2", "b2"}
    for row in found:
        exact = gradient[row[1]][tuple(map(int, row[2].split(",")))]
        assert float(row[3]) == pytest.approx(exact, abs=1e-11)
        assert float(row[4]) == pytest.approx(exact, abs=1e-7)
    count = sum(part.size for part in gradient.values())
    evaluations = next(line for line in narrow.lines() if line.startswith("  evaluations"))
    assert "1 sweep" in evaluations
    assert 2 * count <= int(re.findall(r"([\d,]+) of loss", evaluations)[0].replace(",", "")) < 2 * count + 100


def test_every_method_lowers_the_loss(tour: ModuleType) -> None:
    training, _ = tour.digits.load()
    w0 = tour.digits.pack(tour.digits.start())
    for name in ("gradient descent", "CG", "L-BFGS-B", "Newton-CG"):
        run = tour.run_method(
            lambda w: tour.digits.loss(tour.digits.unpack(w), *training), w0, name, "blue", 4, lambda: None
        )
        assert len(run.losses) == len(run.sweeps) == 5
        assert all(later < sooner for sooner, later in zip(run.losses, run.losses[1:], strict=False))
        assert run.sweeps == sorted(run.sweeps)
        assert (run.products > 0) == (name == "Newton-CG")
        assert 0 < run.inside < run.seconds


def test_the_method_of_the_example_has_four_lines(tour: ModuleType) -> None:
    import ast
    import inspect

    (function,) = ast.parse(inspect.getsource(tour.gradient_descent)).body
    assert isinstance(function, ast.FunctionDef)
    assert function.end_lineno is not None
    assert function.end_lineno - function.body[1].lineno + 1 == 4
    ends = list(tour.gradient_descent(lambda w: (0.5 * w @ w, w), np.ones(2), rate=0.5, steps=3))
    np.testing.assert_array_equal(ends[-1], np.full(2, 0.125))


def test_the_command_takes_the_tour_in_time(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "chainrule", "tour", "--out", "made"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "They agree" in done.stdout
    accuracies = [float(one) for one in re.findall(r"(\d+\.\d)% *$", done.stdout, re.MULTILINE)]
    assert len(accuracies) == 5
    assert min(accuracies) > 95.0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "check.png",
        "derivation.html",
        "gradient.txt",
        "methods.png",
    }
    # Two minutes on two free cores; a test shares its cores with others.


def test_the_wheel_ships_what_the_command_runs() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    shipped = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for name in ("digits.py", "tour.py"):
        assert shipped[f"examples/{name}"] == f"chainrule/examples/{name}"


def test_a_missing_package_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "plotext" else find(name))
    assert main(["tour", "--out", str(tmp_path / "made")]) == 3
    err = capsys.readouterr().err
    assert "plotext" in err
    assert 'pip install "chainrule[examples]"' in err
    assert not (tmp_path / "made").exists()


def test_a_folder_that_can_not_be_made_is_a_users_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["tour", "--out", str(tmp_path / "file" / "made")]) == 3
    assert "can not be made" in capsys.readouterr().err
