"""One compiled form of a function: the program for one kind of arguments, and the conditions under which it holds.

The conditions are three: what the function reads besides its arguments is what it was (``trace/surroundings.py``), the
arrays among that hold the contents that they held, where those may have decided something, and the values that the
function asked for (the guards of its program) come out as they did.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.containers import LEAF, Structure, unflatten
from chainrule.hasten import result_kinds
from chainrule.program import ArrayType, Literal, Program, Var
from chainrule.trace.surroundings import PLAIN, Found, Surroundings

if TYPE_CHECKING:
    from chainrule.native.call import Array, Boxed, Fixed, Given, Place

__all__ = ["MISSED", "REFUSED", "Specialisation", "contents"]


class _Missed:
    def __repr__(self) -> str:
        return "MISSED"


#: What a specialisation answers where its conditions do not hold, and where a guard of its program does not.
MISSED: Any = _Missed()
REFUSED: Any = _Missed()


def _missed(*_: Any) -> Any:
    return MISSED


def _refused(*_: Any) -> Any:
    return REFUSED


def contents(array: Any) -> Any:
    """What tells the contents of an array."""
    if array.dtype.hasobject:
        return None
    held = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return hashlib.blake2b(held.data if held.size else b"", digest_size=16).digest()


class Specialisation:
    """A program with its conditions, as something to call.

    ``leaf(*inputs)`` gives the tuple of results, or MISSED, or REFUSED. ``direct(*args)`` is the same for argument
    lists, and asks on where it does not hold (it is None where there is no machine code, or arguments are containers).
    """

    def __init__(
        self,
        program: Program,
        *,
        originals: Sequence[Any],
        around: Surroundings,
        digests: Sequence[Any],
        only_met: set[int],
        arguments: Sequence[Array | Boxed | Fixed],
        frozen: Sequence[Any],
        inputs: Sequence[Any],
        fall_back: Callable[..., Any],
        flat: bool,
    ) -> None:
        self.flat = flat
        self.program = program
        self.places = list(around.places)
        self.arguments = arguments
        self.fall_back = fall_back
        assert program.out_tree is not None
        self.out_tree: Structure = program.out_tree
        self.literals = {place: one.value for place, one in enumerate(program.outputs) if isinstance(one, Literal)}
        #: The program without results that are known beforehand.
        self.core = _without_literals(program)
        #: Arrays that the program reads; the function's own ones where they are.
        self.captured = [_usable(one, kind) for one, kind in zip(originals, _capture_types(program), strict=True)]
        #: Arrays whose contents decide, with what tells them.
        self.watched = [
            (array, digest)
            for array, digest in zip((*around.arrays, *frozen), digests, strict=True)
            if id(array) not in only_met and digest is not None
        ]
        self._types = [(one.shape, one.dtype) for one in self.captured]
        self._guards = [(place, value) for place, (_, value) in enumerate(program.guards)]
        self._asking: Program | None = None
        self.compiled: Any = None
        self.machine: Any = None
        self._writer: tuple[Any, Callable[..., Any]] | None = None
        self.kinds = result_kinds(self.core, lambda: self.core.run(inputs, self.captured))
        self.leaf: Callable[..., Any] = self._interpret
        self.direct: Callable[..., Any] | None = None
        self.ask: Callable[[Callable[..., Any]], None] = _missed

    # -- results

    def whole(self, results: tuple[Any, ...]) -> Any:
        """The function's result, in its containers, from what ``leaf`` gives."""
        return unflatten(self.out_tree, results)

    # -- conditions

    def holds(self) -> bool:
        """Whether what the function reads is as it was."""
        return (
            all(one.same() for one in self.places)
            and all(
                one.shape == shape and one.dtype == dtype
                for one, (shape, dtype) in zip(self.captured, self._types, strict=True)
            )
            and all(contents(array) == digest for array, digest in self.watched)
        )

    def renew(self) -> bool:
        """Take equal plain values that are other objects for what they are; True where something was renewed."""
        if not any(one.now() is not one.value for one in self.places) or not self.holds():
            return False
        self.places = [
            one._replace(value=one.now()) if type(one.value) in PLAIN and one.kind != "items" else one
            for one in self.places
        ]
        if self.machine is not None:
            self.bind()
        return True

    def difference(self) -> str | None:
        """What is not as it was, in words."""
        for one in self.places:
            if not one.same():
                return f"{one} has changed"
        for array, digest in self.watched:
            if contents(array) != digest:
                return (
                    f"the contents of an array of shape {array.shape} have changed, which the function reads in a way "
                    "that may decide what it does"
                )
        for one, (shape, dtype) in zip(self.captured, self._types, strict=True):
            if one.shape != shape or one.dtype != dtype:
                return f"an array that the function reads has changed from shape {shape} to {one.shape}"
        return None

    # -- running

    def answer(self, inputs: Sequence[Any]) -> Any:
        """The tuple of results, or MISSED, or REFUSED."""
        results = self.leaf(*inputs)
        if results is MISSED and self.renew():
            results = self.leaf(*inputs)
        if results is MISSED and self.machine is not None and self.holds():
            # The machine code looks closer than it must: another thread may be tracing, with twins in our globals.
            results = self._interpreted(inputs)
        return results

    def _interpret(self, *inputs: Any) -> Any:
        if not self.holds():
            return MISSED
        return self._interpreted(inputs)

    def _interpreted(self, inputs: Sequence[Any]) -> Any:
        """The results through NumPy, or REFUSED where a guard does not hold."""
        program = self.core
        if program.guards:
            if self._asking is None:
                self._asking = _with_outputs(program, (*program.outputs, *[var for var, _ in program.guards]))
            made = self._asking.run(inputs, self.captured)
            count = len(program.outputs)
            for (_, value), seen in zip(program.guards, made[count:], strict=True):
                if not _is_guarded(value, seen):
                    return REFUSED
            made = made[:count]
        else:
            made = program.run(inputs, self.captured)
        given = [*inputs, *self.captured]
        results: list[Any] = []
        for one, scalar in zip(made, self.kinds, strict=True):
            owned = one
            if isinstance(one, np.ndarray):
                shared = not one.flags.owndata or not one.flags.writeable or any(one is other for other in given)
                owned = one.copy() if shared or any(one is other for other in results) else one
            results.append(owned[()] if scalar else np.asarray(owned))
        rest = iter(results)
        return tuple(
            self.literals[place] if place in self.literals else next(rest) for place in range(len(self.program.outputs))
        )

    def link(self) -> None:
        """Compile the program."""
        from chainrule import native
        from chainrule.native import call

        if call.refusal() is None:
            self.compiled = native.build(self.core)
            self.machine = call.machine_code()
            self.bind()

    def bind(self) -> None:
        """Make the functions of CPython's that check the conditions and run the machine code."""
        from chainrule.native import call

        results = iter(self._result_records())
        records = [
            call.Fixed(self.literals[place]) if place in self.literals else next(results)
            for place in range(len(self.program.outputs))
        ]
        made = {"results": records, **self._checks()}
        self._writer = None
        code = self.machine
        name = self.program.name
        moving = [one for one in self.arguments if not isinstance(one, call.Fixed)]
        self.leaf, _ = call.function(
            code.entry, name=name, arguments=moving, assemble=True, following=_missed, withdrawn=self._withdrawn,
            refused=_refused, **made
        )  # fmt: skip
        if not self.flat:
            return
        flat = self.out_tree.kind is tuple and all(child is LEAF for child in self.out_tree.children)
        assemble: Any = False if self.out_tree.kind is None else True if flat else _Assemble(self.out_tree)
        self.direct, self.ask = call.function(
            code.entry, name=name, arguments=self.arguments, assemble=assemble, following=self.fall_back, **made
        )

    def _checks(self) -> dict[str, Any]:
        """What every function of this form is given: the kernel and the conditions."""
        from chainrule.native import call

        code, compiled = self.machine, self.compiled
        hashed, asked = [], []
        for array, digest in self.watched:
            if array.flags.c_contiguous and not array.dtype.hasobject:
                hashed.append((array, call.content_hash(code.hash, array)))
                # Between the digest and this hash the contents may have changed.
                if contents(array) != digest:
                    hashed[-1] = (array, hashed[-1][1] ^ 1)
            else:
                asked.append(call.Place("question", _Question(array, digest)))
        places = [*map(_native_place, self.places), *asked]
        work = self.core.cost()
        releases = call.is_long(work) and not compiled.callbacks
        return {
            "kernel": compiled.address, "arena_bytes": call.arena_of(compiled),
            "captures": [*self.captured, *[array for array, _ in hashed]],
            "raise_": call.raise_from_callback, "places": places, "hashed": hashed, "releases": releases,
            "context": compiled.context(),
            "keep": (compiled, code, self.places),
        }  # fmt: skip

    def writer(self, targets: Sequence[Any], tree: Structure) -> Callable[..., Any] | None:
        """Like ``leaf``, but the results are written into these arrays; None where they do not fit."""
        from chainrule.native import call

        key = tuple(map(id, targets))
        if self.machine is None or self.out_tree != tree or self.literals:
            return None
        if self._writer is None or self._writer[0] != key:
            memories = [*targets, *self.captured]
            if any(
                np.may_share_memory(one, other) for place, one in enumerate(targets) for other in memories[place + 1 :]
            ):
                return None
            for target, one in zip(targets, self.core.outputs, strict=True):
                kind = self.core.type_of(one)
                flags = target.flags
                if (
                    target.dtype is not kind.dtype
                    or target.shape != kind.shape
                    or not (flags.c_contiguous and flags.aligned)
                ):
                    return None
            checks = self._checks()
            # What is written to is checked at each call as what is read is, in case it was resized.
            checks["captures"] = [*checks["captures"], *targets]
            moving = [one for one in self.arguments if not isinstance(one, call.Fixed)]
            made, _ = call.function(
                self.machine.entry, name=self.program.name, arguments=moving, assemble=True, following=_missed,
                results=[call.Given(one) for one in targets], **checks,
            )  # fmt: skip
            self._writer = (key, made)
        return self._writer[1]

    def _withdrawn(self, *inputs: Any) -> Any:
        return self._interpreted(inputs)

    def _result_records(self) -> list[Array | Boxed | Fixed | Given]:
        from chainrule.native import call

        made: list[Any] = []
        for one, scalar in zip(self.core.outputs, self.kinds, strict=True):
            kind = self.core.type_of(one)
            made.append(call.Boxed(kind.dtype.type, kind.dtype) if scalar else call.Array(kind.dtype, kind.shape))
        return made


