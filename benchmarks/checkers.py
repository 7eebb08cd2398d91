"""The seeded bugs and the hard but right functions of the tests, against every gradient checker that is installed.

    pip install scipy autograd numdifftools torch jax
    python benchmarks/checkers.py [--names] [--only TEXT] [--limit SECONDS]

Each peer is called as its documentation says, with its own steps and tolerances. scipy's and numdifftools' functions
return numbers and no verdict; theirs is read as the caption says. All see the same function of one flat vector and the
same claimed pullback; where a peer takes functions of one number only, it gets v.f with a random v. "Not possible": the
peer has no means to take the case, ends with an error, or is not through after the limit. A gradient of the wrong shape
or container counts as found. Functions get the memory of the peer's own arrays, where that may be written to. A peer
that is not installed is named and left out.

The exit code is 1 if chainrule's own check passed a bug or called a right function wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import importlib.metadata
import io
import math
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from tests.check import catalogue, hostile  # noqa: E402 - they lie beside the tests, which are not installed
from tests.check.catalogue import Case  # noqa: E402

from chainrule.check import check  # noqa: E402
from chainrule.containers import flatten, unflatten  # noqa: E402

BUGS, HARD = catalogue.BUGS + hostile.BUGS, catalogue.HARD + hostile.HARD

CAPTION = """\
check_grad (scipy) and Gradient (numdifftools) return numbers: taken as a failure where the norm of the difference is
above 1e-5 of that of the gradient (scipy; of 1, if that is more), and where an entry is off by more than 1e-5 of its
size plus twice numdifftools' own error estimate. For chainrule "open" is INCONCLUSIVE and WARN of a right function."""


class NotPossible(Exception):
    """The peer has no means to take this case, or the time is up."""


class BadGradient(Exception):
    """The claimed gradient can not be used: its shape or container is not that of the input."""


