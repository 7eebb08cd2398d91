"""A gradient in whatever form the user has it -> one claim: flat forward and pullback (or push-forward), examined."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule.containers import Structure, flatten, unflatten
from chainrule.errors import ArgumentError, ChainruleError
from chainrule.numerical.point import FloatArray, Point, flatten_numbers
from chainrule.provider import Provider

__all__ = ["Claim", "ClaimProblem", "argument_names", "selected_point"]


class ClaimProblem(Exception):
    """The claimed gradient can not be compared at all; the sentence says why."""


def selected_point(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: int | Sequence[int], scale: Any, snap: bool
) -> tuple[Point, Any]:
    """The point made of the arguments that are differentiated, under the names that f gives them."""
    names = argument_names(f, len(args))
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(f"argnums={argnums!r}, but f was given {len(args)} arguments", cure="count from 0")
    if isinstance(argnums, int):
        return Point(args[argnums], root=names[argnums], scale=scale, snap=snap), argnums
    point = Point(tuple(args[n] for n in numbers), root="", scale=scale, snap=snap)
    for place, number in enumerate(numbers):
        head = f"[{place}]"
        for k, leaf in enumerate(point.leaves):
            if leaf.name.startswith(head):
                point.leaves[k] = leaf._replace(name=names[number] + leaf.name[len(head) :])
    return point, numbers


def argument_names(f: Callable[..., Any], number: int) -> list[str]:
    """The names that f gives to its first arguments; ``arg0`` and so on where it gives none."""
    try:
        names = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        names = []
    names = [name for name in names if name.isidentifier()]
    return names[:number] + [f"arg{k}" for k in range(len(names), number)]


class Claim:
    """What is claimed to be the derivative of f, as flat vectors; calls are counted and their results examined."""

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        argnums: int | tuple[int, ...],
        point: Point,
        *,
        grad: Callable[..., Any] | None = None,
        vjp: Callable[..., Any] | None = None,
        jvp: Callable[..., Any] | None = None,
        value_and_pullback: Callable[..., Any] | None = None,
        provider: Provider | None = None,
        rng_seed: int | None = None,
    ) -> None:
        self.f, self.args, self.argnums, self.point = f, args, argnums, point
        self.grad, self.vjp, self.jvp = grad, vjp, jvp
        self.value_and_pullback, self.provider = value_and_pullback, provider
        self.rng_seed = rng_seed
        self.calls = 0
        self.remarks: list[str] = []
        self.overwrote = ""
        self.raw: Any = None
        self.out_structure: Structure
        self.out_leaves: list[Any] = []
        self.structures_known = False

    @property
    def has_pullback(self) -> bool:
        """Whether whole gradients can be had; otherwise only directional derivatives are claimed."""
        return any(w is not None for w in (self.grad, self.vjp, self.value_and_pullback, self.provider))

    @property
    def is_linear_map(self) -> bool:
        """Whether the claim takes a cotangent, so that its linearity can be tested."""
        return self.has_pullback and self.grad is None

    def arguments(self, tree: Any) -> tuple[Any, ...]:
        """All arguments of f with the differentiated ones replaced; the others are fresh copies."""
        full = [_fresh(a) for a in self.args]
        if isinstance(self.argnums, int):
            full[self.argnums] = tree
        else:
            for number, part in zip(self.argnums, tree, strict=True):
                full[number] = part
        return tuple(full)

    def value(self, tree: Any) -> Any:
        """F itself as a function of the differentiated arguments only."""
        with self.frozen():
            return self.f(*self.arguments(tree))

    def neighbour(self, tree: Any) -> Any:
        """F at a point beside the given one, where it may raise anything: it has no value there, which is noted."""
        try:
            return self.value(tree)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError, ChainruleError):
            raise
        except Exception as problem:
            self._remark(f"f raises {type(problem).__name__} at a point near the given one: {problem}")
            raise ValueError from problem

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The random state, set to the seed before each call where that was asked for, and put back afterwards."""
        if self.rng_seed is None:
            yield
            return
        before, plain = np.random.get_state(), random.getstate()  # noqa: NPY002 - the user's code may use it
        try:
            np.random.seed(self.rng_seed)  # noqa: NPY002
            random.seed(self.rng_seed)
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
            random.setstate(plain)

    def learn_output(self, out: Any) -> None:
        """Remembers the container, shapes and types of f's output: cotangents are made like it."""
        self.out_leaves, self.out_structure = flatten(out)

    def cotangent(self, flat: FloatArray) -> Any:
        """A flat cotangent in the container of f's output."""
        leaves: list[Any] = []
        start = 0
        for leaf in self.out_leaves:
            array = np.asarray(leaf)
            stop = start + array.size
            part = flat[start:stop].reshape(array.shape)
            if np.issubdtype(array.dtype, np.floating):
                part = part.astype(array.dtype)
            if isinstance(leaf, float) and not isinstance(leaf, np.floating):
                leaves.append(float(part))
            else:
                leaves.append(part[()] if isinstance(leaf, np.generic) else part)
            start = stop
        return unflatten(self.out_structure, leaves)

    def forward(self, flat: FloatArray) -> tuple[FloatArray | None, Callable[[FloatArray], FloatArray]]:
        """The claimed value at a point (None if the claim makes none) and its pullback, both on flat vectors."""
        tree = self.point.build(flat)
        arguments = self.arguments(tree)
        kept = [copy.deepcopy(a) for a in arguments]
        value: FloatArray | None = None
        with self.frozen():
            if self.value_and_pullback is not None:
                value_tree, pull = _pair(self.value_and_pullback(*arguments))
                value = flatten_numbers(value_tree, lambda w: f"the forward pass returned {w}")[0]
            elif self.provider is not None:
                value_tree, pull = self.provider(self.f, arguments, self.argnums)
                value = flatten_numbers(value_tree, lambda w: f"the forward pass returned {w}")[0]
            else:
                pull = self._direct(arguments)

        def pullback(v: FloatArray) -> FloatArray:
            self.calls += 1
            cotangent = self.cotangent(v)
            before = copy.deepcopy(cotangent)
            with self.frozen(), np.errstate(all="ignore"):
                self.raw = pull(cotangent)
            if not _same(cotangent, before):
                self.overwrote = "its cotangent"
            if not _same(arguments, kept):
                self.overwrote = "its input"
            gradient = self._examined(self.raw)
            return gradient * float(v[0]) if self.grad is not None else gradient

        return value, pullback

    def _direct(self, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
        if self.grad is not None:
            grad = self.grad
            return lambda _v: grad(*arguments)
        assert self.vjp is not None
        vjp = self.vjp
        return lambda v: vjp(*arguments, v)

    def push(self, flat: FloatArray, direction: FloatArray) -> FloatArray:
        """The claimed derivative along a direction, flat in the output."""
        assert self.jvp is not None
        self.calls += 1
        with self.frozen(), np.errstate(all="ignore"):
            out = self.jvp(*self.arguments(self.point.build(flat)), self.point.build(direction))
        pushed = flatten_numbers(out, lambda w: f"jvp returned {w}")[0]
        expected = sum(np.size(leaf) for leaf in self.out_leaves)
        if pushed.size != expected:
            raise ClaimProblem(f"jvp returned {pushed.size} numbers where f returns {expected}")
        return np.asarray(pushed, dtype=np.float64)

    def _examined(self, raw: Any) -> FloatArray:
        """The flat gradient, if its container, shapes and types are those of the point."""
        leaves, structure = flatten(raw)
        wanted = self.point.structure
        if structure != wanted:
            single = flatten(raw)[0]
            bare = flatten(0.0)[1]
            if {structure, wanted} == {bare, flatten((0.0,))[1]}:
                leaves = single
                self._remark(f"the gradient comes as {_described(structure)} where the input is {_described(wanted)}")
            else:
                raise ClaimProblem(
                    f"the gradient is {_described(structure)} where the input is {_described(wanted)}"
                    + (" (the tuple of all arguments where argnums selects one?)" if isinstance(raw, tuple) else "")
                )
        pieces: list[FloatArray] = []
        for leaf, part in zip(self.point.leaves, leaves, strict=True):
            size = leaf.stop - leaf.start
            if part is None:
                self._remark(f"the gradient of {leaf.name} is None, which is read as zero")
                pieces.append(np.zeros(size))
                continue
            try:
                array = np.asarray(part)
            except Exception as problem:
                raise ClaimProblem(f"the gradient of {leaf.name} is a {type(part).__name__}, not an array") from problem
            if array.dtype == object or not np.issubdtype(array.dtype, np.number):
                raise ClaimProblem(f"the gradient of {leaf.name} is a {type(part).__name__} of {array.dtype}")
            if array.shape != leaf.shape:
                raise ClaimProblem(
                    f"the gradient of {leaf.name} has shape {array.shape}, the input has {leaf.shape}"
                    + _shape_hint(array.shape, leaf.shape)
                )
            if np.issubdtype(array.dtype, np.complexfloating):
                raise ClaimProblem(f"the gradient of {leaf.name} is complex ({array.dtype}) where the input is real")
            if np.issubdtype(array.dtype, np.integer):
                self._remark(f"the gradient of {leaf.name} holds integers ({array.dtype}): its fractions are lost")
            elif leaf.kind == "array" and array.dtype.itemsize < leaf.dtype.itemsize:
                self._remark(f"the gradient of {leaf.name} is {array.dtype} where the input is {leaf.dtype}")
            pieces.append(array.astype(np.float64).ravel())
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def _described(structure: Structure) -> str:
    text = repr(structure)
    return "one array" if text == "*" else f"a container {text if len(text) < 60 else text[:56] + '...)'}"


def _pair(result: Any) -> tuple[Any, Callable[[Any], Any]]:
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise ArgumentError("value_and_pullback did not return (y, pullback)", cure="return y and a function of v")
    return result


def _shape_hint(got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if got == wanted[::-1]:
        return " (transposed?)"
    if int(np.prod(got)) == int(np.prod(wanted)):
        return " (reshape it)"
    if len(got) > len(wanted):
        return " (a sum over a broadcast axis is missing?)"
    return ""


def _fresh(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _same(one: Any, other: Any) -> bool:
    """Whether two containers hold the same bits; what is no array is taken as unchanged."""
    left, right = flatten(one)[0], flatten(other)[0]
    if len(left) != len(right):
        return False
    for a, b in zip(left, right, strict=True):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        if both and (a.shape != b.shape or not bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))):
            return False
    return True
