"""chainrule: exact gradients for the NumPy code you already have, derived by the chain rule and checked."""

from typing import Any as _Any

from chainrule import numerical
from chainrule.check import Report, check
from chainrule.check.core import set_default_backend
from chainrule.errors import (
    ArgumentError,
    ChainruleError,
    CheckFailed,
    NoRule,
    NotDifferentiable,
    ProgramError,
    ShapeError,
    TraceError,
)
from chainrule.operators import grad, hessian, hvp, jacobian, jvp, stop_gradient, trace, value_and_grad, vjp, vmap
from chainrule.primitive import primitive
from chainrule.program import Program

__version__ = "0.1.0.dev0"

__all__ = [
    "ArgumentError",
    "ChainruleError",
    "CheckFailed",
    "NoRule",
    "NotDifferentiable",
    "Program",
    "ProgramError",
    "Report",
    "ShapeError",
    "TraceError",
    "__version__",
    "check",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "numerical",
    "primitive",
    "stop_gradient",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
]


def _own_pullback(f: _Any, args: _Any, argnums: _Any) -> _Any:
    """What ``check`` holds against the witness where no other gradient is given: ours."""
    return vjp(f, *args, argnums=argnums)


set_default_backend(_own_pullback)
