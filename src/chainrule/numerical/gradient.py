"""A function and a point -> its gradient, Jacobian or directional derivative by differences, with honest bounds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.containers import unflatten
from chainrule.errors import ArgumentError, ShapeError
from chainrule.numerical.evaluate import Evaluator
from chainrule.numerical.line import Line, Lines, Noise, differentiate, measure_noise
from chainrule.numerical.point import FloatArray, Point, spread
from chainrule.numerical.result import Derivative
from chainrule.numerical.shortcut import complex_step, one_difference_each

__all__ = ["MODES", "derivative", "directions", "grad", "jacobian", "jvp", "prepare"]

MODES = ("accurate", "economic", "forward", "complex")
_TRACED = 64  # lines whose history is kept in the result

Workers = int | Callable[..., Iterable[Any]] | None


def directions(point: Point, number: int, rng: np.random.Generator) -> list[FloatArray]:
    """Random directions sign x {8..15}/8 x scale: no small entry, exact steps, provable anti-concentration."""
    return [
        rng.choice([-1.0, 1.0], point.size) * rng.integers(8, 16, point.size) / 8.0 * point.scale for _ in range(number)
    ]


def prepare(
    f: Callable[[Any], Any],
    x: Any,
    *,
    scale: Any,
    bounds: Any,
    budget: int | None,
    workers: Workers,
    batched: bool,
    progress: bool | None,
) -> tuple[Point, Evaluator]:
    """The flat point and the counting evaluator of ``f``, with every argument examined."""
    if not callable(f):
        raise ArgumentError(
            f"f is a {type(f).__name__}, not a function", cure="pass the function first, then the point"
        )
    if budget is not None and budget < 2:
        raise ArgumentError(
            f"budget={budget}: no difference without two evaluations", cure="give a budget of 8 or more"
        )
    point = Point(x, scale=scale)
    limits = None
    if bounds is not None:
        try:
            low, high = bounds
        except (TypeError, ValueError):
            raise ArgumentError(
                "bounds is not a pair (low, high)", cure="bounds=(0, np.inf), or two containers"
            ) from None
        limits = (spread(low, point, "the lower bound"), spread(high, point, "the upper bound"))
        point.x = np.clip(point.x, *limits)
        outside = (point.given < limits[0]) | (point.given > limits[1])
        if bool(outside.any()):
            raise ArgumentError(
                f"{point.name(int(np.argmax(outside)))} is outside its bounds", cure="start from a point inside"
            )
    evaluator = Evaluator(f, point, budget=budget, bounds=limits, workers=workers, batched=batched, progress=progress)
    return point, evaluator


def _unit_lines(point: Point) -> list[Line]:
    return [Line(point.scale[i : i + 1], np.array([i])) for i in range(point.size)]


def _probe(point: Point, evaluator: Evaluator, seed: int) -> tuple[Line, Noise]:
    line = Line(directions(point, 1, np.random.default_rng(seed))[0])
    return line, measure_noise(evaluator, point.x, line)


def _measure(
    point: Point,
    evaluator: Evaluator,
    mode: str,
    seed: int,
    relative: float,
    lines: list[Line] | None = None,
) -> tuple[Lines, str, tuple[str, ...]]:
    """The derivative along each line (each entry, if none are given) in the mode asked for, or one that can be had."""
    if mode not in MODES:
        raise ArgumentError(f"mode={mode!r} is not a mode", cure=f"choose one of {', '.join(MODES)}")
    chosen = lines if lines is not None else _unit_lines(point)
    if not chosen or evaluator.y0.size == 0:
        empty = differentiate(evaluator, point.x, chosen, Noise.assumed(np.zeros(evaluator.y0.size)))
        return empty, mode, ()
    remarks: list[str] = []
    number = len(chosen)
    if not np.isfinite(evaluator.y0).all():
        remarks.append("f is not finite at x")
        noise = Noise.assumed(np.zeros(evaluator.y0.size))
        evaluator.stopped = evaluator.stopped or "nan"
        return differentiate(evaluator, point.x, chosen, noise), mode, tuple(remarks)
    if mode == "complex":
        evaluator.expected = evaluator.count + number + 40
        answer = complex_step(point, evaluator, chosen, seed)
        if not isinstance(answer, str):
            return answer, mode, ()
        remarks.append(f"the complex step was refused ({answer}); differences of real points are used instead")
        mode = "accurate"
    left = evaluator.left
    if mode == "accurate" and left < 6 * number + 18:
        mode = "economic" if left >= 2 * number + 66 else "forward" if left >= number + 66 else "plain"
        remarks.append(f"a budget of {evaluator.budget} evaluations is too small for bounds by entry: mode {mode}")
    if mode == "plain":
        return _plain(point, evaluator, chosen, remarks)
    _, noise = _probe(point, evaluator, seed)
    if mode in ("economic", "forward"):
        evaluator.expected = evaluator.count + (2 if mode == "economic" else 1) * number + 24
        quick = one_difference_each(point, evaluator, chosen, noise, mode == "economic", seed)
        if not isinstance(quick, str):
            return quick, mode, tuple(remarks)
        remarks.append(f"mode {mode} was refused: {quick}")
        if evaluator.left < 6 * number:
            return _plain(point, evaluator, chosen, remarks)
        mode = "accurate"
    evaluator.expected = evaluator.count + 6 * number
    return differentiate(evaluator, point.x, chosen, noise, relative=relative), mode, tuple(remarks)


def _plain(
    point: Point, evaluator: Evaluator, lines: list[Line], remarks: list[str]
) -> tuple[Lines, str, tuple[str, ...]]:
    """One difference for each line and no measured noise: all that a very small budget allows."""
    left = evaluator.left
    if left < len(lines):
        raise ArgumentError(
            f"a budget of {evaluator.budget} evaluations can not give {len(lines)} derivatives",
            cure=f"give at least budget={len(lines) + 1}, or ask for one direction with jvp",
        )
    central = left >= 2 * len(lines)
    h = 2.0**-17 if evaluator.eps < 1e-10 else 2.0**-8
    signs = (1.0, -1.0) if central else (1.0,)
    values, done = evaluator.many(
        len(lines) * len(signs), lambda k: lines[k // len(signs)].at(point.x, signs[k % len(signs)] * h)
    )
    values = values.reshape(len(lines), len(signs), -1)
    noise = Noise.assumed(np.full(evaluator.y0.size, evaluator.eps))
    out = differentiate(evaluator, point.x, [], noise)
    out = Lines(**{
        key: np.full((len(lines), evaluator.y0.size), fill)
        for key, fill in (
            ("value", np.nan), ("error", np.inf), ("noise", np.nan), ("truncation", np.nan), ("step", h),
            ("order", 2 if central else 1), ("status", "unresolved"), ("left", np.nan), ("right", np.nan),
            ("second_order", False),
        )
    }, done=np.asarray(done.reshape(len(lines), len(signs)).all(axis=1)), trace=out.trace)  # fmt: skip
    with np.errstate(all="ignore"):
        out.value = (values[:, 0] - (values[:, 1] if central else evaluator.y0)) / (2 * h if central else h)
    remarks.append("differences of one step each: no error bound could be measured")
    return out, "plain", tuple(remarks)


def _per_unit(lines: Lines, length: FloatArray) -> Lines:
    """From slopes per step of a line to slopes per unit of x."""
    wide = length[:, None]
    for name in ("value", "error", "noise", "truncation", "left", "right"):
        setattr(lines, name, getattr(lines, name) / wide)
    lines.step = lines.step * wide
    return lines


def _result(
    lines: Lines,
    arrange: Callable[[npt.NDArray[Any]], Any],
    evaluator: Evaluator,
    mode: str,
    remarks: Iterable[str],
) -> Derivative:
    if evaluator.stopped in ("budget", "interrupt"):
        missing = int(np.sum(~lines.done))
        why = "the budget was spent" if evaluator.stopped == "budget" else "interrupted"
        remarks = (*remarks, f"{why}: {missing} of {len(lines.done)} lines were not computed and are nan")
    evaluator.close()
    return Derivative(
        value=arrange(lines.value),
        error=arrange(lines.error),
        noise=arrange(lines.noise),
        step=arrange(lines.step),
        order=arrange(lines.order),
        status=arrange(lines.status),
        one_sided=(arrange(lines.left), arrange(lines.right)),
        evaluations=evaluator.count,
        mode=mode,
        stopped="" if evaluator.stopped == "nan" else evaluator.stopped,
        remarks=tuple(remarks),
        trace=tuple(lines.trace[:_TRACED]),
    )


def grad(
    f: Callable[[Any], Any],
    x: Any,
    *,
    mode: str = "accurate",
    scale: Any = None,
    bounds: Any = None,
    budget: int | None = None,
    relative: float = 1e-6,
    workers: Workers = None,
    batched: bool = False,
    progress: bool | None = None,
    seed: int = 0,
) -> Derivative:
    """The gradient of a scalar function at ``x`` by differences, entry by entry.

    ``x`` is a float, an array or a nested container of them; ``value``, ``error``, ``status``, ... of the result have
    its shape. Modes: ``accurate`` (6 N + 19 evaluations, a bound by entry), ``economic`` (2 N + 43) and ``forward``
    (N + 43), both verified by directional derivatives, ``complex`` (N + 1 and two certificates; f must accept complex
    numbers). ``scale`` is the size of a typical change of each entry, ``bounds=(low, high)`` is never left,
    ``budget`` never exceeded. ``workers`` is a number of processes or a map-like callable, ``batched=True`` says that
    f takes a leading axis. ``KeyboardInterrupt`` ends the run and keeps what was computed.

    Raises ``ArgumentError`` for a point that holds no real numbers, ``ShapeError`` for a function that is not scalar.

    Sources: Richardson (1911); Moré and Wild (2011) for the noise; Squire and Trapp (1998) for the complex step.

    >>> import numpy as np
    >>> g = grad(lambda p: np.sum(p["a"] ** 3) + p["b"], {"a": np.array([1.0, 2.0]), "b": 5.0})
    >>> np.round(g.value["a"], 9), round(g.value["b"], 9), g.ok
    (array([ 3., 12.]), 1.0, True)
    """
    point, evaluator = prepare(
        f, x, scale=scale, bounds=bounds, budget=budget, workers=workers, batched=batched, progress=progress
    )
    if evaluator.y0.size != 1:
        raise ShapeError(
            f"f returned {evaluator.y0.size} numbers, and a gradient is that of one",
            cure="sum the output inside f, or ask for numerical.jacobian",
        )
    lines, mode, remarks = _measure(point, evaluator, mode, seed, relative)
    lines = _per_unit(lines, point.scale)
    return _result(lines, lambda a: point.arrange(a[:, 0]), evaluator, mode, remarks)


def derivative(
    f: Callable[[Any], Any], x: float, *, order: int = 1, args: tuple[Any, ...] = (), **options: Any
) -> Derivative:
    """The first or second derivative of a function of one number; f may return a number, an array or a container.

    Options are those of :func:`grad`. Raises ``ArgumentError`` for another order.

    >>> import math
    >>> d = derivative(math.sin, 1.0)
    >>> abs(d.value - math.cos(1.0)) <= d.error < 1e-9, d.status
    (True, 'ok')
    """
    if order not in (1, 2):
        raise ArgumentError(f"order={order}", cure="order is 1 or 2")
    if np.ndim(x) != 0:
        raise ShapeError(f"x has shape {np.shape(x)}, not one number", cure="use numerical.grad or numerical.jacobian")
    if isinstance(x, int) and not isinstance(x, bool):
        x = float(x)
    function = functools.partial(_with_arguments, f, args) if args else f
    options.setdefault("relative", 1e-10)
    if order == 1:
        return jacobian(function, x, **options)
    mode = options.pop("mode", "accurate")
    if mode != "accurate":
        raise ArgumentError(f"mode={mode!r} has no second derivative", cure="leave mode out")
    seed, relative = options.pop("seed", 0), options.pop("relative")
    keys = ("scale", "bounds", "budget", "workers", "progress")
    point, evaluator = prepare(
        function, x, batched=options.pop("batched", False), **{k: options.pop(k, None) for k in keys}
    )
    if options:
        raise ArgumentError(f"unknown options: {', '.join(options)}")
    _, noise = _probe(point, evaluator, seed)
    lines = differentiate(evaluator, point.x, [Line(point.scale)], noise, relative=relative, kind="second")
    factor = np.array([point.scale[0] ** 2])
    step = lines.step * point.scale[0]
    lines = _per_unit(lines, factor)
    lines.step = step
    return _result(lines, lambda a: _arrange_output(evaluator, a[0]), evaluator, mode, ())


def _with_arguments(f: Callable[..., Any], args: tuple[Any, ...], x: Any) -> Any:
    return f(x, *args)


def _arrange_output(evaluator: Evaluator, flat: npt.NDArray[Any]) -> Any:
    leaves: list[Any] = []
    start = 0
    for shape in evaluator.shapes:
        width = int(np.prod(shape))
        part = flat[start : start + width].reshape(shape)
        leaves.append(part.item() if part.ndim == 0 else part)
        start += width
    return unflatten(evaluator.structure, leaves)


def _arrange_matrix(evaluator: Evaluator, point: Point, matrix: npt.NDArray[Any]) -> Any:
    """Rows by the output container, and in each of its places the container of the input."""
    leaves: list[Any] = []
    start = 0
    for shape in evaluator.shapes:
        width = int(np.prod(shape))
        leaves.append(point.arrange(matrix[start : start + width], shape))
        start += width
    return unflatten(evaluator.structure, leaves)


def jacobian(
    f: Callable[[Any], Any],
    x: Any,
    *,
    sparsity: Any = None,
    mode: str = "accurate",
    scale: Any = None,
    bounds: Any = None,
    budget: int | None = None,
    relative: float = 1e-6,
    workers: Workers = None,
    batched: bool = False,
    progress: bool | None = None,
    seed: int = 0,
) -> Derivative:
    """All partial derivatives of a function of arrays (or containers), shape ``output.shape + input.shape``.

    ``sparsity`` is a boolean matrix (outputs by inputs, both flat): columns that share no row are moved together, so a
    banded Jacobian costs a few lines whatever its size. Other options as in :func:`grad`.

    Source of the colouring: A. Curtis, M. Powell and J. Reid (1974).

    >>> import numpy as np
    >>> j = jacobian(lambda x: np.array([x[0] * x[1], x[1] ** 2]), np.array([2.0, 3.0]))
    >>> np.round(j.value, 9)
    array([[3., 2.],
           [0., 6.]])
    """
    from chainrule.numerical.colouring import colour, spread_columns

    point, evaluator = prepare(
        f, x, scale=scale, bounds=bounds, budget=budget, workers=workers, batched=batched, progress=progress
    )
    if sparsity is None:
        lines, mode, remarks = _measure(point, evaluator, mode, seed, relative)
        lines = _per_unit(lines, point.scale)
    else:
        pattern = np.asarray(sparsity, dtype=bool)
        if pattern.shape != (evaluator.y0.size, point.size):
            raise ShapeError(
                f"the pattern has shape {pattern.shape}, the Jacobian ({evaluator.y0.size}, {point.size})",
                cure="sparsity is a boolean matrix of flat outputs by flat inputs",
            )
        groups = colour(pattern)
        grouped = [Line(point.scale[group], group) for group in groups]
        few, mode, remarks = _measure(point, evaluator, mode, seed, relative, grouped)
        lines = _per_unit(spread_columns(few, groups, pattern), point.scale)
    return _result(lines, lambda a: _arrange_matrix(evaluator, point, a.T), evaluator, mode, remarks)


def jvp(
    f: Callable[[Any], Any],
    x: Any,
    direction: Any,
    *,
    scale: Any = None,
    bounds: Any = None,
    budget: int | None = None,
    relative: float = 1e-9,
    workers: Workers = None,
    batched: bool = False,
    progress: bool | None = None,
) -> Derivative:
    """The derivative of ``f`` along one direction (a container like ``x``): about 20 evaluations whatever the size.

    >>> import numpy as np
    >>> d = jvp(lambda x: x @ x, np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    >>> round(d.value, 9)
    -2.0
    """
    point, evaluator = prepare(
        f, x, scale=scale, bounds=bounds, budget=budget, workers=workers, batched=batched, progress=progress
    )
    along = spread(direction, point, "the direction")
    if not np.isfinite(along).all():
        raise ArgumentError("the direction is not finite")
    if not along.any():
        noise = Noise.assumed(np.zeros(evaluator.y0.size))
        lines = differentiate(evaluator, point.x, [Line(np.zeros(point.size))], noise)
        return _result(lines, lambda a: _arrange_output(evaluator, a[0]), evaluator, "accurate", ())
    length = 2.0 ** -np.floor(np.log2(np.max(np.abs(along) / point.scale)))
    line = Line(along * length)
    if evaluator.left < 25:
        noise = Noise.assumed(0.29 * evaluator.eps * np.abs(evaluator.y0))
    else:
        noise = measure_noise(evaluator, point.x, line)
    lines = differentiate(evaluator, point.x, [line], noise, relative=relative)
    lines = _per_unit(lines, np.array([length]))
    return _result(lines, lambda a: _arrange_output(evaluator, a[0]), evaluator, "accurate", ())
