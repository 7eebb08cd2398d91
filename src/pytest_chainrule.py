"""pytest: a fixture, a marker and options for gradients; chainrule itself is loaded only by a test that checks one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

__all__ = ["OUTCOMES", "gradcheck", "running"]

OUTCOMES = ("fail", "warn", "skip")

# The test that runs now, innermost last (pytester runs pytest inside a test). ``assert_gradient`` is a plain function,
# for unittest methods and Hypothesis too, so it asks here for the marker, the options and the seed.
running: list[pytest.Item] = []


# The scope is the session's because the fixture holds nothing: under Hypothesis, which calls a test many times, a
# fixture of function scope is an error.
@pytest.fixture(scope="session")
def gradcheck() -> Callable[..., Any]:
    """``assert_gradient``: ``gradcheck(f, x, grad=g)`` fails the test, with the report, if g is not the gradient."""
    from chainrule.check.assertion import assert_gradient

    return assert_gradient


def pytest_addoption(parser: pytest.Parser) -> None:
    """The three options."""
    group = parser.getgroup("gradcheck", "gradient checks (chainrule)")
    group.addoption(
        "--gradcheck-inconclusive",
        choices=OUTCOMES,
        default="fail",
        help="what a test does whose gradient can be called neither right nor wrong (fail)",
    )
    group.addoption(
        "--gradcheck-seed",
        type=int,
        default=None,
        metavar="N",
        help="the seed of every check that names none (made of the test's id)",
    )
    group.addoption(
        "--gradcheck-plots",
        default=None,
        metavar="DIR",
        help="write the error against the step of every failed check to this folder (needs matplotlib)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known, so that --strict-markers accepts it."""
    config.addinivalue_line(
        "markers", "gradcheck(**options): options of chainrule.check for the gradients that this test asserts"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """While a test runs, its fixtures included, ``assert_gradient`` knows which one it is."""
    running.append(item)
    try:
        return (yield)
    finally:
        running.pop()