class Flat:
    """A case as a function of one flat vector with a claimed pullback; calls of f are counted."""

    def __init__(self, case: Case, limit: float) -> None:
        given = dict(case.options)
        argnums = given.pop("argnums", 0)
        self.numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        self.single = isinstance(argnums, int)
        self.args, self.f = case.args, case.f
        self.grad, self.vjp, self.jvp = given.get("grad"), given.get("vjp"), given.get("jvp")
        self.both = given.get("value_and_pullback")
        if given.get("order", 1) == 2:
            self.f, self.grad = self.grad, None
        elif self.jvp is not None and self.vjp is not None:
            raise NotPossible
        leaves, self.structure = flatten(tuple(case.args[k] for k in self.numbers))
        self.leaves = [np.asarray(leaf) for leaf in leaves]
        self.python = [isinstance(leaf, float) and not isinstance(leaf, np.generic) for leaf in leaves]
        self.dtype = self.leaves[0].dtype
        if any(leaf.dtype != self.dtype for leaf in self.leaves):
            raise NotPossible
        self.x = np.concatenate([leaf.ravel() for leaf in self.leaves])
        self.calls, self.bad, self.over = 0, False, time.perf_counter() + limit
        self.out_leaves, self.out_structure = flatten(self.f(*self.arguments(self.x.copy())))
        self.scalar = len(self.out_leaves) == 1 and np.ndim(self.out_leaves[0]) == 0
        self.out_dtype = np.asarray(self.out_leaves[0]).dtype

    def arguments(self, x: Any) -> tuple[Any, ...]:
        """The arguments of f with the entries of ``x``: its memory, unless it is read-only."""
        parts, start = [], 0
        for leaf, python in zip(self.leaves, self.python, strict=True):
            part = x[start : start + leaf.size].reshape(leaf.shape)
            part = part if part.flags.writeable else part.copy()
            parts.append(float(part) if python else part)
            start += leaf.size
        full = list(copy.deepcopy(self.args))
        for k, part in zip(self.numbers, unflatten(self.structure, parts), strict=True):
            full[k] = part
        return tuple(full)

    def value(self, x: Any) -> Any:
        """F at a flat vector: a NumPy number, or a flat vector."""
        if time.perf_counter() > self.over:
            raise NotPossible
        self.calls += 1
        with np.errstate(all="ignore"):
            arguments = self.arguments(np.asarray(x))
            # A claim that comes with a value of its own is the forward pass, as it would be in a framework.
            out = self.f(*arguments) if self.both is None else self.both(*arguments)[0]
            leaves = [np.asarray(leaf) for leaf in flatten(out)[0]]
        return leaves[0][()] if self.scalar else np.concatenate([leaf.ravel() for leaf in leaves])

    def cotangent(self, v: Any) -> Any:
        """A flat cotangent in the container of f's output."""
        parts, start, v = [], 0, np.atleast_1d(v)
        for leaf in self.out_leaves:
            size = np.size(leaf)
            part = np.array(v[start : start + size], dtype=np.asarray(leaf).dtype).reshape(np.shape(leaf))
            parts.append(part[()] if np.ndim(leaf) == 0 else part)
            start += size
        return unflatten(self.out_structure, parts)

    def forward(self, x: Any) -> Callable[[Any], Any]:
        """The claimed pullback at a flat vector: flat cotangent to flat gradient."""
        arguments = self.arguments(np.asarray(x))
        pull = self.both(*arguments)[1] if self.both is not None else None

        def pullback(v: Any) -> Any:
            with np.errstate(all="ignore"):
                if self.jvp is not None:
                    return self._transposed(arguments, np.asarray(v))
                if pull is not None:
                    raw = pull(self.cotangent(v))
                elif self.vjp is not None:
                    raw = self.vjp(*arguments, self.cotangent(v))
                else:
                    raw = self.grad(*arguments)
                gradient = self._flat(raw)
                return gradient * v if self.grad is not None else gradient

        return pullback

    def _transposed(self, arguments: tuple[Any, ...], v: Any) -> Any:
        """A claimed push-forward, as the pullback that it means."""
        columns = [
            self.jvp(*arguments, self.arguments(unit)[self.numbers[0]]) for unit in np.eye(self.x.size, dtype=float)
        ]
        return np.array([np.sum(np.ravel(c) * np.ravel(v)) for c in columns], dtype=self.dtype)

    def _flat(self, raw: Any) -> Any:
        leaves, structure = flatten((raw,) if self.single else raw)
        if structure != self.structure:
            self.bad = True
            raise BadGradient
        parts = []
        for leaf, part in zip(self.leaves, leaves, strict=True):
            array = np.zeros(leaf.shape) if part is None else np.asarray(part)
            if array.shape != leaf.shape:
                self.bad = True
                raise BadGradient
            parts.append(array.ravel())
        return np.array(np.concatenate(parts), dtype=self.dtype)

    def projected(self) -> tuple[Callable[[Any], float], Callable[[Any], Any]]:
        """A function of one number and its claimed gradient: f itself, or v.f with a random v."""
        size = sum(np.size(leaf) for leaf in self.out_leaves)
        v = np.ones(()) if self.scalar else np.random.default_rng(0).uniform(0.5, 1.5, size)
        return (
            lambda x: float(np.sum(v * self.value(np.asarray(x, dtype=self.dtype)))),
            lambda x: self.forward(np.asarray(x, dtype=self.dtype))(v.astype(self.out_dtype)),
        )


# --- the peers: each says whether it accepts the gradient -------------------------------------------------------------


def scipy_check_grad(flat: Flat) -> bool:
    """scipy.optimize.check_grad."""
    optimize = importlib.import_module("scipy.optimize")
    f, g = flat.projected()
    size = float(np.linalg.norm(g(flat.x)))
    return bool(optimize.check_grad(f, g, flat.x.astype(float)) <= 1e-5 * max(1.0, size))


def numdifftools_gradient(flat: Flat) -> bool:
    """numdifftools.Gradient with its own estimate of the error."""
    nd = importlib.import_module("numdifftools")
    f, g = flat.projected()
    result = nd.Gradient(f, full_output=True)(flat.x.astype(float))
    # The estimates come as fields beside the value, or (before version 0.10) as the second of a pair.
    told = result if hasattr(result, "error_estimate") else result[1]
    value, error = np.ravel(result[0]), np.ravel(told.error_estimate)
    return bool(np.all(np.abs(value - g(flat.x)) <= 1e-5 * np.abs(value) + 2 * error))


