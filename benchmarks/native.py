"""Compiled gradients side by side with peers and with C by hand: seconds a call, first call, peak memory, ratios.

Each problem of ``cases/`` is run in one process by everybody in turns, and the minimum of many rounds is kept: on a
shared machine the minimum is what the code costs, everything above it is what the neighbours cost. Everybody's gradient
is compared with that of the C function first. First calls and peak memory are taken in a process each, from the start
of the imports on. Peers that are not installed are left out (``pip install autograd casadi jax torch``), and so is C
where there is no ``cc``.

    python benchmarks/native.py [--threads 1 2] [--only WORDS] [--quick] [--json FILE] [--peers NAME,NAME]
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cases import Problem, problems
from cases.problem import in_namespace

HERE = Path(__file__).resolve().parent
PYTHON_PEERS = ("jax", "torch", "torch compiled", "autograd", "casadi", "numpy by hand")
PEERS = ("chainrule", "chainrule uncompiled", *PYTHON_PEERS, "C")
#: A peer of which one call takes longer is timed once.
PATIENCE = 5.0
#: Nobody is right to more digits than the order of summation leaves.
AGREES = 1e-6

Call = Callable[[], Any]


# --- everybody's gradient and function, as calls without arguments ----------------------------------------------------


def of_chainrule(problem: Problem, *, compiled: bool = True) -> tuple[Call, Call | None]:
    """The compiled gradient, and the compiled function."""
    import chainrule as cr

    gradient: Any = cr.grad(problem.function, argnums=problem.wrt if len(problem.wrt) > 1 else problem.wrt[0])
    arguments = problem.arguments
    if not compiled:
        return (lambda: gradient(*arguments)), None
    made, function = cr.compile(gradient), cr.compile(problem.function)
    if len(arguments) == 1:
        (x,) = arguments
        return (lambda: made(x)), (lambda: function(x))
    return (lambda: made(*arguments)), (lambda: function(*arguments))


def of_jax(problem: Problem) -> tuple[Call, Call]:
    """``jax.jit(jax.grad(f))`` in float64 on arrays that JAX already holds."""
    import jax

    jax.config.update("jax_enable_x64", True)
    function = problem.jax or in_namespace(
        problem.function,
        {"np": jax.numpy, "logsumexp": jax.scipy.special.logsumexp, "ndtr": jax.scipy.special.ndtr},
    )
    arguments = [jax.numpy.asarray(one) for one in problem.arguments]
    gradient = jax.jit(jax.grad(function, argnums=problem.wrt if len(problem.wrt) > 1 else problem.wrt[0]))
    value = jax.jit(function)
    if len(arguments) == 1:
        (x,) = arguments
        return (lambda: jax.block_until_ready(gradient(x))), (lambda: value(x).block_until_ready())
    return (lambda: jax.block_until_ready(gradient(*arguments))), (lambda: value(*arguments).block_until_ready())


def of_torch(problem: Problem, *, compiled: bool = False) -> tuple[Call, Call]:
    """``torch.autograd.grad`` on float64 tensors; eager, or through ``torch.compile``."""
    import torch

    torch.set_num_threads(int(os.environ.get("CHAINRULE_NUM_THREADS", "1")))
    arguments = [
        torch.as_tensor(np.asarray(one)).requires_grad_(place in problem.wrt)
        for place, one in enumerate(problem.arguments)
    ]
    if compiled and problem.jax is not None:
        # A Python loop is unrolled: the 1000-step one was not compiled within ten minutes.
        raise NotImplementedError
    function = torch.compile(problem.torch) if compiled else problem.torch
    wrt = [arguments[place] for place in problem.wrt]

    def value() -> Any:
        with torch.no_grad():
            return function(*arguments)

    return (lambda: torch.autograd.grad(function(*arguments), wrt)), value


def of_autograd(problem: Problem) -> tuple[Call, None]:
    """``autograd.grad`` on the same NumPy code."""
    import autograd
    from autograd.scipy.special import logsumexp
    from autograd.scipy.stats import norm

    function = in_namespace(problem.function, {"np": autograd.numpy, "logsumexp": logsumexp, "ndtr": norm.cdf})
    gradient = autograd.grad(function, problem.wrt if len(problem.wrt) > 1 else problem.wrt[0])
    return (lambda: gradient(*problem.arguments)), None


def of_casadi(problem: Problem) -> tuple[Call, None]:
    """CasADi's gradient as a Function called with NumPy arrays, where the problem is one that CasADi's graphs take."""
    import casadi

    if problem.casadi is None or sum(np.size(problem.arguments[place]) for place in problem.wrt) > 2_000:
        raise NotImplementedError
    symbols = [casadi.SX.sym(f"x{place}", int(np.size(one))) for place, one in enumerate(problem.arguments)]
    gradient = casadi.Function(
        "g", symbols, [casadi.gradient(problem.casadi(*symbols), symbols[place]) for place in problem.wrt]
    )
    return (lambda: gradient(*problem.arguments)), None


def of_hand(problem: Problem) -> tuple[Call, Call]:
    """The gradient that people write with NumPy, and the NumPy function itself."""
    if problem.by_hand is None:
        raise NotImplementedError
    by_hand = problem.by_hand
    return (lambda: by_hand(*problem.arguments)), (lambda: problem.function(*problem.arguments))


def of_c(problem: Problem) -> tuple[Call, None]:
    """The C function (value and gradient in one), compiled with ``cc -O3 -march=native``."""
    if shutil.which("cc") is None:
        raise NotImplementedError
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "problem.c", Path(folder) / "problem.so"
        source.write_text("#define _GNU_SOURCE\n" + problem.c, encoding="utf-8")
        defines = [f"-D{name}={value}" for name, value in (problem.defines or {}).items()]
        command = ["cc", "-O3", "-march=native", "-std=gnu99", "-shared", "-fPIC", *defines, str(source), "-o"]
        subprocess.run([*command, str(library), "-lm"], check=True)
        run = ctypes.CDLL(str(library)).run
    run.restype = ctypes.c_double
    given = [np.ascontiguousarray(one) for one in problem.arguments]
    made = [np.empty_like(given[place]) for place in problem.wrt]
    ins = (ctypes.c_void_p * len(given))(*[one.ctypes.data for one in given])
    outs = (ctypes.c_void_p * len(made))(*[one.ctypes.data for one in made])

    def call() -> Any:
        run(ins, outs)
        return made

    call.kept = given  # type: ignore[attr-defined]
    return call, None


MAKERS: dict[str, Callable[[Problem], tuple[Call, Call | None]]] = {
    "chainrule": of_chainrule,
    "chainrule uncompiled": lambda problem: of_chainrule(problem, compiled=False),
    "jax": of_jax,
    "torch": of_torch,
    "torch compiled": lambda problem: of_torch(problem, compiled=True),
    "autograd": of_autograd,
    "casadi": of_casadi,
    "numpy by hand": of_hand,
    "C": of_c,
}
NEEDS = {"jax": "jax", "torch": "torch", "torch compiled": "torch", "autograd": "autograd", "casadi": "casadi"}


def installed(peer: str) -> bool:
    """Whether it can be imported."""
    return peer not in NEEDS or importlib.util.find_spec(NEEDS[peer]) is not None


# --- one process: everybody in turns ----------------------------------------------------------------------------------


def flat(result: Any) -> Any:
    """The numbers of a gradient, in order."""
    parts = result if isinstance(result, list | tuple) else [result]
    return np.concatenate([np.ravel(np.asarray(one, dtype=np.float64)) for one in parts])


def side_by_side(problem: Problem, peers: list[str], rounds: int) -> dict[str, Any]:
    """Seconds a call of everybody's gradient (and of the function), minima of alternating rounds, and agreement."""
    calls: dict[tuple[str, str], tuple[Call, int]] = {}
    found: dict[str, Any] = {}
    wanted = None
    for peer in reversed(peers):
        try:
            gradient, function = MAKERS[peer](problem)
            started = time.perf_counter()
            made = flat(gradient())
            first = time.perf_counter() - started
        except NotImplementedError:
            continue
        except Exception as refusal:  # noqa: BLE001 - whatever a peer says is the result
            found[peer] = {"refused": f"{type(refusal).__name__}: {refusal}"[:200]}
            continue
        wanted = made if wanted is None else wanted
        error = float(np.max(np.abs(made - wanted)) / max(float(np.max(np.abs(wanted))), 1e-300))
        found[peer] = {"first": first, "error": error, "agrees": error <= AGREES}
        for what, call in (("gradient", gradient), ("function", function)):
            if call is not None:
                calls[peer, what] = (call, repetitions(call))
    for _ in range(rounds):
        for (peer, what), (call, count) in calls.items():
            held = found[peer]
            if held.get(what, 0.0) > PATIENCE:
                continue
            started = time.perf_counter()
            for _ in range(count):
                call()
            seconds = (time.perf_counter() - started) / count
            held[what] = min(held.get(what, math.inf), seconds)
    return found


