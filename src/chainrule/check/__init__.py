"""A gradient from anywhere and a function -> a verdict with its reason, its power and the entry at fault: the judge."""

import sys
from types import ModuleType
from typing import Any

from chainrule.check.core import check
from chainrule.check.report import Report
from chainrule.provider import set_default_backend

__all__ = ["Report", "check", "set_default_backend"]


class _Callable(ModuleType):
    """The package and its function have one name: ``chainrule.check`` is called, whichever it is bound to."""

    def __call__(self, *args: Any, **options: Any) -> Report:
        return check(*args, **options)


sys.modules[__name__].__class__ = _Callable