def autograd_check_grads(flat: Flat) -> bool:
    """autograd.test_util.check_grads, reverse mode, first order."""
    extend, util = importlib.import_module("autograd.extend"), importlib.import_module("autograd.test_util")

    def pulled(_answer: Any, x: Any) -> Callable[[Any], Any]:
        return flat.forward(x)

    f = extend.primitive(flat.value)
    extend.defvjp(f, pulled)
    try:
        util.check_grads(f, modes=["rev"], order=1)(flat.x)
    except AssertionError:
        return False
    return True


def _torch_gradcheck(flat: Flat, fast: bool) -> bool:
    torch = importlib.import_module("torch")

    def forward(ctx: Any, x: Any) -> Any:
        ctx.pull = flat.forward(x.detach().numpy())
        return torch.from_numpy(np.array(flat.value(x.detach().numpy())))

    def backward(ctx: Any, v: Any) -> Any:
        return torch.from_numpy(np.array(ctx.pull(v.detach().numpy())))

    kind = type("Claimed", (torch.autograd.Function,), {
        "forward": staticmethod(forward), "backward": staticmethod(backward),
    })  # fmt: skip
    x = torch.from_numpy(flat.x.copy()).requires_grad_()
    return bool(torch.autograd.gradcheck(kind.apply, (x,), fast_mode=fast, raise_exception=False))


def torch_slow(flat: Flat) -> bool:
    """torch.autograd.gradcheck."""
    return _torch_gradcheck(flat, fast=False)


def torch_fast(flat: Flat) -> bool:
    """torch.autograd.gradcheck, fast_mode=True."""
    return _torch_gradcheck(flat, fast=True)


def jax_check_grads(flat: Flat) -> bool:
    """jax.test_util.check_grads, reverse mode, first order, 64 bits."""
    jax = importlib.import_module("jax")
    util = importlib.import_module("jax.test_util")
    jax.config.update("jax_enable_x64", True)
    like = np.asarray(flat.value(flat.x))
    shape, back = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (like, flat.x))

    @jax.custom_vjp
    def f(x: Any) -> Any:
        return jax.pure_callback(lambda x: np.asarray(flat.value(np.asarray(x))), shape, x)

    held: list[Callable[[Any], Any]] = []

    def forward(x: Any) -> Any:
        # Outside of jit x is an array: the pullback that belongs to this call is made here and kept, as autograd does.
        held.append(flat.forward(np.asarray(x)))
        return f(x), len(held) - 1

    def backward(number: Any, v: Any) -> Any:
        return (jax.pure_callback(lambda v: np.asarray(held[int(number)](np.asarray(v)), flat.dtype), back, v),)

    f.defvjp(forward, backward)
    try:
        util.check_grads(f, (flat.x,), order=1, modes=["rev"])
    except AssertionError:
        return False
    return True


class Peer(NamedTuple):
    """A checker, the package that it comes in, and how it is asked."""

    name: str
    package: str
    accepts: Callable[[Flat], bool]


PEERS = (
    Peer("scipy check_grad", "scipy", scipy_check_grad),
    Peer("numdifftools Gradient", "numdifftools", numdifftools_gradient),
    Peer("autograd check_grads", "autograd", autograd_check_grads),
    Peer("torch gradcheck", "torch", torch_slow),
    Peer("torch gradcheck, fast", "torch", torch_fast),
    Peer("jax check_grads", "jax", jax_check_grads),
)


class Outcome(NamedTuple):
    """What one checker said of one case: "found", "silent", "false alarm", "accepted", "open" or "not possible"."""

    case: str
    word: str
    calls: int
    seconds: float
    note: str = ""