class _Assemble:
    def __init__(self, tree: Structure) -> None:
        self.tree = tree

    def __call__(self, results: tuple[Any, ...]) -> Any:
        return unflatten(self.tree, results)


class _Question:
    """Whether an array holds what it held, asked from machine code."""

    def __init__(self, array: Any, digest: Any) -> None:
        self.array = array
        self.digest = digest

    def __call__(self) -> bool:
        return bool(contents(self.array) == self.digest)


def _native_place(one: Found) -> Place:
    from chainrule.native.call import Place, function_fields

    kind, holder, key, value = one
    if kind == "cell":
        return Place("word", id(holder) + 16, expected=id(value))
    if kind == "field":
        offset = function_fields().get(key)
        # (No defaults are a null pointer, not None.)
        expected = 0 if value is None else id(value)
        return _asked(one) if offset is None else Place("word", id(holder) + offset, expected=expected)
    if kind == "length":
        return Place("word", id(holder) + 16, expected=value) if type(holder) in (list, dict) else _asked(one)
    if (
        kind == "items"
        or (kind == "entry" and type(holder) is not dict)
        or (kind == "item" and type(holder) is not list)
    ):
        return _asked(one)
    return Place(kind, holder, key, value)


def _asked(one: Found) -> Place:
    from chainrule.native.call import Place

    return Place("question", one.same)


def _capture_types(program: Program) -> list[ArrayType]:
    return [program.types[var] for var in program.captures]


def _usable(array: Any, kind: ArrayType) -> Any:
    """The array itself where machine code can read it, else a copy."""
    flags = array.flags
    if type(array) is np.ndarray and array.dtype == kind.dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.require(np.asarray(array), dtype=kind.dtype, requirements=("C", "A"))


def _with_outputs(program: Program, outputs: Sequence[Any]) -> Program:
    return Program(
        name=program.name, types=program.types, inputs=program.inputs, captures=program.captures,
        constants=program.constants, steps=program.steps, outputs=outputs, guards=program.guards, sites=program.sites,
        names=program.names,
    )  # fmt: skip


def _without_literals(program: Program) -> Program:
    kept: list[Var] = [one for one in program.outputs if not isinstance(one, Literal)]
    return program if len(kept) == len(program.outputs) else _with_outputs(program, kept)


def _is_guarded(value: Any, seen: Any) -> bool:
    """Whether a value that the function asked for is the one that it was."""
    if np.ndim(seen):
        return zlib.crc32(np.ascontiguousarray(seen).data) == int(value)
    return bool(seen == value)
