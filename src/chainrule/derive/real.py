"""Expression -> a plainer expression with the same value for real numbers: for reading, not for running."""

from __future__ import annotations

from chainrule.derive.expression import Expr

__all__ = ["tidy"]


def tidy(expr: Expr) -> Expr:
    """The expression after real identities."""
    return expr
