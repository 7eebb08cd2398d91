"""Program -> machine code: loops and buffers, LLVM, and a first, plain way to call what was made."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import ProgramError
from chainrule.native import cache
from chainrule.native.linking import link
from chainrule.program import ArrayType, Literal, Program, array_type

# The compiler's own parts are loaded where there is something to compile: with a warm cache there is not.
if TYPE_CHECKING:
    from chainrule.native.loops import Callback, Code

__all__ = ["Compiled", "GuardFailed", "Withdrawn", "build"]

_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 5)


class GuardFailed(Exception):
    """A value that the program was traced with is another one now; ``number`` is the guard's place in the program."""

    def __init__(self, number: int) -> None:
        super().__init__(f"guard {number} does not hold")
        self.number = number


class Withdrawn(Exception):
    """These values are for the interpreter to answer: an index out of range, a singular matrix."""


class Compiled:
    """A program in machine code.

    ``address`` is that of ``int kernel(void** inputs, void** captures, void** outputs, void* arena, void* context)``,
    which returns 0, the number of a failed guard counted from 1, -1 where a callback raised, or -2 where only the
    interpreter may answer.
    """

    def __init__(self, program: Program, entry: cache.Entry, code: Code | None = None) -> None:
        self.program = program
        self._code = code
        self.arena_bytes: int = entry.facts["arena_bytes"]
        self.guards = program.guards
        self.input_types: list[ArrayType] = [program.types[var] for var in program.inputs]
        self.capture_types: list[ArrayType] = [program.types[var] for var in program.captures]
        self.output_types: list[ArrayType] = [_type_of(program, one) for one in program.outputs]
        self.object_code = entry.code
        count: int = entry.facts["callbacks"]
        self.callbacks: list[Callback] = self.code.callbacks if count else []
        #: The functions of BLAS and LAPACK that the machine code calls.
        self.symbols: list[str] = entry.facts["symbols"]
        self._linked = link(entry.code, ["kernel", "callbacks"] if count else ["kernel"], self.symbols)
        self._functions: list[Any] = []
        if count:
            from chainrule.native.callbacks import made_callbacks

            self._functions = made_callbacks(self.callbacks)
            table = self._linked.table("callbacks", len(self._functions))
            for place, function in enumerate(self._functions):
                table[place] = ctypes.cast(function, ctypes.c_void_p).value
        #: Whether there are loops that are shared out to threads.
        self.parallel: bool = entry.facts["parallel"]
        self.address = self._linked.address("kernel")
        self._kernel = _KERNEL(self.address)

    def context(self) -> int:
        """The address of what the kernel is given to share out loops with; 0 where there is nothing to share out."""
        if not self.parallel:
            return 0
        from chainrule.native import threads

        return threads.context()

    @property
    def code(self) -> Code:
        """The loops and buffers that the machine code was made from."""
        if self._code is None:
            from chainrule.native.lower import lower

            self._code = lower(self.program)
        return self._code

    def run(self, inputs: Sequence[Any], constants: Sequence[Any] | None = None) -> list[Any]:
        """The results for these inputs, as ``Program.run`` gives them.

        Raises GuardFailed, Withdrawn, or what a step that calls back raises.
        """
        from chainrule.native.callbacks import raised
        from chainrule.native.emit import CALLED_BACK, WITHDRAWN

        constants = self.program.constants if constants is None else constants
        given = [_prepared(one, kind) for one, kind in zip(inputs, self.input_types, strict=True)]
        held = [_prepared(one, kind) for one, kind in zip(constants, self.capture_types, strict=True)]
        outputs = [np.empty(kind.shape, kind.dtype) for kind in self.output_types]
        arena = np.empty(self.arena_bytes + 64, np.uint8)
        start = arena.ctypes.data
        status = self._kernel(
            _table(given), _table(held), _table(outputs), start + -start % 64, self.context()
        )  # fmt: skip
        if status == CALLED_BACK:
            raise raised() or ProgramError("a step of a compiled program failed")
        if status == WITHDRAWN:
            raise Withdrawn
        if status:
            raise GuardFailed(status - 1)
        return [one[()] for one in outputs]

    def llvm(self) -> str:
        """The text of the LLVM module, before LLVM's own passes."""
        from chainrule.native import llvm
        from chainrule.native.emit import module_text

        return module_text(self.code, llvm.host_machine())

    def assembly(self) -> str:
        """The machine code in the processor's assembly language."""
        from chainrule.native import llvm

        return llvm.assembly_of(self.llvm())


def _type_of(program: Program, operand: Any) -> ArrayType:
    if isinstance(operand, Literal):
        return array_type((), np.asarray(operand.value).dtype)
    kind: ArrayType = program.types[operand]
    return kind


def _prepared(value: Any, kind: ArrayType) -> Any:
    made = np.require(value, dtype=kind.dtype, requirements=("C", "A"))
    if made.shape != kind.shape:
        raise ProgramError(f"an input of shape {made.shape} where the program has {kind!r}")
    return made


def _table(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*[one.ctypes.data for one in arrays])


def build(program: Program) -> Compiled:
    """Compile a program.

    >>> import chainrule as cr
    >>> compiled = build(cr.trace(lambda x: 3 * x + 1, 2.0))
    >>> compiled.run([5.0])
    [np.float64(16.0)]
    """
    with _BUILDING:
        return _built(program)


#: One compiler at a time; and no fork while it works, whose child would wait for it for ever.
_BUILDING = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_BUILDING.acquire, after_in_parent=_BUILDING.release, after_in_child=_BUILDING.release)


def _built(program: Program) -> Compiled:
    same = (program.key, tuple([(var, type(value), value) for var, value in program.guards]))
    found = _BUILT.get(same)
    if found is not None:
        return found
    key = cache.key_of(program)
    entry = cache.get(key) if key is not None else None
    code = None
    if entry is None:
        from chainrule.native import llvm
        from chainrule.native.emit import called_functions, module_text
        from chainrule.native.loops import Loop, items_within
        from chainrule.native.lower import lower

        code = lower(program)
        text = module_text(code, llvm.host_machine())
        facts = {
            "arena_bytes": code.arena_bytes,
            "callbacks": len(code.callbacks),
            "symbols": sorted(called_functions(code)),
            "parallel": any(isinstance(one, Loop) and one.chunk > 0 for one in items_within(code.body)),
        }
        entry = cache.Entry(facts, llvm.object_code(text))
        if key is not None:
            cache.put(key, entry)
    made = _BUILT[same] = Compiled(program, entry, code)
    return made


#: What was built and is still in use.
_BUILT: weakref.WeakValueDictionary[Any, Compiled] = weakref.WeakValueDictionary()
