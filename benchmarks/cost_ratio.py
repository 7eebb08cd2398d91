"""The cheap-gradient principle on every example: operations of one reverse sweep against those of the function.

``python benchmarks/cost_ratio.py`` prints the table. The operations are counted on the programs that run
(``Program.cost()``), a call of the maths library as twenty; the seconds are of this machine. ``tests/test_examples.py``
holds every example to the bound.

Source: W. Baur and V. Strassen (1983); A. Griewank (1989).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import chainrule as cr
from chainrule.containers import flatten

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BOUND = 5.0


class Row(NamedTuple):
    """One example: its inputs, the work of the function and of the sweep, and the shortest seconds seen of each."""

    name: str
    inputs: int
    function: float
    sweep: float
    function_seconds: float
    sweep_seconds: float

    @property
    def ratio(self) -> float:
        """Operations of the sweep (the value included) in units of the function's."""
        return self.sweep / self.function


def names() -> list[str]:
    """The examples that state a problem."""
    return sorted(path.stem for path in EXAMPLES.glob("*.py") if "\ndef problem(" in path.read_text(encoding="utf-8"))


def problem(name: str) -> tuple[Any, tuple[Any, ...]]:
    """``(f, args)`` of an example."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    f, args = importlib.import_module(name).problem()
    return f, args


def measure(name: str, times: int = 3) -> Row:
    """The row of an example."""
    f, args = problem(name)
    gradient = cr.grad(f)
    inputs = sum(getattr(leaf, "size", 1) for leaf in flatten(args[0])[0])
    function, sweep = cr.trace(f, *args).cost().operations, gradient.program(*args).cost().operations
    return Row(name, inputs, function, sweep, shortest(f, args, times), shortest(gradient, args, times))


def shortest(call: Any, args: tuple[Any, ...], times: int) -> float:
    """The shortest of several runs, in seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call(*args)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def table(rows: list[Row]) -> Iterator[str]:
    """The rows as lines of text."""
    yield f"{'':34}operations"
    yield f"{'example':<20} {'inputs':>6} {'of f':>14} {'of a sweep':>14} {'ratio':>6}   {'ms f':>8} {'ms grad':>8}"
    for row in rows:
        yield (
            f"{row.name:<20} {row.inputs:>6} {row.function:>14,.0f} {row.sweep:>14,.0f} {row.ratio:>6.2f}   "
            f"{1e3 * row.function_seconds:>8.2f} {1e3 * row.sweep_seconds:>8.2f}"
        )


def main() -> int:
    """Print the table; 1 if a ratio is over the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="machine-readable rows")
    options = parser.parse_args()
    rows = [measure(name) for name in names()]
    if options.json:
        print(json.dumps([{**row._asdict(), "ratio": row.ratio} for row in rows], indent=2))
    else:
        print("\n".join(table(rows)))
        print(f"bound: {BOUND:g}; seconds are of NumPy against the traced and interpreted sweep, tracing included")
    return int(any(row.ratio > BOUND for row in rows))


if __name__ == "__main__":
    sys.exit(main())