def ask(peer: Peer, case: Case, is_bug: bool, limit: float) -> Outcome:
    """One case before one peer."""
    began = time.perf_counter()
    flat, note = None, ""
    # autograd and JAX draw their directions from NumPy's global state or a fixed seed: the same table at every run.
    np.random.seed(0)  # noqa: NPY002
    try:
        flat = Flat(case, limit)
        accepted: bool | None = peer.accepts(flat)
    except NotPossible:
        accepted = None
    except Exception as problem:  # noqa: BLE001 - frameworks wrap what the case raised into errors of their own
        accepted = False if flat is not None and flat.bad else None
        note = f" ({type(problem).__name__}: {str(problem).strip().partition(chr(10))[0][:60]})"
    calls = flat.calls if flat is not None else 0
    if accepted is None:
        word = "not possible"
    elif is_bug:
        word = "silent" if accepted else "found"
    else:
        word = "accepted" if accepted else "false alarm"
    return Outcome(case.name, word, calls, time.perf_counter() - began, note if accepted is None else "")


def own(case: Case, is_bug: bool) -> Outcome:
    """One case before chainrule's own check."""
    began = time.perf_counter()
    report = check(case.f, *case.args, **case.options)
    if is_bug:
        word = {"FAIL": "found", "WARN": "found", "INCONCLUSIVE": "open"}.get(report.verdict, "silent")
    else:
        word = {"FAIL": "false alarm", "WARN": "open", "INCONCLUSIVE": "open"}.get(report.verdict, "accepted")
    return Outcome(case.name, word, report.evaluations, time.perf_counter() - began)


def table(rows: dict[str, tuple[list[Outcome], list[Outcome]]]) -> str:
    """The figures of every checker, one line each."""
    head = (
        f"{'':24} {'bugs':>8} {'':>6} {'':>5} {'':>9} | {'right':>8} {'false':>6} {'':>5} {'':>9} | {'evaluations':>11}"
    )
    below = (
        f"{'':24} {'found':>8} {'silent':>6} {'open':>5} {'not poss.':>9} |"
        f" {'accepted':>8} {'alarm':>6} {'open':>5} {'not poss.':>9} | {'median':>11} {'seconds':>8}"
    )
    lines = [head, below]
    for name, (bugs, right) in rows.items():
        b, r = Counter(o.word for o in bugs), Counter(o.word for o in right)
        done = [o.calls for o in bugs + right if o.word != "not possible"]
        lines.append(
            f"{name:24} {b['found']:8} {b['silent']:6} {b['open']:5} {b['not possible']:9} |"
            f" {r['accepted']:8} {r['false alarm']:6} {r['open']:5} {r['not possible']:9} |"
            f" {statistics.median(done) if done else math.nan:11.0f} {sum(o.seconds for o in bugs + right):8.1f}"
        )
    return "\n".join(lines)


def _installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run them all; 1 if chainrule's own check was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", action="store_true", help="name the cases that were not told right")
    parser.add_argument("--only", default="", metavar="TEXT", help="checkers whose name contains this")
    parser.add_argument("--limit", type=float, default=4.0, help="seconds for one case before one peer")
    options = parser.parse_args(argv)
    rows: dict[str, tuple[list[Outcome], list[Outcome]]] = {}
    missing = {peer.package for peer in PEERS if not _installed(peer.package)}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for peer in PEERS:
            if options.only not in peer.name or peer.package in missing:
                continue
            rows[peer.name] = (
                [ask(peer, case, True, options.limit) for case in BUGS],
                [ask(peer, case, False, options.limit) for case in HARD],
            )
        if options.only in "chainrule check":
            rows["chainrule check"] = ([own(case, True) for case in BUGS], [own(case, False) for case in HARD])
    print(f"{len(BUGS)} bugs, {len(HARD)} right functions that are hard to difference\n")
    print(table(rows))
    print(f"\n{CAPTION}")
    shown = sorted({peer.package for peer in PEERS} - missing)
    print("\n" + ", ".join(f"{package} {importlib.metadata.version(package)}" for package in shown))
    if missing:
        print(f"not installed: {', '.join(sorted(missing))}")
    if options.names:
        for name, outcomes in rows.items():
            for word in ("silent", "false alarm", "open", "not possible"):
                cases = [o.case + o.note for o in outcomes[0] + outcomes[1] if o.word == word]
                if cases:
                    print(f"\n{name}, {word}: {'; '.join(cases)}")
    mine = rows.get("chainrule check")
    return int(mine is not None and any(o.word in ("silent", "false alarm") for o in mine[0] + mine[1]))


if __name__ == "__main__":
    sys.exit(main())
