"""The pytest plugin in runs of its own: verdicts become outcomes, options hold, seeds repeat; strategies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

# matplotlib is imported here because pytester forgets the modules that an inner run was the first to import.
from matplotlib.figure import Figure  # noqa: F401

import pytest_chainrule
from chainrule.check import Report, assertion
from chainrule.check.assertion import GradientWarning, assert_gradient
from chainrule.check.strategies import arrays, broadcast_arrays, shapes
from chainrule.errors import ArgumentError, CheckFailed

pytest_plugins = "pytester"

# Inner runs begin with the filters of the outer one, which makes every warning an error.
pytestmark = pytest.mark.filterwarnings("default")

HEAD = """
import numpy as np
import pytest
from chainrule.check.assertion import assert_gradient

X = np.array([0.3, -1.2, 2.0])

def f(x):
    return np.sum(x**3)

def right(x):
    return 3 * x**2

def wrong(x):
    return 6 * x**2

def slightly(x):
    return 3 * x**2 * (1 + 1e-7)

def undefined(x):
    return np.sum(x**3) * np.nan
"""


@pytest.fixture
def inner(pytester):
    """Runs a file of tests with the plugin; where chainrule is installed its entry point would load it twice."""

    def run(body, *options):
        pytester.makepyfile(test_it=HEAD + body)
        known = ["-p", "no:chainrule", "-p", "pytest_chainrule", "-p", "no:cacheprovider"]
        # The outer run has imported the plugin, of which pytest warns.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        return pytester.runpytest_inprocess(*known, "--strict-markers", *options, *quiet)

    return run


def test_verdicts_become_outcomes(inner) -> None:
    result = inner("""
def test_right(gradcheck):
    assert gradcheck(f, X, grad=right).verdict == "PASS"

def test_wrong(gradcheck):
    gradcheck(f, X, grad=wrong)

def test_function():
    assert_gradient(f, X, grad=wrong)

def test_own_gradient(gradcheck):
    gradcheck(f, X)
""")
    result.assert_outcomes(passed=2, failed=2)
    # The report is the message, and the traceback ends in the user's test.
    result.stdout.fnmatch_lines(["E *CheckFailed: FAIL. *", "E *pattern: *2 x the true one*"])
    result.stdout.fnmatch_lines(["test_it.py:*: CheckFailed"])


@pytest.mark.parametrize(
    ("option", "expected"),
    [((), {"failed": 1}), (("fail",), {"failed": 1}), (("warn",), {"passed": 1, "warnings": 1}),
     (("skip",), {"skipped": 1})],
)  # fmt: skip
def test_inconclusive_does_what_the_option_says(inner, option, expected) -> None:
    result = inner(
        """
def test_open(gradcheck):
    gradcheck(undefined, X, grad=right)
""",
        *(f"--gradcheck-inconclusive={word}" for word in option),
    )
    result.assert_outcomes(**expected)


def test_a_warning_is_a_warning(inner) -> None:
    body = """
def test_slightly(gradcheck):
    assert gradcheck(f, X, grad=slightly).verdict == "WARN"
"""
    inner(body).assert_outcomes(passed=1, warnings=1)
    inner(body, "-W", "error::chainrule.check.assertion.GradientWarning").assert_outcomes(failed=1)


def test_marker_gives_options_and_the_nearest_wins(inner) -> None:
    result = inner("""
pytestmark = pytest.mark.gradcheck(seed=5)

@pytest.mark.gradcheck(rtol=1e-8)
def test_rtol(gradcheck):
    with pytest.raises(AssertionError) as caught:
        gradcheck(f, X, grad=slightly)
    assert caught.value.report.seed == 5

@pytest.mark.gradcheck(seed=6)
class TestSeeds:
    def test_class(self, gradcheck):
        assert gradcheck(f, X, grad=right).seed == 6

    @pytest.mark.gradcheck(seed=7)
    def test_method(self, gradcheck):
        assert gradcheck(f, X, grad=right).seed == 7
        assert gradcheck(f, X, grad=right, seed=8).seed == 8

