"""What a gradient costs besides its arithmetic: calls, first call, tracing and import, next to HIPS autograd.

Each pair is measured in one process, alternating, and the minimum of many repetitions is kept: on a shared machine the
minimum is what the code costs, everything above it is what the neighbours cost. autograd is compared if it is
installed (``pip install autograd``).

    python benchmarks/overhead.py [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import chainrule as cr

SIZES = (3, 100, 10_000)
_BYTECODE = Path(tempfile.gettempdir()) / f"chainrule-overhead-{os.getpid()}"
TARGETS = {"import": 1.5, "step": 5.0, "grad": 1.0}


def plain_twenty(x: Any, W: Any) -> Any:
    """Twenty operations: an elementwise chain, a matrix product in the middle, a sum at the end."""
    a = np.sin(x)
    b = a * x
    c = np.exp(-b)
    d = c + 1.0
    e = np.log(d)
    h = np.tanh(e)
    i = h * a
    j = i - b
    k = np.sqrt(j * j + 1.0)
    m = W @ k
    n = np.cos(m)
    o = n * m
    p = np.exp(o * 0.1)
    q = p / (p + 1.0)
    return np.sum(q)


def in_namespace(numpy: ModuleType) -> Callable[[Any, Any], Any]:
    """The same function with its NumPy in a closure cell: what autograd needs, and what libraries often do."""

    def twenty(x: Any, W: Any) -> Any:
        a = numpy.sin(x)
        b = a * x
        c = numpy.exp(-b)
        d = c + 1.0
        e = numpy.log(d)
        h = numpy.tanh(e)
        i = h * a
        j = i - b
        k = numpy.sqrt(j * j + 1.0)
        m = W @ k
        n = numpy.cos(m)
        o = n * m
        p = numpy.exp(o * 0.1)
        q = p / (p + 1.0)
        return numpy.sum(q)

    return twenty


def points(size: int) -> tuple[Any, Any]:
    """The argument and the matrix for one size."""
    rng = np.random.default_rng(size)
    return rng.uniform(0.2, 2.0, size), rng.normal(size=(8, size)) / np.sqrt(size)


def fastest(calls: dict[str, Callable[[], Any]], *, repeats: int) -> dict[str, float]:
    """Microseconds of each call: the minimum over repetitions, taken in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: seconds * 1e6 for name, seconds in best.items()}


