"""A gradient from anywhere and a function -> a verdict with its reason, its power and the entry at fault: the judge."""

from chainrule.check.core import check, set_default_backend
from chainrule.check.report import Report

__all__ = ["Report", "check", "set_default_backend"]
