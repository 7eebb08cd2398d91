"""The text of an LLVM module -> machine code; the one file that imports llvmlite."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import llvmlite.binding as llvm

from chainrule.native.mathlib import Machine

__all__ = ["Engine", "assembly_of", "host_machine", "object_code"]


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


class Engine:
    """Object code placed in memory by LLVM's own linker, for as long as this object lives."""

    def __init__(self, code: bytes, symbols: Mapping[str, int]) -> None:
        _target()
        for name, address in symbols.items():
            llvm.add_symbol(name, address)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """The address of a function or of a global variable."""
        found: int = self._engine.get_function_address(name) or self._engine.get_global_value_address(name)
        return found
