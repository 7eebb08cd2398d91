"""A function and a point -> its derivatives by differences of values, with error bounds that hold: the witness."""

from chainrule.numerical.gradient import derivative, grad, jacobian, jvp
from chainrule.numerical.hessian import hessian
from chainrule.numerical.result import Derivative

__all__ = ["Derivative", "derivative", "grad", "hessian", "jacobian", "jvp"]
