"""chainrule: exact gradients for the NumPy code you already have, derived by the chain rule and checked."""

from chainrule import numerical
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
