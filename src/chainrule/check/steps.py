"""A list of steps, each a function with a backward pass of its own -> a gradient to be checked, and its tape.

``(name, forward, backward)``: ``forward(*inputs)`` returns the result, ``backward(*inputs, g)`` the adjoint of each
input (one adjoint for one input, else a tuple; None: no dependence). ``(name, forward)``: ``forward(*inputs)`` returns
``(result, pullback)``, so that residuals can be kept. A last element ``"h, w -> z"`` says what the step reads and
writes; without it a step reads the result of the one before, the first one the arguments of f. Names are those of f's
arguments, of arrays inside of them (``params['w']``), and of results.
"""

from __future__ import annotations

import functools
import inspect
import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.check.claim import ClaimProblem, argument_names
from chainrule.check.sweep import StepProblem, parts_of
from chainrule.containers import Structure, flatten, leaf_paths, unflatten
from chainrule.errors import ArgumentError
from chainrule.provider import Tape, TapeStep

__all__ = ["Chain"]


class _Entry(NamedTuple):
    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any] | None  # None: forward returns (result, pullback)
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class _Run(NamedTuple):
    """One forward pass: the values by number, the structure and the numbers of every name, the pullbacks."""

    values: dict[int, Any]
    numbers: dict[str, list[int]]
    structures: dict[str, Structure]
    calls: list[tuple[list[str], list[int], list[int], Any]]