def repetitions(call: Call) -> int:
    """How many calls take about 10 ms."""
    call()
    started = time.perf_counter()
    call()
    once = time.perf_counter() - started
    return max(1, min(20_000, int(0.01 / max(once, 1e-9))))


def alone(problem: Problem, peer: str) -> dict[str, float]:
    """The first gradient from before the imports on, and the peak of memory above what the data take."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    gradient, _ = MAKERS[peer](problem)
    gradient()
    first = time.perf_counter() - started
    for _ in range(3):
        gradient()
    return {"first": first, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


# --- many processes ---------------------------------------------------------------------------------------------------


def child(arguments: list[str], threads: int) -> dict[str, Any]:
    """What this script prints in a process of its own, held to so many threads."""
    environment = dict(os.environ, CHAINRULE_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    environment.update(OPENBLAS_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    if threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [sys.executable, str(HERE / "native.py"), *arguments, "--cores", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def geometric_mean(values: list[float]) -> float:
    """NaN of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def duration(seconds: float | None) -> str:
    """With a unit."""
    if seconds is None or math.isnan(seconds):
        return "-"
    for factor, unit in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def table(results: dict[str, dict[str, Any]], peers: list[str], threads: int) -> None:
    """Print a row a problem, and the means of the ratios."""
    shown = [peer for peer in peers if any("gradient" in found.get(peer, {}) for found in results.values())]
    print(f"\nSeconds a gradient, {threads} thread{'s' if threads > 1 else ''}:\n")
    print("| problem | " + " | ".join(shown) + " | gradient/function | to best peer | to C |")
    print("|---" * (len(shown) + 4) + "|")
    ratios: dict[str, list[float]] = {}
    for name, found in results.items():
        times = {peer: found.get(peer, {}).get("gradient", math.nan) for peer in shown}
        ours = times.get("chainrule", math.nan)
        best = min((times[peer] for peer in PYTHON_PEERS if times.get(peer, math.nan) > 0), default=math.nan)
        own = found.get("chainrule", {}).get("function", math.nan)
        to_c = ours / times.get("C", math.nan)
        for peer, seconds in times.items():
            if seconds > 0 and ours > 0:
                ratios.setdefault(peer, []).append(ours / seconds)
        wrong = [peer for peer in shown if not found.get(peer, {}).get("agrees", True)]
        cells = [duration(times[peer]) + (" (wrong)" if peer in wrong else "") for peer in shown]
        print(f"| {name} | " + " | ".join(cells) + f" | {ours / own:.2f} | {ours / best:.2f} | {to_c:.2f} |")
    for peer, values in ratios.items():
        if peer != "chainrule":
            print(f"geometric mean of chainrule / {peer}: {geometric_mean(values):.3f} over {len(values)} problems")


