"""Uncompiled calls that come again and again get machine code too, made aside while they run through NumPy.

``grad(f)(x)`` reads ``f`` anew at every call and recognises the program that it has seen before (``operators._CACHE``).
Its runs are counted here. When the time that NumPy has spent on a program, estimated from its steps and their work, is
that of compiling it, a thread compiles it; at twice that it takes over. No call waits for a compiler but that one, if
the compiler is late. Both moments are a matter of counting, not of clocks: the same calls in the same order give the
same digits, on a slow machine and on a fast one. ``CHAINRULE_NATIVE=asked`` leaves machine code to ``compile``, ``off``
does without it altogether.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.program import ArrayType, Literal, Program
from chainrule.rule import Elementwise

__all__ = ["Uses", "result_kinds"]

#: Microseconds of work through NumPy that a compiler's work is worth, and those of a step besides its work.
_WORTH = 30_000.0
_STEP = 1.0


def mode() -> str:
    """``"on"``, ``"asked"`` (only for ``compile``) or ``"off"``, as CHAINRULE_NATIVE says."""
    said = os.environ.get("CHAINRULE_NATIVE", "on").lower()
    return {"0": "off", "no": "off", "false": "off"}.get(said, said)


class Uses:
    """How often some programs that belong together were used, and their machine code when that is ready."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = programs
        self.count = 0
        spent = sum(map(_microseconds, programs))
        self.start = max(2, int(_WORTH / max(spent, 1.0)))
        self.next: int | None = self.start
        self.thread: threading.Thread | None = None
        self.plans: list[Any] = []
        self.lock = threading.Lock()

    def again(self) -> None:
        """They are used once more."""
        self.count += 1
        if self.next is None or self.count < self.next:
            return
        with self.lock:
            thread = self.thread
            if self.count < (self.next or self.count + 1):
                return
            if thread is None and mode() == "on":
                self.next = 2 * self.start
                self.thread = threading.Thread(target=self._make, name="chainrule compiles")
                self.thread.start()
                return
            self.next = None
        if thread is not None:
            thread.join()
            for program, plan in zip(self.programs, self.plans, strict=False):
                if plan is not None:
                    program.take_plan(plan)

    def _make(self) -> None:
        for program in self.programs:
            try:
                self.plans.append(_plan(program))
            except Exception:  # noqa: BLE001 - whatever stops a compiler, NumPy goes on
                self.plans.append(None)


def _microseconds(program: Program) -> float:
    """What a run through NumPy takes, roughly."""
    work = program.cost()
    return _STEP * len(program.steps) + (work.flops / 2 + 5 * work.calls + work.bytes / 8) * 1e-3


def result_kinds(program: Program, run: Callable[[], Sequence[Any]]) -> list[bool]:
    """For each result whether it is a NumPy scalar (True) or an array; ``run`` runs the program through NumPy."""
    made_by = {var: step.rule for step in program.steps for var in step.outputs}
    rules = [made_by.get(one) if not isinstance(one, Literal) else None for one in program.outputs]
    shapes = [getattr(program.type_of(one), "shape", ()) for one in program.outputs]
    if all(shape != () or isinstance(rule, Elementwise) for shape, rule in zip(shapes, rules, strict=True)):
        return [shape == () for shape in shapes]
    # Whether a number comes as a scalar or as an array of no dimension is up to NumPy: see what it does.
    return [not isinstance(one, np.ndarray) for one in run()]


def _plan(program: Program) -> Any:
    """A function of (inputs, constants) that runs the program's machine code, or None where that is not worth it."""
    from chainrule import native
    from chainrule.native import call

    if call.refusal() is not None or any(isinstance(one, Literal) for one in program.outputs):
        return None
    bare = Program(
        name=program.name, types=program.types, inputs=program.inputs, captures=program.captures,
        constants=program.constants, steps=program.steps, outputs=program.outputs, sites=program.sites,
        names=program.names,
    )  # fmt: skip
    compiled = native.build(bare)
    if 2 * len(compiled.callbacks) >= len(program.steps):
        return None
    return _Plan(bare, compiled)


class _Plan:
    """The machine code of a program, for the kinds of scalars that came first; NumPy for all else."""

    def __init__(self, program: Program, compiled: Any) -> None:
        self.program = program
        self.compiled = compiled
        self.function: Callable[..., Any] | None = None
        self.size = len(program.inputs)

    def __call__(self, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
        if self.function is None:
            self.function = self._function(inputs, constants)
        return list(self.function(*inputs, *constants))

    def _interpret(self, *given: Any) -> Any:
        return self.program.run(given[: self.size], given[self.size :])

    def _function(self, inputs: Sequence[Any], constants: Sequence[Any]) -> Callable[..., Any]:
        from chainrule.native import call

        program, compiled = self.program, self.compiled
        types: list[ArrayType] = [program.types[var] for var in (*program.inputs, *program.captures)]
        arguments: list[Any] = [
            call.Array(kind.dtype, kind.shape) if isinstance(one, np.ndarray) else call.Boxed(type(one), kind.dtype)
            for one, kind in zip((*inputs, *constants), types, strict=True)
        ]
        kinds = result_kinds(program, lambda: program.run(inputs, constants))
        results: list[Any] = []
        for one, scalar in zip(program.outputs, kinds, strict=True):
            kind = program.type_of(one)
            results.append(call.Boxed(kind.dtype.type, kind.dtype) if scalar else call.Array(kind.dtype, kind.shape))
        work = program.cost()
        code = call.machine_code()
        made, _ = call.function(
            code.entry, name=program.name, kernel=compiled.address, arena_bytes=call.arena_of(compiled),
            arguments=arguments, given=self.size, captures=(), results=results, assemble=True,
            following=self._interpret, context=compiled.context(), raise_=call.raise_from_callback,
            releases=call.is_long(work) and not compiled.callbacks, keep=(compiled, code),
        )  # fmt: skip
        return made