class Chain:
    """The steps, run forwards and backwards. Raises ArgumentError for a list that is none."""

    def __init__(self, entries: Sequence[Any], f: Any, args: tuple[Any, ...]) -> None:
        if isinstance(entries, str) or not len(entries):
            raise ArgumentError("steps is no list of steps", cure=_CURE)
        self.names = argument_names(f, len(args)) if callable(f) else [f"arg{k}" for k in range(len(args))]
        if not callable(f):
            self.names = self._first_reads(entries, self.names)
        self.entries: list[_Entry] = []
        before: tuple[str, ...] = tuple(self.names)
        for k, entry in enumerate(entries):
            self.entries.append(_entry(entry, k, before))
            before = self.entries[-1].writes
        self.__name__ = str(getattr(f, "__name__", "steps"))

    @staticmethod
    def _first_reads(entries: Sequence[Any], names: list[str]) -> list[str]:
        """Without f, the arguments are called what the first step that says so reads."""
        first = entries[0]
        wiring = first[-1] if isinstance(first, tuple | list) and len(first) else None
        if isinstance(wiring, str) and "->" in wiring:
            read = [one.strip() for one in wiring.partition("->")[0].split(",")]
            if len(read) == len(names) and all(one.isidentifier() for one in read):
                return read
        return names

    def _run(self, args: tuple[Any, ...]) -> _Run:
        run = _Run({}, {}, {}, [])
        for name, value in zip(self.names, args, strict=True):
            self._bind(run, name, value, [])
            if len(run.numbers[name]) > 1 or run.structures[name].kind is not None:
                leaves = flatten(value)[0]
                for path, leaf, number in zip(
                    leaf_paths(run.structures[name], name), leaves, run.numbers[name], strict=True
                ):
                    run.numbers[path], run.structures[path] = [number], flatten(leaf)[1]
        for k, entry in enumerate(self.entries):
            reads = [self._read(run, name, k) for name in entry.reads]
            made = entry.forward(*[tree for tree, _ in reads])
            pull: Any = None
            if entry.backward is None:
                made, pull = _pair(made, entry.name)
            results = (made,) if len(entry.writes) == 1 else made
            if not isinstance(results, tuple | list) or len(results) != len(entry.writes):
                raise ArgumentError(
                    f"step `{entry.name}` is to write {', '.join(entry.writes)}, and returned {type(made).__name__}",
                    cure="return a tuple with one result for each name after the arrow",
                )
            ins = [number for name in entry.reads for number in run.numbers[name]]
            outs: list[int] = []
            for name, value in zip(entry.writes, results, strict=True):
                self._bind(run, name, value, outs)
            run.calls.append((list(entry.reads), ins, outs, pull))
        return run

    def _bind(self, run: _Run, name: str, tree: Any, outs: list[int]) -> None:
        leaves, structure = flatten(tree)
        numbers = list(range(len(run.values), len(run.values) + len(leaves)))
        for number, leaf in zip(numbers, leaves, strict=True):
            run.values[number] = leaf
        run.numbers[name], run.structures[name] = numbers, structure
        outs.extend(numbers)

    def _read(self, run: _Run, name: str, k: int) -> tuple[Any, list[int]]:
        if name not in run.numbers:
            raise ArgumentError(
                f"step `{self.entries[k].name}` reads {name!r}, which no argument and no step before it is called",
                cure=f"there are: {', '.join(run.numbers)}",
            )
        numbers = run.numbers[name]
        return unflatten(run.structures[name], [_fresh(run.values[n]) for n in numbers]), numbers

    def value(self, *args: Any) -> Any:
        """The result of the last step."""
        return self._result(self._run(args))

    def function(self) -> Callable[..., Any]:
        """The composition of the forward passes, under the names of its arguments."""

        def steps(*args: Any) -> Any:
            return self.value(*args)

        kind = inspect.Parameter.POSITIONAL_ONLY
        steps.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in self.names]
        )
        return steps

    def claim(self, argnums: int | Sequence[int]) -> Callable[..., Any]:
        """The gradient that the steps make, in the form of ``value_and_pullback``."""

        def value_and_pullback(*args: Any) -> tuple[Any, Callable[[Any], Any]]:
            places = argnums if isinstance(argnums, int) else tuple(argnums)
            return self.value_and_pullback(places, args)

        return value_and_pullback

    def _result(self, run: _Run) -> Any:
        trees = [self._read(run, name, -1)[0] for name in self.entries[-1].writes]
        return trees[0] if len(trees) == 1 else tuple(trees)

    def value_and_pullback(
        self, argnums: int | tuple[int, ...], args: tuple[Any, ...]
    ) -> tuple[Any, Callable[[Any], Any]]:
        """The result, and the gradient that the backward passes make together."""
        run = self._run(args)
        steps = self._tape_steps(run)
        pulls = [
            functools.partial(
                _pulled, entry, [run.structures[name] for name in reads],
                flatten(tuple(self._read(run, name, -1)[0] for name in entry.writes))[1],
                [run.values[n] for n in ins], pull,
            )
            for entry, (reads, ins, _, pull) in zip(self.entries, run.calls, strict=True)
        ]  # fmt: skip
        places = [n % len(args) for n in ([argnums] if isinstance(argnums, int) else argnums)]
        results = [number for name in self.entries[-1].writes for number in run.numbers[name]]

        def pullback(cotangent: Any) -> Any:
            adjoints: dict[int, Any] = {}
            for number, weight in zip(results, flatten(cotangent)[0], strict=True):
                adjoints[number] = adjoints[number] + weight if number in adjoints else weight
            for k in range(len(steps) - 1, -1, -1):
                step = steps[k]
                if not any(number in adjoints for number in step.outputs):
                    continue
                given = [adjoints.pop(n, np.zeros(np.shape(run.values[n]))) for n in step.outputs]
                try:
                    parts = parts_of(step, k, [run.values[n] for n in step.inputs], given, pulls[k])
                except StepProblem as problem:
                    raise ClaimProblem(f"step {k + 1} `{step.name}`: {problem}") from problem.__cause__
                for number, part in zip(step.inputs, parts, strict=True):
                    if part is not None:
                        adjoints[number] = adjoints[number] + part if number in adjoints else part
            trees = []
            for place in places:
                name = self.names[place]
                leaves = [_like(adjoints.get(n), run.values[n]) for n in run.numbers[name]]
                trees.append(unflatten(run.structures[name], leaves))
            return trees[0] if isinstance(argnums, int) else tuple(trees)

        return self._result(run), pullback

    def tape(self, _f: Any, args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> Tape:
        """The steps at one point, for the judge."""
        run = self._run(args)
        places = [n % len(args) for n in ([argnums] if isinstance(argnums, int) else argnums)]
        roots = [number for place in places for number in run.numbers[self.names[place]]]
        results = [number for name in self.entries[-1].writes for number in run.numbers[name]]

        def replay(leaves: Sequence[Any]) -> Mapping[int, Any]:
            moved = list(args)
            start = 0
            for place in places:
                structure = run.structures[self.names[place]]
                moved[place] = unflatten(structure, list(leaves[start : start + structure.size]))
                start += structure.size
            return self._run(tuple(moved)).values

        return Tape(self._tape_steps(run), roots, results, replay)

    def _tape_steps(self, run: _Run) -> list[TapeStep]:
        made: list[TapeStep] = []
        for entry, (reads, ins, outs, _) in zip(self.entries, run.calls, strict=True):
            trees = [run.structures[name] for name in reads]
            labels = [path for name in reads for path in leaf_paths(run.structures[name], name)]
            made.append(
                TapeStep(
                    entry.name, tuple(ins), tuple(outs), _Direction(entry, trees, with_pullback=False),
                    _Direction(entry, trees, with_pullback=True), tuple(labels), _place(entry.forward), "",
                    _place(entry.backward) if entry.backward is not None else "",
                )
            )  # fmt: skip
        return made


_CURE = 'steps=[("name", forward, backward), ...], with "h, w -> z" as a last element where a step reads several values'


def _entry(entry: Any, k: int, before: tuple[str, ...]) -> _Entry:
    if not isinstance(entry, tuple | list) or not 2 <= len(entry) <= 4:
        raise ArgumentError(f"step {k + 1} is no tuple (name, forward, backward)", cure=_CURE)
    name, *rest = entry
    wiring = rest.pop() if isinstance(rest[-1], str) else ""
    if not isinstance(name, str) or not rest or not all(map(callable, rest)) or len(rest) > 2:
        raise ArgumentError(f"step {k + 1} ({name!r:.40}) is no tuple (name, forward, backward)", cure=_CURE)
    if wiring:
        left, arrow, right = wiring.partition("->")
        if not arrow or not left.strip() or not right.strip():
            raise ArgumentError(f"step `{name}`: {wiring!r} does not say what is read and written", cure='"h, w -> z"')
        reads, writes = (tuple(one.strip() for one in side.split(",")) for side in (left, right))
    else:
        reads, writes = before, (f"the result of step {k + 1}",)
    return _Entry(name, rest[0], rest[1] if len(rest) > 1 else None, reads, writes)


class _Direction:
    """One step on leaves: its forward pass, or (``with_pullback``) its value and pullback."""

    def __init__(self, entry: _Entry, trees: list[Structure], *, with_pullback: bool) -> None:
        self.entry, self.trees, self.with_pullback = entry, trees, with_pullback

    def __call__(self, *leaves: Any) -> Any:
        groups = _grouped(self.trees, leaves)
        made = self.entry.forward(*groups)
        pull = None
        if self.entry.backward is None:
            made, pull = _pair(made, self.entry.name)
        flat, structure = flatten((made,) if len(self.entry.writes) == 1 else tuple(made))
        if not self.with_pullback:
            return flat
        return flat, functools.partial(_pulled, self.entry, self.trees, structure, leaves, pull)


def _pulled(
    entry: _Entry, trees: list[Structure], results: Structure, inputs: Sequence[Any], pull: Any, adjoints: Sequence[Any]
) -> list[Any]:
    """The adjoints of the input leaves, by the pullback of the forward pass that was run, or by the backward pass."""
    given = unflatten(results, list(adjoints))
    g = given[0] if len(given) == 1 else given
    groups = _grouped(trees, [_fresh(one) for one in inputs])
    made = entry.backward(*groups, g) if entry.backward is not None else pull(g)
    single = len(trees) == 1
    parts = (made,) if single and not (isinstance(made, tuple) and len(made) == 1) else made
    if not isinstance(parts, tuple | list) or len(parts) != len(trees):
        raise ClaimProblem(f"its backward pass returns a {type(made).__name__} for {len(trees)} inputs")
    flat: list[Any] = []
    for part, tree in zip(parts, trees, strict=True):
        leaves = [None] * tree.size if part is None else flatten(part)[0]
        if len(leaves) != tree.size:
            raise ClaimProblem(f"its backward pass returns {len(leaves)} arrays for an input of {tree.size}")
        flat.extend(leaves)
    return flat


def _grouped(trees: list[Structure], leaves: Sequence[Any]) -> list[Any]:
    made = []
    start = 0
    for tree in trees:
        made.append(unflatten(tree, list(leaves[start : start + tree.size])))
        start += tree.size
    return made


def _pair(made: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[1])):
        raise ArgumentError(
            f"step `{name}` has no backward pass, and its forward pass did not return (result, pullback)", cure=_CURE
        )
    return made


def _like(adjoint: Any, value: Any) -> Any:
    array = np.asarray(value)
    if adjoint is None:
        return np.zeros(array.shape, array.dtype) if array.dtype.kind == "f" else None
    return float(adjoint) if isinstance(value, float) and not isinstance(value, np.floating) else np.asarray(adjoint)


def _fresh(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _place(function: Any) -> str:
    """``model.py:12``, where a function is written."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""