def calls(*, repeats: int) -> list[dict[str, Any]]:
    """Uncompiled gradients of the twenty operations."""
    has_autograd = importlib.util.find_spec("autograd") is not None
    rows = []
    for size in SIZES:
        x, W = points(size)
        measured: dict[str, Callable[[], Any]] = {
            "function": functools.partial(plain_twenty, x, W),
            "chainrule": functools.partial(cr.grad(plain_twenty), x, W),
            "chainrule, closure": functools.partial(cr.grad(in_namespace(np)), x, W),
            "chainrule, value_and_grad": functools.partial(cr.value_and_grad(plain_twenty), x, W),
        }
        if has_autograd:
            autograd = importlib.import_module("autograd")
            peer = in_namespace(importlib.import_module("autograd.numpy"))
            gradient = autograd.grad(peer)
            np.testing.assert_allclose(cr.grad(plain_twenty)(x, W), gradient(x, W), rtol=1e-10, atol=1e-13)
            measured["autograd"] = functools.partial(gradient, x, W)
        rows.append({"size": size, **fastest(measured, repeats=repeats if size < 10_000 else repeats // 4)})
    return rows


FIRST = """
import sys, time
sys.path.insert(0, {here!r})
import numpy as np
from overhead import in_namespace, plain_twenty, points
import {module}
x, W = points(100)
function = plain_twenty if {module!r} == "chainrule" else in_namespace(__import__("autograd.numpy").numpy)
times = []
for _ in range(3):
    start = time.perf_counter()
    {module}.grad(function)(x, W)
    times.append(time.perf_counter() - start)
print(*times)
"""


def first_calls(*, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of the first three calls in a fresh process (minimum of several processes)."""
    found = {}
    for module in ("chainrule", "autograd"):
        if importlib.util.find_spec(module) is None:
            continue
        code = FIRST.format(here=str(Path(__file__).resolve().parent), module=module)
        runs = [[float(one) * 1e3 for one in _python(code).split()] for _ in range(repeats)]
        found[module] = [min(column) for column in zip(*runs, strict=True)]
    return found


def _python(code: str) -> str:
    # Compiled modules in a folder of our own: an environment that keeps none would measure Python's compiler.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(_BYTECODE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return done.stdout


IMPORT = "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"


def imports(*, repeats: int) -> dict[str, float]:
    """Milliseconds of ``import numpy`` and ``import chainrule`` in fresh processes, taken in turns, minimum."""
    modules = ("numpy", "chainrule")
    for module in modules:
        _python(IMPORT.format(module=module))
    runs = [[float(_python(IMPORT.format(module=module))) * 1e3 for module in modules] for _ in range(repeats)]
    return {module: min(column) for module, column in zip(modules, zip(*runs, strict=True), strict=True)}


def chain_of_sines(x: Any, steps: int) -> Any:
    """As many steps as asked for, through NumPy's protocol."""
    for _ in range(steps):
        x = np.sin(x)
    return x


def chain_of_products(x: Any, steps: int) -> Any:
    """As many steps as asked for, through Python's operators."""
    for _ in range(steps):
        x = x * 1.00001
    return x


def chain_mixed(x: Any, steps: int) -> Any:
    """An array that is indexed, multiplied, mapped and added to: four steps a round."""
    total = x[0]
    for _ in range(steps // 4):
        total = total + np.tanh(x[1] * total)
    return total


def tracing(*, repeats: int) -> list[dict[str, Any]]:
    """Microseconds a step of a trace, and of a whole uncompiled gradient."""
    rows = []
    for function, point in ((chain_of_sines, 0.3), (chain_of_products, 0.3), (chain_mixed, np.array([0.3, 0.7]))):
        for steps in (10_000, 100_000):
            counted = len(cr.trace(function, point, steps))
            few = max(2, repeats // (steps // 10_000))
            best = fastest(
                {
                    "trace": functools.partial(cr.trace, function, point, steps),
                    "grad": functools.partial(cr.grad(function), point, steps),
                },
                repeats=few,
            )
            rows.append(
                {
                    "chain": function.__name__,
                    "steps": counted,
                    **{key: value / counted for key, value in best.items()},
                }
            )
    return rows


def main(argv: list[str] | None = None) -> int:
    """Print the tables; the exit code is 0: whether a target is met is printed, and depends on the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    options = parser.parse_args(argv)
    scale = 4 if options.quick else 1
    found: dict[str, Any] = {"calls": calls(repeats=2000 // scale)}
    print("uncompiled gradient of 20 operations, microseconds a call (minimum)")
    names = list(found["calls"][0])[1:]
    print(f"{'size':>8}" + "".join(f"{name:>28}" for name in names) + "  chainrule / autograd")
    for row in found["calls"]:
        ratio = row["chainrule"] / row["autograd"] if "autograd" in row else None
        shown = "autograd not installed" if ratio is None else f"{ratio:.2f}  ({_verdict(ratio, TARGETS['grad'])})"
        print(f"{row['size']:>8}" + "".join(f"{row[name]:>28.1f}" for name in names) + f"  {shown}")
    try:
        found["first"] = first_calls(repeats=8 // scale)
        found["import"] = imports(repeats=20 // scale)
    finally:
        shutil.rmtree(_BYTECODE, ignore_errors=True)
    print("\nfirst three calls in a fresh process, milliseconds (minimum)")
    for name, times in found["first"].items():
        print(f"{name:>12}" + "".join(f"{one:>10.2f}" for one in times))
    found["tracing"] = tracing(repeats=8 // scale)
    print("\nmicroseconds a step (minimum)")
    print(f"{'chain':>20}{'steps':>10}{'trace':>10}{'whole grad':>12}")
    for row in found["tracing"]:
        verdict = _verdict(row["trace"], TARGETS["step"])
        print(f"{row['chain']:>20}{row['steps']:>10}{row['trace']:>10.2f}{row['grad']:>12.2f}  {verdict}")
    ratio = found["import"]["chainrule"] / found["import"]["numpy"]
    print("\nimport in a fresh process, milliseconds (minimum)")
    print("  ".join(f"{name} {value:.1f}" for name, value in found["import"].items()), end="")
    print(f"  ratio {ratio:.2f}  ({_verdict(ratio, TARGETS['import'])})")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _verdict(value: float, target: float) -> str:
    return f"target {target:g}: {'met' if value <= target else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