def main() -> int:
    """Run it; 1 if somebody's gradient is not that of C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="", help="problems with one of these words in their names, comma between")
    parser.add_argument("--peers", default=",".join(one for one in PEERS if one != "torch compiled"))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--first", action="store_true", help="also first calls and peak memory, in a process each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    peers = [one for one in options.peers.split(",") if installed(one)]
    if options.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    chosen = [one for one in problems() if any(word in one.name for word in options.only.split(","))]
    rounds = 5 if options.quick else 25
    if options.run is not None:
        (problem,) = [one for one in chosen if one.name == options.run]
        print(json.dumps(alone(problem, options.alone) if options.alone else side_by_side(problem, peers, rounds)))
        return 0
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    everything: dict[str, Any] = {}
    wrong = False
    for threads in options.threads:
        results: dict[str, dict[str, Any]] = {}
        for problem in chosen:
            results[problem.name] = found = child(["--run", problem.name, "--peers", ",".join(peers)]
                                                  + ["--quick"] * options.quick, threads)  # fmt: skip
            for peer, one in found.items():
                if "refused" in one or peer == "failed":
                    print(f"{problem.name}: {peer}: {one['refused'] if peer != 'failed' else one}", file=sys.stderr)
                elif not one["agrees"]:
                    wrong = True
                    print(f"{problem.name}: {peer} differs by {one['error']:.1e}", file=sys.stderr)
            if options.first:
                for peer in [one for one in peers if "gradient" in found.get(one, {})]:
                    found[peer]["alone"] = child(["--run", problem.name, "--alone", peer], threads)
        everything[str(threads)] = results
        table(results, peers, threads)
        if options.first:
            print("\nFirst gradient from the imports on, and peak memory above the data:\n")
            for name, found in results.items():
                cells = [
                    f"{peer} {duration(one['alone'].get('first'))} {one['alone'].get('memory', math.nan):.0f} MB"
                    for peer, one in found.items()
                    if "first" in one.get("alone", {})
                ]
                print(f"{name}: " + ", ".join(cells))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
