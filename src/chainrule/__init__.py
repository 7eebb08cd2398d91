"""chainrule: exact gradients for the NumPy code you already have, derived by the chain rule and checked."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from chainrule.compiled import compile  # noqa: A004 - the field's name
from chainrule.errors import (
    ArgumentError,
    ChainruleError,
    CheckFailed,
    CompileError,
    NoRule,
    NotDifferentiable,
    ProgramError,
    ShapeError,
    TraceError,
)
from chainrule.export import to_c, to_numpy
from chainrule.operators import grad, hessian, hvp, jacobian, jvp, stop_gradient, trace, value_and_grad, vjp, vmap
from chainrule.primitive import primitive
from chainrule.program import Program
from chainrule.provider import set_default_backend as _set_default_backend

if _TYPE_CHECKING:
    from chainrule import numerical
    from chainrule.check import Report, check
    from chainrule.derive import Derivation, derive
    from chainrule.native.threads import threads

__version__ = "0.1.0.dev0"

__all__ = [
    "ArgumentError",
    "ChainruleError",
    "CheckFailed",
    "CompileError",
    "Derivation",
    "NoRule",
    "NotDifferentiable",
    "Program",
    "ProgramError",
    "Report",
    "ShapeError",
    "TraceError",
    "check",
    "compile",
    "derive",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "numerical",
    "primitive",
    "stop_gradient",
    "threads",
    "to_c",
    "to_numpy",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
]


def _own_pullback(f: _Any, args: _Any, argnums: _Any) -> _Any:
    """What ``check`` holds against the witness where no other gradient is given: ours."""
    return vjp(f, *args, argnums=argnums)


def _own_tape(f: _Any, args: _Any, argnums: _Any) -> _Any:
    """The steps of our program, where the witness finds it wrong: a rule, most likely the user's own."""
    from chainrule.taped import taped

    return taped(f, args, argnums)


_set_default_backend(_own_pullback, _own_tape)


def __getattr__(name: str) -> _Any:
    """The witness and the judge are loaded when they are asked for."""
    if name == "numerical":
        import importlib

        return importlib.import_module("chainrule.numerical")
    if name == "threads":
        from chainrule.native.threads import threads

        return threads
    if name in ("check", "Report"):
        from chainrule.check import Report, check

        globals().update(check=check, Report=Report)
        return globals()[name]
    if name in ("derive", "Derivation"):
        from chainrule.derive import Derivation, derive

        globals().update(derive=derive, Derivation=Derivation)
        return globals()[name]
    msg = f"module 'chainrule' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
