"""A gradient from anywhere and a function -> a verdict with its reason, its power and the entry at fault: the judge."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chainrule.check.core import check
from chainrule.check.report import Report
from chainrule.provider import set_default_backend

if TYPE_CHECKING:
    from chainrule.check.assertion import assert_gradient  # noqa: TC004 - loaded by __getattr__ below
    from chainrule.check.mutation import mutation_power  # noqa: TC004

__all__ = ["Report", "assert_gradient", "check", "mutation_power", "set_default_backend"]


class _Callable(ModuleType):
    """The package and its function have one name: ``chainrule.check`` is called, whichever it is bound to."""

    def __call__(self, *args: Any, **options: Any) -> Report:
        return check(*args, **options)

    def __getattr__(self, name: str) -> Any:
        """What only tests need is loaded when it is asked for."""
        if name == "assert_gradient":
            from chainrule.check.assertion import assert_gradient as found
        elif name == "mutation_power":
            from chainrule.check.mutation import mutation_power as found
        else:
            msg = f"module {self.__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return found


sys.modules[__name__].__class__ = _Callable
