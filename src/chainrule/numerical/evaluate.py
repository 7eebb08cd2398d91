"""A function and a list of points -> its values: counted, bounded, in parallel, safe from the function's moods."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.containers import Structure
from chainrule.errors import ArgumentError, ShapeError
from chainrule.numerical.point import FloatArray, Point, flatten_numbers

__all__ = ["Evaluator"]

_BATCH_BYTES = 2**26
_PATIENCE = 2.0  # seconds before a progress bar is worth its lines


def _call(function: Callable[[Any], Any], point: Point, flat: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """One value as a flat vector; None where the point is outside the function's domain."""
    try:
        with np.errstate(all="ignore"):
            out = function(point.build(flat))
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        return None
    return flatten_numbers(out, _says)[0]


def _says(what: str) -> str:
    return f"f returned {what}"


class Evaluator:
    """Calls ``f`` at flat points and keeps the count; what was out of budget or interrupted is marked as not done."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        point: Point,
        *,
        budget: int | None = None,
        bounds: tuple[FloatArray, FloatArray] | None = None,
        workers: int | Callable[..., Iterable[Any]] | None = None,
        batched: bool = False,
        progress: bool | None = None,
    ) -> None:
        self.function = function
        self.point = point
        self.budget = budget
        self.bounds = bounds
        self.workers = workers
        self.batched = batched
        self.progress = progress
        self.count = 0
        self.expected = 0
        self.stopped = ""
        self.structure: Structure
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.eps = point.eps
        self._bar: Any = None
        self._task: Any = None
        self._began = time.perf_counter()
        self.y0 = self._first()

    def _first(self) -> FloatArray:
        self.count += 1
        with np.errstate(all="ignore"):
            if self.batched:
                out = self.function(self.point.build_batch(self.point.x[None, :]))
            else:
                out = self.function(self.point.build(self.point.x))
        flat, self.structure, shapes, eps = flatten_numbers(out, _says)
        if self.batched:
            if any(shape[:1] != (1,) for shape in shapes):
                raise ShapeError(
                    f"batched=True, but f returned shapes {shapes} for a batch of one point",
                    cure="f must keep the leading axis of its input",
                )
            shapes = tuple(shape[1:] for shape in shapes)
        if np.iscomplexobj(flat):
            raise ArgumentError("f returned complex numbers", cure="return the real and imaginary part as two arrays")
        self.shapes = shapes
        self.eps = max(self.eps, eps)
        return flat

    @property
    def left(self) -> float:
        """How many evaluations the budget still holds."""
        return np.inf if self.budget is None else max(self.budget - self.count, 0)

    def many(self, number: int, make: Callable[[int], FloatArray]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Values at ``make(0) .. make(number - 1)``, shape (number, outputs), and which of them were computed."""
        values = np.full((number, self.y0.size), np.nan)
        done = np.zeros(number, dtype=bool)
        todo = [i for i in range(number) if self._inside(make(i))] if self.bounds is not None else list(range(number))
        if self.bounds is not None:
            done[:] = True
            done[todo] = False
        if self.stopped:
            return values, done
        if len(todo) > self.left:
            todo = todo[: int(self.left)]
            self.stopped = "budget"
        try:
            for index, out in zip(todo, self._outputs(todo, make), strict=False):
                self.count += 1
                done[index] = True
                if out is not None:
                    if out.size != self.y0.size:
                        raise ShapeError(
                            f"f returned {out.size} numbers at a neighbouring point and {self.y0.size} at x",
                            cure="the shape of the output must not depend on the values of the input",
                        )
                    values[index] = np.where(out.imag == 0, out.real, np.nan) if np.iscomplexobj(out) else out
                self._advance()
        except KeyboardInterrupt:
            self.stopped = "interrupt"
        return values, done

    def complex_many(self, number: int, make: Callable[[int], npt.NDArray[np.complex128]]) -> npt.NDArray[Any]:
        """Values at complex points, shape (number, outputs); errors of ``f`` are the caller's to judge."""
        values = np.zeros((number, self.y0.size), dtype=np.complex128)
        for index in range(number):
            self.count += 1
            with np.errstate(all="ignore"):
                out = self.function(self.point.build(make(index)))
            flat = flatten_numbers(out, _says)[0]
            if flat.size != self.y0.size:
                raise ShapeError("f changes the shape of its output for complex input")
            values[index] = flat
            self._advance()
        return values

    def _inside(self, flat: FloatArray) -> bool:
        assert self.bounds is not None
        low, high = self.bounds
        return bool(np.all(flat >= low) and np.all(flat <= high))

    def _outputs(
        self, todo: list[int], make: Callable[[int], FloatArray]
    ) -> Iterator[npt.NDArray[Any] | None] | Iterable[npt.NDArray[Any] | None]:
        if self.batched:
            return self._in_batches(todo, make)
        one = functools.partial(_call, self.function, self.point)
        points = (make(i) for i in todo)
        if self.workers is None or self.workers == 1:
            return map(one, points)
        if callable(self.workers):
            return self.workers(one, points)
        return self._in_processes(one, points)

    def _in_processes(self, one: Callable[[FloatArray], Any], points: Iterable[FloatArray]) -> Iterator[Any]:
        import multiprocessing
        import pickle

        assert isinstance(self.workers, int)
        number = os.cpu_count() if self.workers == -1 else self.workers
        try:
            pickle.dumps(one)
        except Exception as problem:
            raise ArgumentError(
                f"f can not be sent to {self.workers} processes: {problem}",
                cure="define f at the top of a module, or pass workers=concurrent.futures.ThreadPoolExecutor().map",
            ) from problem
        with multiprocessing.Pool(number) as pool:
            yield from pool.imap(one, points)

    def _in_batches(self, todo: list[int], make: Callable[[int], FloatArray]) -> Iterator[npt.NDArray[Any]]:
        size = max(1, _BATCH_BYTES // max(8 * self.point.size, 1))
        for first in range(0, len(todo), size):
            rows = np.stack([make(i) for i in todo[first : first + size]])
            with np.errstate(all="ignore"):
                out = self.function(self.point.build_batch(rows))
            flat, _, shapes, _ = flatten_numbers(out, _says)
            if any(shape[:1] != (len(rows),) for shape in shapes):
                raise ShapeError(
                    f"batched=True, but f returned shapes {shapes} for a batch of {len(rows)} points",
                    cure="f must keep the leading axis of its input",
                )
            parts: list[npt.NDArray[Any]] = []
            start = 0
            for shape in shapes:
                width = int(np.prod(shape))
                parts.append(flat[start : start + width].reshape(len(rows), -1))
                start += width
            yield from np.concatenate(parts, axis=1)

    def _advance(self) -> None:
        if self.progress is False:
            return
        if self._bar is None:
            late = time.perf_counter() - self._began > _PATIENCE and sys.stderr.isatty()
            if not (self.progress or late):
                return
            try:
                from rich.console import Console
                from rich.progress import Progress
            except ImportError:
                self.progress = False
                return
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("evaluations", total=self.expected or None)
            self._bar.start()
        self._bar.update(self._task, completed=self.count, total=max(self.expected, self.count) or None)

    def close(self) -> None:
        """Takes the progress bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
