"""The command: what it prints, what it writes, its exit codes, and that a mistake is answered by a message."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import main

MODEL = '''\
"""A user's file."""

import math
import sys

import numpy as np


def loss(x, k=2.0):
    y = np.tanh(x) * k
    return np.sum(y * y)


def fit(params, data, *, weight=1.0):
    misfit = data @ params["W"] - params["layers"][0]
    return weight * np.mean(misfit**2) + params["layers"][1] ** 2


def many(*xs):
    return sum(np.sum(x**2) for x in xs)


def chatty(x):
    print("hello from the function")
    return x * x


def power(x, n):
    for _ in range(n):
        x = x * x
    return x


def loud(x):
    raise KeyError("no such thing")


def misfit(x):
    return np.sum(x.reshape(2, 7))


def vector(x):
    return x * 2.0


def leaves(x):
    sys.exit(7)


def shy(x):
    return np.sqrt(-x)


def slope(x):
    return 2.0 * x


def wrong(x):
    return 3.0 * x


def square(x):
    return x * x


class Model:
    @staticmethod
    def loss(x):
        return x**3


constant = 3
'''


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder with the user's file; what loading it did to the interpreter is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> Done:
        try:
            code = main(argv)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return call


def plain(done: Done, code: int = 0) -> str:
    """The standard output of a command that went as it should, without colours."""
    assert done.code == code, done.err
    assert "\x1b" not in done.out + done.err
    return done.out


# --- the point --------------------------------------------------------------------------------------------------------

X = np.array([0.5, -1.0, 2.0])
GRADIENT = 8.0 * np.tanh(X) * (1.0 - np.tanh(X) ** 2)


@pytest.mark.parametrize(
    ("write", "at"),
    [
        (lambda: np.savez("p.npz", x=X), "p.npz"),
        (lambda: np.savez("p.npz", arg0=X), "p.npz"),
        (lambda: np.savez("p.npz", X), "p.npz"),
        (lambda: np.savez("p.npz", x=X, k=np.array(2.0)), "p.npz"),
        (lambda: np.save("p.npy", X), "p.npy"),
        (lambda: np.save("p.npy", X), "x=p.npy"),
        (lambda: None, "[0.5, -1, 2]"),
        (lambda: None, "x=[0.5, -1.0, 2.0]"),
        (lambda: None, '{"x": [0.5, -1.0, 2.0], "k": 2.0}'),
    ],
)
def test_the_point_may_come_in_many_ways(run: Run, write: Callable[[], None], at: str) -> None:
    write()
    done = run("grad", "model.py:loss", "--at", at, "--json")
    np.testing.assert_allclose(json.loads(plain(done))["gradient"]["x"], GRADIENT, rtol=1e-14)


def test_a_single_array_of_any_name_is_the_single_argument(run: Run) -> None:
    np.savez("p.npz", weights=np.array(3.0))
    assert json.loads(plain(run("grad", "model.py:square", "--at", "p.npz", "--json")))["gradient"] == {"x": 6.0}


def test_arguments_by_order_and_by_name(run: Run) -> None:
    done = run("grad", "model.py:power", "--at", "3", "--at", "n=2", "--json")
    assert json.loads(plain(done))["gradient"] == {"x": 4 * 3.0**3}
    done = run("grad", "model.py:power", "--at", "n=2", "--at", "3.0", "--json")
    assert json.loads(plain(done))["value"] == 81.0


def test_a_function_of_any_number_of_arguments(run: Run) -> None:
    done = run("grad", "model.py:many", "--at", "1", "--at", "[2, 3]", "--argnums", "0,1", "--json")
    assert json.loads(plain(done))["gradient"] == {"arg0": 2.0, "arg1": [4.0, 6.0]}


def test_containers_and_keywords_and_the_way_back(run: Run, folder: Path) -> None:
    rng = np.random.default_rng(0)
    W, data, b, c = rng.normal(size=(3, 2)), rng.normal(size=(5, 3)), rng.normal(size=2), 0.5
    names: dict[str, Any] = {"params.W": W, "params.layers.0": b, "params.layers.1": c, "data": data, "weight": 2.0}
    np.savez("p.npz", **names)
    plain(run("grad", "model.py:fit", "--at", "p.npz", "--out", "out/g.npz"))
    with np.load(folder / "out" / "g.npz") as written:
        found = dict(written)
    residual = data @ W - b
    np.testing.assert_allclose(found["params.W"], 2.0 * 2.0 / residual.size * data.T @ residual, rtol=1e-12)
    np.testing.assert_allclose(found["params.layers.0"], -4.0 / residual.size * residual.sum(axis=0), rtol=1e-12)
    assert found["params.layers.1"] == 1.0
    # The gradient is named like a point: it can be given back as one.
    np.savez("g.npz", **found, data=data)
    assert run("grad", "model.py:fit", "--at", "g.npz").code == 0


def test_whole_json_numbers_are_floats_only_where_differentiated(run: Run) -> None:
    done = run("grad", "model.py:power", "--at", '{"x": 3, "n": 1}', "--json")
    assert json.loads(plain(done))["dtypes"] == {"x": "float64"}
    done = run("grad", "model.py:fit", "--at", '{"params": {"W": [[1], [2]], "layers": [[0], 1]}, "data": [[1, 1]]}')
    plain(done)


def test_argnums_by_position_and_by_name(run: Run) -> None:
    for argnums in ("0,1", "x,k", "0, k", "-2,-1"):
        done = run("grad", "model.py:loss", "--at", "x=0.5", "--at", "k=3.0", f"--argnums={argnums}", "--json")
        found = json.loads(plain(done))
        assert found["argnums"] == [0, 1]
        np.testing.assert_allclose(found["gradient"]["k"], 6.0 * np.tanh(0.5) ** 2, rtol=1e-14)


def test_float32_is_kept(run: Run) -> None:
    np.savez("p.npz", x=X.astype(np.float32))
    found = json.loads(plain(run("grad", "model.py:loss", "--at", "p.npz", "--json")))
    assert found["dtypes"] == {"x": "float32"}
    assert found["shapes"] == {"x": [3]}


# --- what it prints and writes ----------------------------------------------------------------------------------------


def test_grad_prints_value_and_gradient(run: Run) -> None:
    out = plain(run("grad", "model.py:square", "--at", "3", "--value"))
    assert out.splitlines() == ["square = 9.0", "d square / d x: float64[] = 6.0"]
    out = plain(run("grad", "model.py:many", "--at", "[1, 2]"))
    assert out.splitlines() == ["d many / d arg0: float64[2] =", "  [2. 4.]"]


def test_json_holds_everything_and_nothing_else(run: Run) -> None:
    done = run("grad", "model.py:chatty", "--at", "3", "--json")
    found = json.loads(plain(done))
    assert set(found) == {"argnums", "cost", "dtypes", "function", "gradient", "program", "shapes", "value"}
    assert "hello" in done.err
    assert found["value"] == 9.0
    assert found["cost"]["gradient"]["operations"] / found["cost"]["function"]["operations"] == found["cost"]["ratio"]
    assert isinstance(cr.Program.parse(found["program"]), cr.Program)


def test_json_has_no_bare_nan(run: Run) -> None:
    done = run("grad", "model.py:shy", "--at", "4.0", "--json")
    assert json.loads(plain(done), parse_constant=pytest.fail)["value"] == "nan"


def test_the_gradient_as_npy(run: Run, folder: Path) -> None:
    done = run("grad", "model.py:loss", "--at", "[0.5, -1.0, 2.0]", "--out", "g.npy")
    plain(done)
    assert done.err == "wrote g.npy\n"
    np.testing.assert_allclose(np.load(folder / "g.npy"), GRADIENT, rtol=1e-14)


def test_trace_prints_the_program_that_the_library_prints(run: Run) -> None:
    out = plain(run("trace", "model.py:square", "--at", "3.0"))
    assert out.startswith("program square(x: float64[]):")
    assert "model.py:" in out
    assert "floating-point operations" in out.splitlines()[-1]
    assert cr.Program.parse(out) == cr.trace(lambda x: x * x, 3.0)


def test_trace_of_the_gradient(run: Run) -> None:
    out = plain(run("trace", "model.py:square", "--at", "3.0", "--grad"))
    assert cr.Program.parse(out) == cr.grad(lambda x: x * x).program(3.0)


def test_derive_in_every_form(run: Run, folder: Path) -> None:
    at = ("model.py:loss", "--at", "[0.5, -1.0, 2.0]")
    text = plain(run("derive", *at))
    assert text.startswith("The derivative of loss, step by step")
    assert "they agree" in text
    assert r"\documentclass" in plain(run("derive", *at, "--format", "latex"))
    done = run("derive", *at, "--format", "html", "-o", "deep/page.html")
    plain(done)
    assert done.err == "wrote deep/page.html\n"
    assert (folder / "deep" / "page.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    source = plain(run("derive", *at, "--format", "numpy"))
    space: dict[str, Any] = {}
    exec(compile(source, "made.py", "exec"), space)
    value, gradient = space["value_and_grad_loss"](np.array([0.5, -1.0, 2.0]))
    np.testing.assert_allclose(gradient, GRADIENT, rtol=1e-14)
    assert np.ndim(value) == 0


def test_derive_opens_a_page_and_nothing_else(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    plain(run("derive", "model.py:square", "--at", "3.0", "--format", "html", "--open", "-o", "p.html"))
    assert opened == [(folder / "p.html").resolve().as_uri()]
    done = run("derive", "model.py:square", "--at", "3.0", "--open")
    assert done.code == 3
    assert "--format html" in done.err
    assert run("derive", "model.py:vector", "--at", "[1.0, 2.0]").code == 3
    assert run("derive", "model.py:square", "--at", "3.0", "--format", "word").code == 2


def test_trace_as_json_and_to_a_file(run: Run, folder: Path) -> None:
    found = json.loads(plain(run("trace", "model.py:loss", "--at", "[1.0, 2.0]", "--json", "--out", "deep/p.txt")))
    assert found["inputs"] == [{"name": "x", "shape": [2], "dtype": "float64"}]
    assert found["outputs"] == ["float64[]"]
    assert found["steps"] == len(cr.Program.parse((folder / "deep" / "p.txt").read_text(encoding="utf-8")))


def test_a_dotted_module_a_static_method_and_a_function_of_numpy(run: Run) -> None:
    assert "3.0" in plain(run("grad", "model:Model.loss", "--at", "1.0"))
    assert "0.5" in plain(run("grad", "model.py:Model.loss", "--at", "x=0.408248290463863"))
    assert "= 6.0" in plain(run("grad", "numpy:square", "--at", "3.0"))


def test_a_file_may_import_its_neighbour(run: Run, folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "neighbour.py").write_text("factor = 5.0\n", encoding="utf-8")
    (inner / "user.py").write_text("from neighbour import factor\ndef f(x): return factor * x\n", encoding="utf-8")
    assert "5.0" in plain(run("grad", "inner/user.py:f", "--at", "1.0"))


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["grad", "model.py:los", "--at", "1.0"], ["has no function 'los'", "loss"]),
        (["grad", "modle.py:loss", "--at", "1.0"], ["no file modle.py", "model.py"]),
        (["grad", "nowhere.module:loss", "--at", "1.0"], ["no module nowhere.module"]),
        (["grad", "a-b:loss", "--at", "1.0"], ["neither a file nor a module"]),
        (["grad", "model.py", "--at", "1.0"], ["does not name a function", "FILE:FUNCTION"]),
        (["grad", "model.py:constant", "--at", "1.0"], ["is a int, not a function"]),
        (["grad", ".:loss", "--at", "1.0"], ["is a folder"]),
        (["grad", "model.py:loss", "--at", "none.npz"], ["no file none.npz"]),
        (["grad", "model.py:loss", "--at", "none.npy"], ["no file none.npy"]),
        (["grad", "model.py:loss", "--at", "x=none.npy"], ["no file none.npy"]),
        (["grad", "model.py:loss", "--at", "text.npz"], ["text.npz can not be read", "numpy.savez"]),
        (["grad", "model.py:loss", "--at", "objects.npz"], ["objects.npz can not be read"]),
        (["grad", "model.py:loss", "--at", "text.npy"], ["text.npy can not be read"]),
        (["grad", "model.py:loss", "--at", "[1.0, 2.0"], ["neither a .npz or .npy file nor JSON", "character"]),
        (["grad", "model.py:loss", "--at", "y=1.0"], ["'y'", "no parameter of loss(x, k)"]),
        (["grad", "model.py:loss", "--at", "k=1.0"], ["was not given x", "--at x=VALUE"]),
        (["grad", "model.py:square", "--at", "1.0", "--at", "2.0"], ["argument 2", "takes 1"]),
        (["grad", "model.py:square", "--at", "1.0", "--at", "x=2.0"], ["x is given twice"]),
        (["grad", "model.py:fit", "--at", "params.W=1", "--at", "params=2"], ["given"]),
        (["grad", "model.py:fit", "--at", "params=1", "--at", "params.W=2"], ["both whole and in parts"]),
        (["grad", "model.py:square", "--at", "1.0", "--argnums", "1"], ["'1'", "position"]),
        (["grad", "model.py:square", "--at", "1.0", "--argnums", "x,x"], ["twice"]),
        (["grad", "model.py:square", "--at", "1.0", "--argnums", ""], ["no argument"]),
        (["grad", "model.py:square", "--at", '"text"'], ["can not be differentiated"]),
        (["grad", "model.py:square", "--at", "integers.npy"], ["int64", "astype(float)"]),
        (["grad", "model.py:vector", "--at", "[1.0, 2.0]"], ["shape (2,)", "model.py"]),
        (["grad", "model.py:leaves", "--at", "1.0"], ["sys.exit(7)"]),
        (["grad", "model.py:square", "--at", "1.0", "--out", "model.py/g.npz"], ["can not be written"]),
        (["grad", "model.py:many", "--at", "1", "--at", "2", "--argnums", "0,1", "--out", "g.npy"], ["one array"]),
        (["grad", "broken.py:f", "--at", "1.0"], ["broken.py", "SyntaxError"]),
        (["grad", "raises.py:f", "--at", "1.0"], ["raises.py", "while it was loaded", "1 / 0", "ZeroDivisionError"]),
        (["grad", "imports.py:f", "--at", "1.0"], ["imports.py", "ModuleNotFoundError", "no_such_package"]),
        (["grad", "exits.py:f", "--at", "1.0"], ["exits.py", "sys.exit(3)", "__main__"]),
        (["check", "model.py:los", "--at", "1.0"], ["has no function 'los'"]),
        (["trace", "model.py:square", "--at", "three"], ["neither"]),
    ],
)
def test_a_users_mistake_is_answered_with_a_message(run: Run, argv: list[str], says: list[str]) -> None:
    Path("text.npz").write_text("not a zip", encoding="utf-8")
    Path("text.npy").write_text("not an array", encoding="utf-8")
    np.savez("objects.npz", x=np.array([{}], dtype=object))
    np.save("integers.npy", np.array([1, 2]))
    Path("broken.py").write_text("def f(x:\n", encoding="utf-8")
    Path("raises.py").write_text("value = 1 / 0\n", encoding="utf-8")
    Path("imports.py").write_text("import no_such_package\n", encoding="utf-8")
    Path("exits.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    done = run(*argv)
    assert done.code == 3, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    for words in says:
        assert words in done.err
    assert "Traceback" not in done.err
    assert "cli.py" not in done.err
    assert "internal" not in done.err


def test_the_users_own_exception_comes_with_the_users_own_line(run: Run) -> None:
    done = run("grad", "model.py:loud", "--at", "1.0")
    assert done.code == 3
    assert "loud raised KeyError" in done.err
    assert 'raise KeyError("no such thing")' in done.err
    assert "Traceback" not in done.err
    assert "operators.py" not in done.err


def test_arrays_that_do_not_fit_show_the_users_line(run: Run) -> None:
    done = run("grad", "model.py:misfit", "--at", "[1.0, 2.0]")
    assert done.code == 3
    assert "x.reshape(2, 7)" in done.err


def test_debug_shows_the_whole_traceback(run: Run) -> None:
    for argv in (
        ["--debug", "grad", "model.py:loud", "--at", "1.0"],
        ["grad", "model.py:loud", "--at", "1.0", "--debug"],
    ):
        done = run(*argv)
        assert done.code == 3
        assert done.err.startswith("Traceback (most recent call last)")
        assert "cli.py" in done.err


def test_a_mistake_of_ours_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import chainrule.operators

    monkeypatch.setattr(chainrule.operators, "value_and_grad", None)
    done = run("grad", "model.py:square", "--at", "1.0")
    assert done.code == 4
    assert done.err.startswith("internal error: TypeError")
    assert "report" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["grad"], 2),
        (["grad", "model.py:square"], 2),
        (["grad", "model.py:square", "--at", "1.0", "--nonsense"], 2),
        (["nonsense"], 2),
        ([], 2),
        (["check", "model.py:square"], 3),
        (["check", "model.py:square", "--at", "1.0", "--rtol", "small"], 3),
        (["--help"], 0),
        (["grad", "--help"], 0),
        (["--version"], 0),
    ],
)
def test_exit_codes_of_the_command_line(run: Run, argv: list[str], code: int) -> None:
    assert run(*argv).code == code


def test_help_shows_every_command_and_examples(run: Run) -> None:
    out = plain(run("--help"))
    for words in ("grad", "trace", "derive", "check", "bench", "tour", "--version", "examples:", "point.npz", "x=1.5"):
        assert words in out
    for name in ("grad", "trace", "check"):
        assert "POINT" in plain(run(name, "--help"))


def test_bench_prints_a_row_for_everybody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.bench._ROUNDS", 1)
    monkeypatch.setattr("chainrule.bench._ROUND", 1e-4)
    out = plain(run("bench", "model.py:loss", "--at", "[0.5, -1.0, 2.0]"))
    for words in ("function", "gradient", "ratio", "first call", "numpy", "chainrule uncompiled", "jax", "torch"):
        assert words in out
    rows = json.loads(plain(run("bench", "model.py:loss", "--at", "[0.5, -1.0, 2.0]", "--json")))["rows"]
    (own,) = [row for row in rows if row["who"] == "chainrule"]
    assert own["ratio"] == own["gradient"] / own["function"]
    assert run("bench", "model.py:missing", "--at", "1.0").code == 3


def test_the_version_is_the_packages(run: Run) -> None:
    assert plain(run("--version")) == f"chainrule {cr.__version__}\n"


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_passes_and_fails(run: Run) -> None:
    done = run("check", "model.py:loss", "--at", "[0.5, -1.0, 2.0]")
    assert plain(done).startswith("PASS")
    assert plain(run("check", "model.py:square", "--at", "3.0", "--grad", "model.py:slope")).startswith("PASS")
    done = run("check", "model.py:square", "--at", "3.0", "--grad", "model.py:wrong")
    assert plain(done, code=1).startswith("FAIL")


def test_check_is_inconclusive_where_there_is_nothing_to_compare(run: Run) -> None:
    assert plain(run("check", "model.py:shy", "--at", "4.0"), code=2).startswith("INCONCLUSIVE")


def test_check_as_json_with_keywords_and_files(run: Run, folder: Path) -> None:
    point = '{"params": {"W": [[1, 2]], "layers": [[0, 1], 1]}, "data": [[1], [2]], "weight": 3.0}'
    done = run(
        "check", "model.py:fit", "--at", point, "--json", "--plot", "c/c.png", "--html", "c/c.html", "--seed", "5"
    )
    found = json.loads(plain(done))
    assert found["verdict"] == "PASS"
    assert found["seed"] == 5
    assert (folder / "c" / "c.png").stat().st_size > 1000
    assert "PASS" in (folder / "c" / "c.html").read_text(encoding="utf-8")


def test_check_names_the_step_that_is_wrong(run: Run, folder: Path) -> None:
    (folder / "planted.py").write_text(
        """import numpy as np
import chainrule as cr

square = cr.primitive(np.square, pullback=lambda g, y, a: g * a)


def loss(x):
    return np.sum(square(np.sin(x)))
""",
        encoding="utf-8",
    )
    done = plain(run("check", "planted.py:loss", "--at", "[0.5, -1.0]", "--html", "steps.html"), code=1)
    assert "100.0 %  step 2 `square` (planted.py:8)" in done
    assert "backward pass: planted.py:4" in done
    assert "share of the mismatch" in (folder / "steps.html").read_text(encoding="utf-8")
    found = json.loads(plain(run("check", "planted.py:loss", "--at", "[0.5, -1.0]", "--json"), code=1))
    assert found["steps"][0]["step"] == "square"


# --- as a process -----------------------------------------------------------------------------------------------------


def command(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chainrule", *argv],
        env=surroundings(**environment), capture_output=True, text=True, check=False, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def surroundings(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def test_python_dash_m(folder: Path) -> None:
    done = command("grad", "model.py:square", "--at", "-3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "d square / d x: float64[] = -6.0\n", "")


def test_colour_only_where_it_is_wanted(folder: Path) -> None:
    quiet = command("grad", "model.py:los", "--at", "1")
    assert "\x1b" not in quiet.stderr
    assert "\x1b[" in command("grad", "model.py:los", "--at", "1", FORCE_COLOR="1").stderr


def test_control_c_ends_it_with_one_line_and_130(folder: Path) -> None:
    text = "import time\ndef f(x):\n    print('here', flush=True)\n    while True:\n        time.sleep(0.01)\n"
    (folder / "slow.py").write_text(text, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "chainrule", "grad", "slow.py:f", "--at", "1.0"],
        env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="head is a POSIX tool")
def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    text = "def f(x):\n    for _ in range(9000):\n        x = x * 1.5\n    return x\n"
    (folder / "long.py").write_text(text, encoding="utf-8")
    script = f"{sys.executable} -m chainrule trace long.py:f --at 1.0 | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=surroundings(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("program f")
    assert done.stderr == ""