@pytest.mark.gradcheck(inconclusive="skip")
def test_skipped(gradcheck):
    gradcheck(undefined, X, grad=right)

@pytest.mark.gradcheck(1e-8)
def test_position(gradcheck):
    with pytest.raises(TypeError, match="without a name"):
        gradcheck(f, X, grad=right)
""")
    result.assert_outcomes(passed=4, skipped=1)


SEEDS = """
@pytest.mark.parametrize("k", [0, 1])
def test_seed(gradcheck, k):
    one, two = (gradcheck(f, X, grad=right).seed for _ in range(2))
    assert one == two
    print("seed", k, one)
"""


def seeds(result):
    result.assert_outcomes(passed=2)
    return [line.partition("seed ")[2].split() for line in result.outlines if "seed " in line]


def test_seeds_are_those_of_the_test_and_repeat(inner) -> None:
    first, again = (seeds(inner(SEEDS, "-sq", "--no-header")) for _ in range(2))
    assert first == again
    assert first[0][1] != first[1][1]
    assert all(seed == "77" for _, seed in seeds(inner(SEEDS, "-sq", "--gradcheck-seed=77")))


def test_seed_is_the_same_in_every_process() -> None:
    assert assertion._seed("tests/test_a.py::test_b[1]") == 1730873503


def test_plots_of_failures_only(inner, pytester) -> None:
    result = inner(
        """
def test_right(gradcheck):
    gradcheck(f, X, grad=right)

@pytest.mark.parametrize("name", ["a/b", "a b"])
def test_wrong(gradcheck, name):
    gradcheck(f, X, grad=wrong)
""",
        "--gradcheck-plots=plots/here",
    )
    result.assert_outcomes(passed=1, failed=2)
    files = sorted((pytester.path / "plots" / "here").iterdir())
    assert len(files) == 2
    assert all(p.name.startswith("test_it.py_test_wrong_a_b_") and p.suffix == ".png" for p in files)
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in files)
    result.stdout.fnmatch_lines(["E *plot: *test_wrong*png"])


def test_a_plot_that_can_not_be_written_hides_nothing(inner, pytester) -> None:
    (pytester.path / "plots").write_text("a file, not a folder")
    result = inner(
        """
def test_wrong(gradcheck):
    gradcheck(f, X, grad=wrong)
""",
        "--gradcheck-plots=plots",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *FAIL. *", "E *no plot: *"])


def test_under_hypothesis_and_unittest(inner) -> None:
    result = inner("""
import unittest
from hypothesis import given, settings
from chainrule.check.strategies import arrays

@settings(max_examples=10, deadline=None, database=None)
@given(x=arrays((3,), scales=(1e-3, 1e3)))
def test_right(gradcheck, x):
    gradcheck(f, x, grad=right)

class TestCase(unittest.TestCase):
    def test_wrong(self):
        with self.assertRaises(AssertionError):
            assert_gradient(f, X, grad=wrong)
""")
    result.assert_outcomes(passed=2)


def test_warnings_of_numpy_at_points_nearby_are_no_errors(inner) -> None:
    result = inner(
        """
import warnings

def edge(x):
    if x.min() < 0:
        warnings.warn("outside", RuntimeWarning)
    return np.sum(x**3)

def test_edge(gradcheck):
    gradcheck(edge, np.array([1e-4, 2.0]), grad=right)
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=1)


def test_a_run_that_uses_nothing_of_it_loads_nothing_heavy(pytester, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_chainrule.__file__).parent))
    pytester.makepyfile(
        test_it="""
import sys

def test_light():
    assert "pytest_chainrule" in sys.modules
    assert not {"chainrule", "numpy"} & set(sys.modules)
"""
    )
    known = ["-p", "no:chainrule", "-p", "pytest_chainrule", "-p", "no:cacheprovider"]
    pytester.runpytest_subprocess(*known).assert_outcomes(passed=1)


