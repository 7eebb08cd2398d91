"""The text of an LLVM module -> machine code in this process; the one file that imports llvmlite."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm

from chainrule.native.mathlib import Machine, library_address

__all__ = ["Linked", "assembly_of", "host_machine", "link", "object_code", "provide"]


@functools.cache
def _target() -> tuple[Any, str, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    return llvm.Target.from_default_triple(), llvm.get_host_cpu_name(), features


@functools.cache
def host_machine() -> Machine:
    """The processor of this process."""
    _, _, features = _target()
    known = features.split(",")
    size = 64 if "+avx512f" in known and "+avx512dq" in known else 32 if "+avx2" in known else 16
    return Machine(size, vector_library=True)


def _target_machine() -> Any:
    target, cpu, features = _target()
    return target.create_target_machine(cpu=cpu, features=features, opt=2, jit=True, codemodel="jitdefault")


def _optimised(text: str, machine: Any) -> Any:
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)
    return module


def object_code(text: str) -> bytes:
    """The object file of a module."""
    machine = _target_machine()
    code: bytes = machine.emit_object(_optimised(text, machine))
    return code


def assembly_of(text: str) -> str:
    """The module in the processor's assembly language."""
    machine = _target_machine()
    made: str = machine.emit_assembly(_optimised(text, machine))
    return made


@functools.cache
def provide(symbol: str) -> None:
    """Let object code find a function of BLAS or LAPACK."""
    llvm.add_symbol(symbol, library_address(symbol))


class Linked:
    """Object code at its place in memory, for as long as this object lives."""

    def __init__(self, code: bytes, symbols: Iterable[str] = ()) -> None:
        _target()
        for one in symbols:
            provide(one)
        machine = _target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str) -> int:
        """The address of a function."""
        address: int = self._engine.get_function_address(name)
        return address

    def table(self, name: str, entries: int) -> Any:
        """A table of pointers, to be filled."""
        return (ctypes.c_void_p * entries).from_address(self._engine.get_global_value_address(name))


def link(code: bytes, symbols: Iterable[str] = ()) -> Linked:
    """Place object code, which needs these functions of BLAS and LAPACK, in memory."""
    return Linked(code, symbols)
