"""Every error of chainrule: what happened, the user's own line, what to do."""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "ChainruleError",
    "CheckFailed",
    "CompileError",
    "NoRule",
    "NotDifferentiable",
    "ProgramError",
    "ShapeError",
    "TraceError",
]


class ChainruleError(Exception):
    """Root of all errors raised on purpose by chainrule.

    ``what`` says what happened, ``where`` shows the line of the user's code (or is empty),
    ``cure`` says what to do. The message ends with the heading of ``docs/errors.md`` that explains it.
    """

    heading = "errors"

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what = what
        self.where = where
        self.cure = cure
        super().__init__(what, where, cure)

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(self.where)
        if self.cure:
            parts.append(f"What to do: {self.cure}")
        parts.append(f"(docs/errors.md#{self.heading})")
        return "\n".join(parts)


class ArgumentError(ChainruleError, TypeError, ValueError):
    """An argument of a chainrule function is of the wrong kind (argnums, dtype, container, point)."""

    heading = "argumenterror"


class TraceError(ChainruleError, TypeError):
    """The user's function can not become a program: a dependence on the input would be lost."""

    heading = "traceerror"


class CompileError(ChainruleError, RuntimeError):
    """A compiled program is no longer what the function does (``compile(f, verify=True)``)."""

    heading = "compileerror"


class NoRule(ChainruleError, NotImplementedError):
    """A function was reached for which chainrule has no rule (not implemented, which is not zero)."""

    heading = "norule"


class ShapeError(ChainruleError, ValueError):
    """Shapes do not fit, or a gradient was asked of something that is not a scalar."""

    heading = "shapeerror"


class NotDifferentiable(ChainruleError, TypeError):
    """The derivative is undefined here (which is neither zero nor not implemented)."""

    heading = "notdifferentiable"


class CheckFailed(ChainruleError, AssertionError):
    """A gradient disagrees with the witness; ``report`` holds the whole report."""

    heading = "checkfailed"

    def __init__(self, what: str, *, where: str = "", cure: str = "", report: object = None) -> None:
        super().__init__(what, where=where, cure=cure)
        self.report = report


class ProgramError(ChainruleError, RuntimeError):
    """A program is ill-formed: a mistake of ours, or of a text given to ``Program.parse``."""

    heading = "programerror"