def test_help_and_markers_name_it(inner) -> None:
    inner("", "--help").stdout.fnmatch_lines(["*--gradcheck-inconclusive=*", "*--gradcheck-plots=DIR*"])
    inner("", "--markers").stdout.fnmatch_lines(["@pytest.mark.gradcheck(*"])


def test_outside_a_test_it_is_a_plain_function(monkeypatch) -> None:
    monkeypatch.setattr(pytest_chainrule, "running", [])
    x = np.array([0.3, -1.2])
    assert assert_gradient(lambda x: np.sum(x**2), x, grad=lambda x: 2 * x).seed == 0
    with pytest.raises(CheckFailed) as caught:
        assert_gradient(lambda x: np.sum(x**2), x, grad=lambda x: x)
    assert isinstance(caught.value.report, Report)
    assert caught.value.report.verdict == "FAIL"
    with pytest.warns(GradientWarning, match="INCONCLUSIVE"):
        assert_gradient(lambda x: np.sum(x) * np.nan, x, grad=np.ones_like, inconclusive="warn")
    with pytest.raises(ArgumentError, match="inconclusive"):
        assert_gradient(lambda x: np.sum(x**2), x, grad=lambda x: 2 * x, inconclusive="maybe")


# --- strategies


@given(shapes(3))
def test_shapes_broadcast(drawn) -> None:
    assert len(drawn) == 3
    np.broadcast_shapes(*drawn)


@given(broadcast_arrays(2, scales=(1, 1)))
def test_arrays_broadcast(pair) -> None:
    a, b = pair
    assert (a + b).shape == np.broadcast_shapes(a.shape, b.shape)


@given(st.sampled_from([np.float32, np.float64]).flatmap(lambda dtype: arrays(dtype=dtype)))
def test_arrays_are_finite_and_of_the_scales(x) -> None:
    size = np.abs(x[x != 0])
    assert x.dtype in (np.float32, np.float64)
    assert np.isfinite(x).all()
    assert np.all((size > 0.99e-12) & (size < 2.01e12))
    if size.size:
        assert size.max() / size.min() <= 2.01


@given(arrays((6,), ties=False, zeros=False, signs="negative", scales=(1e-3, 10)))
def test_arrays_without_ties_or_zeros(x) -> None:
    assert np.all(x < 0)
    assert len(np.unique(x)) == 6


@given(arrays((4,), ties=False, zeros=False, dtype=np.float16, scales=(1, 1)))
def test_half_precision_has_no_ties_either(x) -> None:
    assert len(np.unique(np.abs(x))) == 4


@pytest.mark.parametrize(
    "holds",
    [
        lambda x: np.any(x == 0) and np.any(x != 0),
        lambda x: np.any(x < 0) and np.any(x > 0),
        lambda x: len(np.unique(np.abs(x))) < x.size,
        lambda x: 0 < np.abs(x).max() < 1e-9,
        lambda x: np.abs(x).max() > 1e9,
    ],
)
def test_arrays_have_zeros_signs_ties_and_scales(holds) -> None:
    from hypothesis import find

    assert find(arrays((4,)), lambda x: bool(holds(x))).shape == (4,)


def test_each_entry_may_have_a_scale_of_its_own() -> None:
    from hypothesis import find

    x = find(arrays((3,), each_entry=True, zeros=False), lambda x: np.abs(x).max() / np.abs(x).min() > 1e6)
    assert x.shape == (3,)


@pytest.mark.parametrize(
    "options",
    [{"scales": (0, 1)}, {"scales": (2, 1)}, {"scales": (1, 1e12), "dtype": np.float16}, {"scales": (2, 3)},
     {"signs": "any"}],
)  # fmt: skip
def test_arrays_that_can_not_be_drawn(options) -> None:
    with pytest.raises(ArgumentError):
        arrays((3,), **options)
    with pytest.raises(ArgumentError):
        broadcast_arrays(2, **options)


def test_no_shapes() -> None:
    with pytest.raises(ArgumentError):
        shapes(0)
