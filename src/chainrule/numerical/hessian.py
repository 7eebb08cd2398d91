"""A scalar function (or its gradient) and a point -> the matrix of second derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.containers import flatten
from chainrule.errors import ArgumentError, ShapeError
from chainrule.numerical.gradient import Workers, directions, prepare
from chainrule.numerical.line import Line, differentiate, measure_noise
from chainrule.numerical.point import FloatArray, flatten_numbers
from chainrule.numerical.result import Derivative

__all__ = ["hessian"]


def hessian(
    f: Callable[[Any], Any],
    x: Any,
    *,
    grad: Callable[[Any], Any] | None = None,
    scale: Any = None,
    bounds: Any = None,
    budget: int | None = None,
    relative: float = 1e-7,
    workers: Workers = None,
    batched: bool = False,
    progress: bool | None = None,
    seed: int = 0,
) -> Derivative:
    """The matrix of second derivatives of a scalar function, shape (N, N) over the flattened point.

    Without ``grad``: second differences along the axes and along their sums, 3 N (N + 1) + 19 evaluations. With
    ``grad`` (a function that returns the gradient in the container of ``x``): first differences of it, 6 N + 19
    evaluations of the gradient, made symmetric; half of the asymmetry is added to the error.

    >>> import numpy as np
    >>> h = hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]))
    >>> np.round(h.value, 6)
    array([[4., 2.],
           [2., 0.]])
    """
    function = f if grad is None else _Flat(grad)
    point, evaluator = prepare(
        function, x, scale=scale, bounds=bounds, budget=budget, workers=workers, batched=batched, progress=progress
    )
    size = point.size
    expected = 1 if grad is None else size
    if evaluator.y0.size != expected:
        raise ShapeError(
            f"{'f' if grad is None else 'grad'} returned {evaluator.y0.size} numbers, not {expected}",
            cure="a Hessian is that of a scalar function; the gradient has the container of x",
        )
    needed = 6 * size if grad is not None else 3 * size * (size + 1)
    if evaluator.left < needed + 18:
        raise ArgumentError(
            f"a budget of {budget} evaluations is too small for a Hessian of {size} variables",
            cure=f"give budget={needed + 19} or more, or pass grad=",
        )
    rng = np.random.default_rng(seed)
    noise = measure_noise(evaluator, point.x, Line(directions(point, 1, rng)[0]))
    evaluator.expected = evaluator.count + needed
    units = [Line(point.scale[i : i + 1], np.array([i])) for i in range(size)]
    area = np.outer(point.scale, point.scale)
    fields: dict[str, Any]
    if grad is not None:
        rows = differentiate(evaluator, point.x, units, noise, relative=relative)
        wide = point.scale[:, None]
        fields = {k: getattr(rows, k) / wide for k in ("value", "error", "noise")}
        gap = np.abs(fields["value"] - fields["value"].T) / 2
        fields["value"] = (fields["value"] + fields["value"].T) / 2
        fields["error"] = np.maximum(fields["error"], fields["error"].T) + gap
        fields.update(step=rows.step * wide, order=rows.order, status=rows.status)
    else:
        pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
        sums = [Line(np.array([point.scale[i], point.scale[j]]), np.array([i, j])) for i, j in pairs]
        rows = differentiate(evaluator, point.x, units + sums, noise, relative=relative, kind="second")
        fields = _polarised(rows, pairs, size, area)
    evaluator.close()
    return Derivative(
        **fields, one_sided=(fields["value"], fields["value"]), evaluations=evaluator.count,
        mode="accurate", stopped=evaluator.stopped, trace=tuple(rows.trace[:64]),
    )  # fmt: skip


def _polarised(rows: Any, pairs: list[tuple[int, int]], size: int, area: FloatArray) -> dict[str, Any]:
    """Mixed derivatives from those along sums: d_ij = (d_(i+j) - d_i - d_j) / 2."""
    fields: dict[str, Any] = {}
    for name in ("value", "error", "noise", "step", "order", "status"):
        column = getattr(rows, name)[:, 0]
        matrix = np.zeros((size, size), dtype=column.dtype)
        matrix[np.diag_indices(size)] = column[:size]
        for place, (i, j) in enumerate(pairs):
            mixed = column[size + place]
            if name == "value":
                mixed = (mixed - column[i] - column[j]) / 2
            elif name in ("error", "noise"):
                mixed = (mixed + column[i] + column[j]) / 2
            elif name == "status" and mixed == "ok":
                mixed = column[i] if column[i] != "ok" else column[j]
            matrix[i, j] = matrix[j, i] = mixed
        if name in ("value", "error", "noise"):
            matrix = matrix / area
        elif name == "step":
            matrix = matrix * np.sqrt(area)
        fields[name] = matrix
    return fields


class _Flat:
    """A gradient function whose container becomes one vector; a class, so that it can be sent to other processes."""

    def __init__(self, grad: Callable[[Any], Any]) -> None:
        self.grad = grad

    def __call__(self, x: Any) -> FloatArray:
        out = self.grad(x)
        if flatten(out)[1] != flatten(x)[1]:
            raise ShapeError("grad returned another container than that of x", cure="return it in the structure of x")
        return np.asarray(flatten_numbers(out, lambda what: f"grad returned {what}")[0])
