"""A function, a point and a claimed gradient -> a Report with one of five verdicts and its reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.check.adapters import Adapted, adapt, check_operator, gradient_in, is_operator, of_objective
from chainrule.check.branches import Branches
from chainrule.check.claim import Claim, ClaimProblem, selected_point
from chainrule.check.judgement import Judgement, judge
from chainrule.check.localise import blame
from chainrule.check.report import Report
from chainrule.check.steps import Chain
from chainrule.check.structural import Finding, examine
from chainrule.errors import ArgumentError, ChainruleError, ShapeError
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.point import FloatArray, Point, flatten_numbers, spread
from chainrule.provider import Provider, default_provider, default_taped

__all__ = ["check"]


def check(
    f: Any,
    *args: Any,
    argnums: int | Sequence[int] = 0,
    grad: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    value_and_pullback: Callable[..., Any] | None = None,
    steps: Sequence[Any] | None = None,
    backend: str | None = None,
    jac: Any = None,
    rtol: float | None = None,
    budget: int | None = None,
    seed: int = 0,
    elementwise: bool | None = None,
    order: int = 1,
    reference: Callable[..., Any] | None = None,
    scale: Any = None,
    bounds: Any = None,
    snap: bool = True,
    probes: bool = True,
    freeze_rng: bool = False,
    thorough: bool = False,
    workers: int | Callable[..., Iterable[Any]] | None = None,
    progress: bool | None = None,
) -> Report:
    """Holds a claimed gradient of ``f`` at ``args`` against differences of f, and says what it would have seen.

    The claim is ``grad(*args)`` (for a scalar f), ``vjp(*args, v)``, ``jvp(*args, t)`` or
    ``value_and_pullback(*args) -> (y, pullback)``; without any of them the registered backend's. Gradients have the
    container of the selected argument (a tuple of them where ``argnums`` is a sequence). ``rtol`` is the smallest
    error of an entry that matters, relative (1e-5; 2e-3 for float32 that is not lifted to float64; 5e-2 for float16).
    About 100 evaluations of f whatever the number of entries; every entry is measured where there are at most 64
    (``elementwise=True``: always). ``order=2`` checks the derivative of the gradient and its symmetry. ``reference``
    is a float64 version of f. ``freeze_rng=True`` puts the global random state to the seed before every call.
    ``budget`` bounds the evaluations of f: 8 still give a verdict with the resolution it has. ``thorough=True`` spends
    more: every entry, three times as many directions, and eight other points instead of two.

    ``backend="torch"``, ``"jax"`` or ``"autograd"``: f is a function of that framework (an ``nn.Module``, whose
    parameters are checked too, an ``autograd.Function``, a ``custom_vjp`` ...), and the claim is what the framework
    makes of it; arguments are its arrays or NumPy's. ``jac=True``: f returns (value, gradient), as for SciPy's
    ``minimize``; ``jac=function``: the gradient, or the Jacobian of a function of several numbers. A linear operator
    (``matvec`` and ``rmatvec``, or a pair of functions and an x) is held against its own adjoint: ``check(operator)``.

    ``steps=[(name, forward, backward), ...]`` is a gradient written step by step: ``backward(*inputs, g)`` gives the
    adjoint of each input of ``forward(*inputs)``; or ``(name, forward)``, where ``forward(*inputs)`` returns
    ``(result, pullback)``; a last element ``"h, w -> z"`` says what is read and written. ``f=None`` is then their
    composition. Where the steps of a wrong gradient can be seen (these, chainrule's own, PyTorch's, JAX's),
    ``report.steps`` says which are at fault, with their shares of the mismatch.

    Raises ``ArgumentError`` where the question itself makes no sense; what is wrong with f or with the gradient is in
    the report.

    Sources: Moré and Wild (2011) for the noise; Richardson (1911); the verdicts, directions and the splitting of a
    mismatch over the steps are this library's own.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> report = check(lambda x: np.sum(x**3), x, grad=lambda x: 3 * x**2)
    >>> report.verdict, report.resolution < 1e-8
    ('PASS', True)
    >>> wrong = check(lambda x: np.sum(x**3), x, grad=lambda x: 1.5 * x**2)
    >>> wrong.verdict, wrong.pattern
    ('FAIL', 'the claimed array is 0.5 x the true one in 3 of 3 sampled entries: a missing factor 2?')
    >>> steps = [("sin", np.sin, lambda x, g: g * np.cos(x)), ("cube", lambda a: a**3, lambda a, g: g * a**2)]
    >>> [(row["step"], round(row["share"], 6)) for row in check(None, x, steps=steps).steps]
    [('cube', 1.0)]
    """
    began = time.perf_counter()
    branches = Branches(f)
    claims = {"grad": grad, "vjp": vjp, "jvp": jvp, "value_and_pullback": value_and_pullback}
    if backend is None and jac is None and not any(map(callable, claims.values())) and is_operator(f):
        return check_operator(f, args, rtol=rtol, seed=seed)
    chain = None
    if steps is not None:
        if backend is not None or jac is not None or order != 1:
            raise ArgumentError("steps= is for a gradient of NumPy arrays", cure="pass f, the point and steps=")
        chain = Chain(steps, f, args)
        f = chain.function() if f is None else f
    if not callable(f):
        raise ArgumentError(f"f is a {type(f).__name__}, not a function", cure="check(f, *args, grad=...)")
    if not args:
        raise ArgumentError("check was given no point", cure="check(f, *args): the arguments at which f is checked")
    if rtol is not None and not 0 < rtol < np.inf:
        raise ArgumentError(f"rtol={rtol}", cure="rtol is the smallest relative error that matters: a positive number")
    if budget is not None and budget < 1:
        raise ArgumentError(f"budget={budget}", cure="budget is a number of evaluations of f; 8 give a first verdict")
    if order == 1 and sum(callable(claims[k]) for k in ("grad", "vjp", "value_and_pullback")) > 1:
        raise ArgumentError(
            "two gradients were claimed", cure="pass one of grad=, vjp= and value_and_pullback=; check each by itself"
        )
    if order not in (1, 2):
        raise ArgumentError(f"order={order}", cure="order is 1 or 2")
    if (backend is not None) + (jac is not None) + any(map(callable, claims.values())) > 1 and not (
        jac is not None and backend is None and order == 2
    ):
        raise ArgumentError(
            "more than one claim was given", cure="pass one of backend=, jac= and grad= (or vjp=, jvp=)"
        )
    given = [f"{k}={_called(v)}" for k, v in claims.items() if v is not None and order == 1]
    given += [f"backend={backend!r}"] if backend is not None else []
    given += [f"jac={jac if jac is True else _called(jac)}"] if jac is not None else []
    given += ["steps=steps"] if steps is not None else []
    if jac is not None:
        f, claimed = of_objective(f, args, argnums, jac)
        claims.update(claimed)
    adapted: Adapted | None = None
    provider: Provider | None = None
    if backend is not None:
        if order == 2:
            if not isinstance(argnums, int):
                raise ArgumentError("order=2 takes one argument", cure="put the arguments into one container")
            f = gradient_in(backend, f, argnums)
        adapted = adapt(backend, f, args, argnums, seed if freeze_rng else None)
        f, args, argnums, provider = adapted.f, adapted.args, adapted.argnums, adapted.provider
    elif order == 2:
        f, claims = _second_order(f, claims, argnums)
    taped = adapted.taped if adapted is not None else chain.tape if chain is not None else None
    if chain is not None and not any(map(callable, claims.values())):
        claims["value_and_pullback"] = chain.claim(argnums)
    if provider is None and not any(callable(c) for c in claims.values()):
        provider, taped = default_provider(), default_taped()
        if provider is None:
            raise ArgumentError(
                "no gradient was given and no backend is registered",
                cure="pass grad=, vjp=, jvp= or value_and_pullback=",
            )
    point, numbers = selected_point(f, args, argnums, scale, snap)
    claim = Claim(f, args, numbers, point, **claims, provider=provider, rng_seed=seed if freeze_rng else None)
    report = Report("INCONCLUSIVE", "", seed=seed)
    judgement: Judgement | None = None
    try:
        judgement = _run(
            report,
            claim,
            point,
            reference,
            rtol,
            budget,
            seed,
            elementwise,
            bounds,
            probes,
            workers,
            progress,
            order,
            adapted,
            branches,
            thorough,
        )
    except ClaimProblem as problem:
        report.verdict, report.sentence = "FAIL", f"{problem}."
    except ShapeError as problem:
        report.verdict, report.sentence = "INCONCLUSIVE", f"{problem.what}."
    if taped is not None and report.verdict in ("FAIL", "WARN"):
        blame(report, claim, point, judgement, taped, np.inf if budget is None else budget - report.evaluations)
    report.calls = claim.calls
    report.notes += [r for r in (*claim.remarks, *branches.sentences()) if r not in report.notes]
    report.seconds = time.perf_counter() - began
    if adapted is not None:
        adapted.tell(report)
    extra = [*given, *([f"order={order}"] if order != 1 else []), *([f"rtol={rtol}"] if rtol else [])]
    report.reproduce = f"check({', '.join([_called(f), '*args', *extra, f'seed={seed}'])})"
    return report


def _called(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _second_order(
    f: Callable[..., Any], claims: dict[str, Any], argnums: int | Sequence[int]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The gradient as the function, and its derivative as the claim."""
    if not isinstance(argnums, int):
        raise ArgumentError("order=2 takes one argument", cure="put the arguments into one container")
    if claims["grad"] is not None:
        if claims["vjp"] is None and claims["jvp"] is None and default_provider() is None:
            raise ArgumentError(
                "order=2 with grad= needs the product with the Hessian", cure="pass vjp=hvp (hvp(x, v))"
            )
        return claims["grad"], {**claims, "grad": None}
    if default_provider() is None:
        raise ArgumentError("order=2 needs grad= and vjp=hvp, or a registered backend")
    provider = default_provider()
    assert provider is not None

    def gradient(*args: Any) -> Any:
        y, pullback = provider(f, args, argnums)
        return pullback(np.ones(np.shape(y)) if np.shape(y) else 1.0)

    gradient.__name__ = f"gradient of {_called(f)}"
    return gradient, {**claims, "vjp": None, "jvp": None, "value_and_pullback": None}


def _evaluator(
    claim: Claim, point: Point, bounds: Any, budget: int | None, workers: Any, progress: bool | None
) -> Evaluator:
    limits = None
    if bounds is not None:
        if not isinstance(bounds, tuple | list) or len(bounds) != 2:
            raise ArgumentError(f"bounds is a {type(bounds).__name__}", cure="bounds=(low, high): numbers, or like x")
        limits = (spread(bounds[0], point, "the lower bound"), spread(bounds[1], point, "the upper bound"))
        outside = (point.given < limits[0]) | (point.given > limits[1])
        if outside.any():
            k = int(np.argmax(outside))
            room = f"{limits[0][k]:.9g} to {limits[1][k]:.9g}"
            raise ArgumentError(
                f"{point.name(k)} = {point.given[k]:.9g} is outside its bounds, {room}",
                cure="check at a point that is inside",
            )
        point.x = np.clip(point.x, *limits)
    return Evaluator(claim.neighbour, point, bounds=limits, budget=budget, workers=workers, progress=progress)


def _run(
    report: Report,
    claim: Claim,
    point: Point,
    reference: Callable[..., Any] | None,
    rtol: float | None,
    budget: int | None,
    seed: int,
    elementwise: bool | None,
    bounds: Any,
    probes: bool,
    workers: Any,
    progress: bool | None,
    order: int,
    adapted: Adapted | None,
    branches: Branches,
    thorough: bool,
) -> Judgement | None:
    rng = np.random.default_rng(seed)
    tree = point.build(point.x)
    try:
        with np.errstate(all="ignore"), branches.watching(at_x=True):
            out = claim.value(tree)
    except ChainruleError:
        raise
    except Exception as problem:  # noqa: BLE001 - the user's function may raise anything; that is the finding
        report.sentence = f"f raises {type(problem).__name__} at this point: {problem}."
        return None
    if out is None:
        report.sentence = "f returns None: does it lack a return statement?"
        return None
    wrote = not np.array_equal(_flat(tree), point.x, equal_nan=True)
    if wrote:
        report.notes.append("f writes to its input; it is given a fresh copy at every call")
    try:
        evaluator = _evaluator(claim, point, bounds, budget, workers, progress)
    except ArgumentError as problem:
        if bounds is not None and "bound" in problem.what:
            raise
        report.sentence = f"{problem.what}."
        return None
    evaluator.count += 1
    claim.learn_output(out)
    first = flatten_numbers(out, lambda w: f"f returned {w}")[0]
    y = evaluator.y0
    if y.size == 0 or point.size == 0:
        report.verdict = "PASS"
        report.sentence = f"nothing to compare: {'the input' if point.size == 0 else 'the output'} of f is empty."
        report.evaluations = evaluator.count
        return None
    if first.size != y.size:
        report.sentence = f"f returns {first.size} numbers at the first call and {y.size} at the second."
        return None
    if not np.isfinite(y).all():
        bad = int(np.argmin(np.isfinite(y)))
        report.sentence = f"f is {y[bad]} at this point: there is no derivative to compare with."
        report.evaluations = evaluator.count
        return None
    deterministic = bool(np.array_equal(first, y))
    if not deterministic:
        change = float(np.max(np.abs(first - y)) / max(np.max(np.abs(y)), 1e-300))
        report.notes.append(
            f"f is random: two calls at the same point differ by {change:.1g} of its value"
            + ("" if claim.rng_seed is not None else " (freeze_rng=True repeats the global random state)")
        )
    if claim.grad is not None and y.size != 1:
        raise ClaimProblem(f"grad= is for a function of one number, and f returns {y.size}: pass vjp= or jvp=")
    judgement = _compare(
        report,
        claim,
        point,
        evaluator,
        rng,
        deterministic,
        reference,
        rtol,
        elementwise,
        probes,
        order,
        adapted,
        branches,
        thorough,
    )
    report.evaluations += evaluator.count
    if evaluator.stopped == "interrupt":
        report.notes.append("the check was interrupted: the verdict rests on what had been computed")
    evaluator.close()
    return judgement


def _flat(tree: Any) -> FloatArray:
    return np.asarray(flatten_numbers(tree, lambda w: f"the point holds {w}")[0], dtype=np.float64)


def _compare(
    report: Report,
    claim: Claim,
    point: Point,
    evaluator: Evaluator,
    rng: np.random.Generator,
    deterministic: bool,
    reference: Callable[..., Any] | None,
    rtol: float | None,
    elementwise: bool | None,
    probes: bool,
    order: int,
    adapted: Adapted | None,
    branches: Branches,
    thorough: bool,
) -> Judgement | None:
    eps = evaluator.eps
    pull = None
    findings: list[Finding] = []
    if claim.has_pullback:
        try:
            findings, pull = examine(claim, point.x, evaluator.y0, eps, rng, deterministic)
            if adapted is not None and adapted.eps > eps and any(f.outcome == "fail" for f in findings):
                # A backward pass in a lower precision repeats itself, and is linear, in that precision only.
                findings, pull = examine(claim, point.x, evaluator.y0, adapted.eps, rng, deterministic)
        except (ClaimProblem, ChainruleError):
            raise
        except Exception as problem:  # noqa: BLE001 - whatever the claimed gradient raises is the finding
            report.verdict = "FAIL"
            report.sentence = f"the gradient raises {type(problem).__name__}: {problem}."
            return None
        report.structural = [(f.test, f.outcome, f.sentence) for f in findings]
        if any(f.outcome == "fail" and f.test != "finite" for f in findings):
            report.verdict = "FAIL"
            report.sentence = _sentence_of(findings)
            return None
    judgement = Judgement(
        claim=claim, point=point, evaluator=evaluator, rng=rng, reference=reference, rtol=rtol,
        elementwise=True if thorough else elementwise, probes=probes, order=order, pull=pull, report=report,
        random=not deterministic,
        branches=branches, thorough=thorough,
    )  # fmt: skip
    judge(judgement)
    weak = [f.sentence for f in findings if f.outcome == "warn"]
    if weak and report.verdict in ("PASS", "PASS*"):
        report.verdict, report.sentence = "WARN", f"{'; '.join(weak)}. Beside that, {report.sentence}"
    return judgement


def _sentence_of(findings: list[Finding]) -> str:
    return "; ".join(f.sentence for f in findings if f.outcome == "fail") + "."
