"""A check as an assertion: a wrong gradient fails its test, by the options of the test that pytest runs."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.errors import ArgumentError, CheckFailed

if TYPE_CHECKING:
    import pytest

__all__ = ["GradientWarning", "assert_gradient"]

OUTCOMES = ("fail", "warn", "skip")


class GradientWarning(UserWarning):
    """A gradient with a small but significant error (WARN), or one that could not be judged (INCONCLUSIVE)."""


def _item() -> pytest.Item | None:
    """The test that runs now, as the plugin knows it; None outside pytest, and where its plugin is switched off."""
    running = getattr(sys.modules.get("pytest_chainrule"), "running", None)
    return running[-1] if running else None


def assert_gradient(f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Holds the gradient of ``f`` at ``args`` against differences of f; the ``Report``, if there is nothing to say.

    ``args`` and ``options`` are those of ``chainrule.check``: arguments of any shapes, ``grad=``, ``vjp=``, ``rtol=``
    and so on; ``inconclusive="fail" | "warn" | "skip"`` says what an INCONCLUSIVE does here. What the call does not say
    the test's marker ``@pytest.mark.gradcheck(...)`` does, and then the command line. The seed, where none is given,
    is made of the test's id: every run of a test makes the same check. f is called at points near the given ones,
    where a RuntimeWarning of NumPy means nothing: those are ignored during the check.

    Raises ``CheckFailed`` (an AssertionError that carries the report) for FAIL, and for INCONCLUSIVE unless told
    otherwise; ``ArgumentError`` where the question makes no sense. WARN gives a ``GradientWarning``.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> assert_gradient(lambda x: np.sum(x**3), x, grad=lambda x: 3 * x**2).verdict
    'PASS'
    >>> try:
    ...     assert_gradient(lambda x: np.sum(x**3), x, grad=lambda x: -3 * x**2)
    ... except AssertionError as problem:
    ...     print(problem.report.pattern)
    the claimed array is -1 x the true one in 3 of 3 sampled entries: the sign?
    """
    __tracebackhide__ = True
    item = _item()
    chosen = {**_defaults(item), **options}
    inconclusive = chosen.pop("inconclusive")
    if inconclusive not in OUTCOMES:
        raise ArgumentError(f"inconclusive={inconclusive!r}", cure=f"it is one of {', '.join(OUTCOMES)}")
    from chainrule.check.core import check

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        report = check(f, *args, **chosen)
    if report:
        return report
    if report.verdict == "WARN":
        warnings.warn(str(report), GradientWarning, stacklevel=2)
        return report
    if report.verdict == "INCONCLUSIVE" and inconclusive == "warn":
        warnings.warn(str(report), GradientWarning, stacklevel=2)
        return report
    if report.verdict == "INCONCLUSIVE" and inconclusive == "skip":
        import pytest

        pytest.skip(f"the gradient could not be judged: {report.sentence}")
    cure = "the gradient and the function disagree: one of them is wrong"
    if report.verdict == "INCONCLUSIVE":
        cure = 'another point or a larger rtol, or inconclusive="warn" (--gradcheck-inconclusive=warn for all tests)'
    raise CheckFailed("\n".join([str(report), *_plotted(item, report)]), cure=cure, report=report)


def _defaults(item: pytest.Item | None) -> dict[str, Any]:
    """The options that a call need not give: those of the markers, the nearest last, over the command line's."""
    if item is None:
        return {"inconclusive": "fail"}
    config = item.config
    seed = config.getoption("gradcheck_seed")
    chosen: dict[str, Any] = {
        "inconclusive": config.getoption("gradcheck_inconclusive"),
        "seed": _seed(item.nodeid) if seed is None else seed,
    }
    for marker in reversed(list(item.iter_markers("gradcheck"))):
        if marker.args:
            raise ArgumentError(
                f"the marker gradcheck of {item.name} has arguments without a name",
                cure="@pytest.mark.gradcheck(rtol=1e-6): options of chainrule.check, by name",
            )
        chosen.update(marker.kwargs)
    return chosen


def _seed(identity: str) -> int:
    # Not hash(): that of a string is another one in every process.
    return int.from_bytes(hashlib.blake2s(identity.encode("utf-8", "replace"), digest_size=4).digest(), "big")


def _plotted(item: pytest.Item | None, report: Any) -> list[str]:
    """The plot of a report that fails a test, where a folder was named; the line of the message that says where."""
    folder = item.config.getoption("gradcheck_plots") if item is not None else None
    if item is None or not folder:
        return []
    # A name that every file system takes, and the seed keeps apart the tests that it makes equal. Hypothesis repeats a
    # failing test many times: the file is written over, and the last is the smallest example.
    name = re.sub(r"[^\w.-]+", "_", item.nodeid)[-120:].strip("_.")
    path = os.path.join(item.config.invocation_params.dir, folder, f"{name}_{_seed(item.nodeid):08x}.png")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report.plot(path)
    except (ArgumentError, OSError) as problem:
        return [f"no plot: {problem.what if isinstance(problem, ArgumentError) else problem}"]
    return [f"plot: {path}"]
