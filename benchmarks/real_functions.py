"""Functions of published packages, as installed, differentiated by chainrule and held against a numerical reference.

Nothing of them is rewritten: each case calls the package's own function at a point and says what is differentiated.
The reference is ``chainrule.numerical``, which shares no code with the analytic half and gives an error bound for
every entry. A package that is not installed is named and left out:

    pip install scipy lmfit statsmodels astropy
    python benchmarks/real_functions.py [--package NAME] [--only TEXT] [--json FILE] [--full]

The exit code is 1 if a gradient was WRONG. An error is not a wrong gradient: it is printed with its class and message.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr

__all__ = ["PACKAGES", "Case", "Outcome", "cases", "examine"]

Point = list[float]


class Case(NamedTuple):
    """A function of a package, as a function of one array, and the point where it is differentiated."""

    package: str
    name: str
    call: Callable[[Any], Any]
    point: Point


class Outcome(NamedTuple):
    """What came out: ``right``, ``WRONG``, ``error`` or ``no reference`` (there is no sure value to compare with)."""

    case: Case
    verdict: str
    note: str = ""
    ratio: float = float("nan")
    milliseconds: float = float("nan")


X = np.array([-1.3, -0.4, 0.2, 0.9, 2.1])
POSITIVE = np.array([0.3, 0.8, 1.4, 2.2, 3.7])
TALL = np.array([
    [1.0, 0.3, -1.2], [1.0, -0.7, 0.4], [1.0, 1.9, 0.8], [1.0, 0.1, -0.3],
    [1.0, -1.4, 1.1], [1.0, 0.6, 0.2], [1.0, 2.2, -0.9], [1.0, -0.2, 1.5],
])  # fmt: skip
BINARY = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
COUNTS = np.array([2.0, 0.0, 5.0, 1.0, 1.0, 3.0, 4.0, 0.0])
REAL = np.array([0.4, -1.1, 2.3, 0.9, -0.3, 1.2, 2.8, -0.6])


# --- NumPy's own functions that are written in Python ---------------------------------------------------------------


def numpy_cases() -> Iterator[Case]:
    """Polynomials, statistics and small helpers of NumPy itself."""

    def case(name: str, call: Callable[[Any], Any], point: Any) -> Case:
        return Case("numpy", name, call, list(map(float, point)))

    poly = np.polynomial
    coefficients = [0.7, -1.2, 0.4, 0.9]
    for name, module in (
        ("chebval", poly.chebyshev), ("hermeval", poly.hermite_e), ("hermval", poly.hermite),
        ("lagval", poly.laguerre), ("legval", poly.legendre), ("polyval", poly.polynomial),
    ):  # fmt: skip
        code = getattr(module, name)
        yield case(f"polynomial.{name}", lambda p, code=code: code(p[:3], p[3:]), [0.3, -0.6, 1.1, *coefficients])
    yield case("polyval", lambda p: np.polyval(p[3:], p[:3]), [0.3, -0.6, 1.1, *coefficients])
    yield case("poly1d", lambda p: np.poly1d(p[1:])(p[0]), [0.3, *coefficients])
    yield case("trapezoid", lambda p: np.trapezoid(p[:5], p[5:]), [*X, *POSITIVE])
    yield case("gradient", lambda p: np.gradient(p[:5], 0.3), X)
    yield case("cov", lambda p: np.cov(p.reshape(2, 5)), [*X, *POSITIVE])
    yield case("corrcoef", lambda p: np.corrcoef(p.reshape(2, 5)), [*X, *POSITIVE])
    yield case("average", lambda p: np.average(p[:5], weights=p[5:]), [*X, *POSITIVE])
    yield case("convolve", lambda p: np.convolve(p[:5], p[5:]), [*X, *POSITIVE[:3]])
    yield case("correlate", lambda p: np.correlate(p[:5], p[5:], "same"), [*X, *POSITIVE[:3]])
    yield case("interp", lambda p: np.interp([-0.9, 0.1, 1.7], X, p), POSITIVE)
    yield case("vander", np.vander, X)
    yield case("unwrap", np.unwrap, [0.1, 3.0, 6.5, 9.8, 6.0])
    yield case("nanvar", np.nanvar, X)
    yield case("median", np.median, X)
    yield case("percentile", lambda p: np.percentile(p, [20.0, 55.0]), X)
    yield case("cross", lambda p: np.cross(p[:3], p[3:]), [*X, 0.7])
    yield case("linalg.multi_dot", lambda p: np.linalg.multi_dot([p[:4].reshape(2, 2)] * 3), X[:4])
    yield case("linalg.matrix_power", lambda p: np.linalg.matrix_power(p[:4].reshape(2, 2), 3), X[:4])
    yield case("linalg.cond", lambda p: np.linalg.cond(p.reshape(2, 2)), X[:4])
    yield case("fft.rfft, power", lambda p: np.abs(np.fft.rfft(p)) ** 2, X)


# --- SciPy ----------------------------------------------------------------------------------------------------------

#: Their value is an iteration or an integral done in compiled code for every element: seconds a call.
SLOW = frozenset({"levy_stable", "studentized_range", "ksone", "kstwo", "kstwobign", "geninvgauss", "genhyperbolic"})
#: Moved away from parameters at which the package's code has a case of its own (``h == 0``): the derivative of that
#: case is not the derivative of the function.
MOVED = {"kappa4": (0.3, 0.2), "gausshyper": (2.7, 1.9, 1.1, 0.4), "trapezoid": (0.2, 0.8)}
#: Their shape is an integer.
INTEGER = frozenset({"erlang", "irwinhall"})


def distribution_cases() -> Iterator[Case]:
    """``logpdf`` of the continuous distributions, in x, loc, scale and the shapes."""
    from scipy import stats
    from scipy.stats._distr_params import distcont

    seen = set()
    for name, shapes in distcont:
        if not isinstance(name, str) or name in seen or name in SLOW:
            continue
        seen.add(name)
        distribution = getattr(stats, name)
        shapes = MOVED.get(name, shapes)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            x = np.asarray(distribution.ppf([0.23, 0.44, 0.81], *shapes)) * 1.3 + 0.4
        if not np.isfinite(x).all():
            continue
        if name in INTEGER:
            call = lambda p, d=distribution, s=shapes: d.logpdf(p[:3], *s, loc=p[3], scale=p[4])  # noqa: E731
            point = [*x, 0.4, 1.3]
        else:
            call = lambda p, d=distribution: d.logpdf(p[:3], *p[5:], loc=p[3], scale=p[4])  # noqa: E731
            point = [*x, 0.4, 1.3, *map(float, shapes)]
        yield Case("scipy", f"stats.{name}.logpdf", call, point)


def scipy_cases() -> Iterator[Case]:
    """The rest of SciPy: statistics, test functions, distances, integrals, linear algebra."""
    from scipy import integrate, linalg, optimize, signal, special, stats
    from scipy.spatial import distance

    def case(name: str, call: Callable[[Any], Any], point: Any) -> Case:
        return Case("scipy", name, call, list(map(float, point)))

    yield case("optimize.rosen", optimize.rosen, X)
    yield case("optimize.rosen_der", optimize.rosen_der, X)
    yield case("optimize.rosen_hess", optimize.rosen_hess, X)
    yield case("optimize.rosen_hess_prod", lambda p: optimize.rosen_hess_prod(p, POSITIVE), X)
    # distributions: other methods
    for name, shapes in (
        ("norm", ()), ("gamma", (2.1,)), ("beta", (1.7, 2.4)), ("t", (4.5,)), ("weibull_min", (1.8,)),
        ("lognorm", (0.7,)),
    ):  # fmt: skip
        d = getattr(stats, name)
        x = np.asarray(d.ppf([0.3, 0.5, 0.8], *shapes)) * 1.2 + 0.1
        for method in ("pdf", "cdf", "sf", "logcdf", "logsf"):
            yield case(
                f"stats.{name}.{method}",
                lambda p, d=d, m=method: getattr(d, m)(p[:3], *p[5:], loc=p[3], scale=p[4]),
                [*x, 0.1, 1.2, *shapes],
            )
        yield case(
            f"stats.{name}.ppf",
            lambda p, d=d: d.ppf(p[:2], *p[4:], loc=p[2], scale=p[3]),
            [0.3, 0.8, 0.1, 1.2, *shapes],
        )
        yield case(f"stats.{name}.entropy", lambda p, d=d: d.entropy(*p[1:], scale=p[0]), [1.2, *shapes])
    yield case("stats.norm.nnlf", lambda p: stats.norm.nnlf(p, X), [0.3, 1.4])
    yield case("stats.gamma.nnlf", lambda p: stats.gamma.nnlf(p, POSITIVE), [1.9, -0.2, 1.4])
    yield case("stats.t.nnlf", lambda p: stats.t.nnlf(p, X), [3.1, 0.3, 1.4])
    yield case("stats.norm(loc, scale).logpdf", lambda p: stats.norm(p[0], p[1]).logpdf(X), [0.3, 1.4])
    # discrete and multivariate
    yield case("stats.poisson.logpmf", lambda p: stats.poisson.logpmf(COUNTS, p[0]), [1.7])
    yield case("stats.binom.logpmf", lambda p: stats.binom.logpmf(COUNTS, 7, p[0]), [0.4])
    yield case("stats.nbinom.logpmf", lambda p: stats.nbinom.logpmf(COUNTS, p[0], p[1]), [2.6, 0.4])
    yield case("stats.geom.logpmf", lambda p: stats.geom.logpmf(COUNTS + 1, p[0]), [0.4])
    yield case("stats.bernoulli.logpmf", lambda p: stats.bernoulli.logpmf(BINARY, p[0]), [0.4])
    yield case("stats.betabinom.logpmf", lambda p: stats.betabinom.logpmf(COUNTS, 7, p[0], p[1]), [1.3, 2.2])
    yield case("stats.zipf.logpmf", lambda p: stats.zipf.logpmf(COUNTS + 1, p[0]), [2.4])
    yield case("stats.skellam.logpmf", lambda p: stats.skellam.logpmf(COUNTS, p[0], p[1]), [2.4, 1.1])
    covariance = np.array([[1.4, 0.3, -0.2], [0.3, 0.9, 0.1], [-0.2, 0.1, 1.7]])
    yield case(
        "stats.multivariate_normal.logpdf, x and mean",
        lambda p: stats.multivariate_normal.logpdf(p[:3], p[3:], covariance), [0.3, -0.4, 1.1, 0.1, 0.2, -0.3],
    )  # fmt: skip
    yield case(
        "stats.multivariate_normal.logpdf, cov",
        lambda p: stats.multivariate_normal.logpdf(
            TALL[:, :2], np.array([0.9, 0.1]), np.array([[p[0], p[1]], [p[1], p[2]]])
        ),
        [1.4, 0.3, 0.9],
    )
    yield case(
        "stats.multivariate_t.logpdf",
        lambda p: stats.multivariate_t.logpdf(p[:3], p[3:6], covariance, p[6]), [0.3, -0.4, 1.1, 0.1, 0.2, -0.3, 4.5],
    )  # fmt: skip
    yield case("stats.dirichlet.logpdf", lambda p: stats.dirichlet.logpdf([0.2, 0.5, 0.3], p), [1.2, 2.3, 0.8])
    yield case(
        "stats.wishart.logpdf", lambda p: stats.wishart.logpdf(covariance, p[0], np.diag(p[1:])), [4.5, 1.1, 0.8, 1.3]
    )
    # statistics
    for name in ("gmean", "hmean", "variation", "sem", "entropy", "tmean", "tvar", "differential_entropy", "circstd"):
        yield case(f"stats.{name}", getattr(stats, name), POSITIVE)
    for name in ("skew", "kurtosis", "zscore", "kstat", "kstatvar", "iqr", "circmean", "median_abs_deviation", "gstd"):
        yield case(f"stats.{name}", getattr(stats, name), POSITIVE if name == "gstd" else X)
    yield case("stats.moment", lambda p: stats.moment(p, 3), X)
    yield case("stats.trim_mean", lambda p: stats.trim_mean(p, 0.2), X)
    yield case("stats.boxcox_llf", lambda p: stats.boxcox_llf(p[0], POSITIVE), [0.4])
    yield case("stats.boxcox_llf, data", lambda p: stats.boxcox_llf(0.4, p), POSITIVE)
    yield case("stats.yeojohnson_llf", lambda p: stats.yeojohnson_llf(p[0], X), [0.4])
    yield case("stats.pearsonr", lambda p: stats.pearsonr(p[:5], p[5:])[0], [*X, *POSITIVE[::-1]])
    yield case("stats.linregress", lambda p: stats.linregress(X, p)[0], POSITIVE[::-1])
    yield case("stats.ttest_ind", lambda p: stats.ttest_ind(p[:5], p[5:])[0], [*X, *POSITIVE])
    yield case("stats.f_oneway", lambda p: stats.f_oneway(p[:3], p[3:6], p[6:])[0], [*X, *POSITIVE])
    yield case("stats.bartlett", lambda p: stats.bartlett(p[:5], p[5:])[0], [*X, *POSITIVE])
    yield case("stats.wasserstein_distance", lambda p: stats.wasserstein_distance(p[:5], p[5:]), [*X, *POSITIVE])
    yield case("stats.energy_distance", lambda p: stats.energy_distance(p[:5], p[5:]), [*X, *POSITIVE])
    yield case("stats.gaussian_kde", stats.gaussian_kde(X), [0.1, 0.7])
    yield case("stats.power_divergence", lambda p: stats.power_divergence(p, axis=0)[0], POSITIVE)
    # distances
    for name in "euclidean sqeuclidean cityblock chebyshev braycurtis canberra cosine correlation".split():
        code = getattr(distance, name)
        yield case(f"distance.{name}", lambda p, code=code: code(p[:5], p[5:]), [*X, *POSITIVE[::-1]])
    yield case("distance.minkowski", lambda p: distance.minkowski(p[:5], p[5:], 3), [*X, *POSITIVE])
    yield case(
        "distance.mahalanobis",
        lambda p: distance.mahalanobis(p[:3], p[3:], covariance),
        [0.3, -0.4, 1.1, 0.1, 0.2, -0.3],
    )
    yield case("distance.jensenshannon", lambda p: distance.jensenshannon(p[:5], p[5:]), [*POSITIVE, *POSITIVE[::-1]])
    yield case("distance.pdist", lambda p: distance.pdist(p.reshape(4, 2)), [*X, *POSITIVE[:3]])
    # integrals, special functions, signals, matrices
    yield case("integrate.trapezoid", lambda p: integrate.trapezoid(p[:5], p[5:]), [*X, *POSITIVE])
    yield case("integrate.simpson", lambda p: integrate.simpson(p[:5], x=p[5:]), [*X, *POSITIVE])
    yield case(
        "integrate.cumulative_trapezoid", lambda p: integrate.cumulative_trapezoid(p[:5], p[5:]), [*X, *POSITIVE]
    )
    yield case("integrate.romb", lambda p: integrate.romb(p, dx=0.3), X)
    yield case("special.logsumexp", lambda p: special.logsumexp(p, b=[1.0, 2.0, 0.5, 1.0, 3.0]), X)
    yield case("special.softmax", special.softmax, X)
    yield case("special.log_softmax", special.log_softmax, X)
    yield case("special.multigammaln", lambda p: special.multigammaln(p[0], 3), [4.2])
    yield case("signal.detrend", signal.detrend, X)
    yield case("signal.chirp", lambda p: signal.chirp(POSITIVE, p[0], 4.0, p[1]), [0.3, 1.1])
    yield case("signal.gausspulse", lambda p: signal.gausspulse(X * 0.2, p[0], 0.5), [1.4])
    yield case("signal.windows.gaussian", lambda p: signal.windows.gaussian(7, p[0]), [1.4])
    yield case("signal.windows.kaiser", lambda p: signal.windows.kaiser(7, p[0]), [2.4])
    square = np.array([1.4, 0.3, -0.2, 0.3, 0.9, 0.1, -0.2, 0.1, 1.7])
    yield case("linalg.det", lambda p: linalg.det(p.reshape(3, 3)), square)
    yield case("linalg.inv", lambda p: linalg.inv(p.reshape(3, 3)), square)
    yield case("linalg.solve", lambda p: linalg.solve(p[:9].reshape(3, 3), p[9:]), [*square, 0.3, -0.7, 1.1])
    yield case("linalg.cholesky", lambda p: linalg.cholesky(p.reshape(3, 3) @ p.reshape(3, 3).T, lower=True), square)
    yield case("linalg.cho_solve", lambda p: linalg.cho_solve(linalg.cho_factor(covariance), p), [0.3, -0.7, 1.1])
    yield case("linalg.expm", lambda p: linalg.expm(p.reshape(3, 3)), square)
    yield case("linalg.toeplitz", linalg.toeplitz, X)


# --- lmfit ----------------------------------------------------------------------------------------------------------


def lmfit_cases() -> Iterator[Case]:
    """Line shapes in x and all their parameters, and models made of them."""
    import inspect

    from lmfit import lineshapes, models

    def case(name: str, call: Callable[[Any], Any], point: Any) -> Case:
        return Case("lmfit", name, call, list(map(float, point)))

    given = {
        "amplitude": 1.3, "center": 0.4, "centerx": 0.4, "centery": -0.3, "sigma": 0.8, "sigmax": 0.8, "sigmay": 1.1,
        "gamma": 0.6, "fraction": 0.4, "beta": 1.4, "expon": 1.7, "skew": 0.3, "q": 1.2, "kt": 0.9, "decay": 1.3,
        "exponent": 0.7, "slope": 0.4, "intercept": 0.2, "a": 0.3, "b": -0.7, "c": 0.4, "frequency": 1.7, "shift": 0.3,
        "sigma_r": 1.4, "y": 0.6, "center1": 0.4, "sigma1": 0.8, "center2": 1.2, "sigma2": 0.7,
    }  # fmt: skip
    shapes = []
    for name in lineshapes.functions:
        code = getattr(lineshapes, name)
        names = [one for one in inspect.signature(code).parameters if one not in ("x", "form")]
        forms = ("linear", "atan", "erf", "logistic") if name in ("step", "rectangle") else (None,)
        shapes += [(name, code, names, form) for form in forms]
    for name, code, names, form in shapes:
        options = {} if form is None else {"form": form}
        x = [0.9, 1.4, 2.3] if name in ("lognormal", "powerlaw", "bose", "thermal_distribution") else [-0.7, 0.3, 1.4]
        yield case(
            f"lineshapes.{name}" + (f"({form})" if form else ""),
            lambda p, code=code, names=names, options=options: code(
                p[:3], **dict(zip(names, p[3:], strict=True)), **options
            ),
            [*x, *(given[one] for one in names)],
        )
    peak = models.GaussianModel(prefix="g_") + models.LorentzianModel(prefix="l_") + models.LinearModel(prefix="b_")
    yield case(
        "Model.eval, composite",
        lambda p: peak.eval(
            x=X, g_amplitude=p[0], g_center=p[1], g_sigma=p[2], l_amplitude=p[3], l_center=p[4], l_sigma=p[5],
            b_slope=p[6], b_intercept=p[7],
        ),
        [1.3, 0.4, 0.8, 0.7, -0.6, 0.5, 0.2, 0.1],
    )  # fmt: skip
    voigt = models.PseudoVoigtModel()
    yield case(
        "PseudoVoigtModel.eval", lambda p: voigt.eval(x=X, amplitude=p[0], center=p[1], sigma=p[2], fraction=p[3]),
        [1.3, 0.4, 0.8, 0.3],
    )  # fmt: skip

    def residual(p: Any) -> Any:
        parameters = gaussian.make_params(amplitude=1.0, center=0.0, sigma=1.0)
        for name, value in zip(("amplitude", "center", "sigma"), p, strict=True):
            parameters[name].set(value=value)
        return gaussian._residual(parameters, POSITIVE, None, x=X)  # noqa: SLF001 - what lmfit minimises

    gaussian = models.GaussianModel()
    yield case("Model._residual, Parameters", residual, [1.3, 0.4, 0.8])


# --- statsmodels ----------------------------------------------------------------------------------------------------


def statsmodels_cases() -> Iterator[Case]:
    """Log-likelihoods of models, robust norms, link functions, copulas."""
    import statsmodels.api as sm
    from statsmodels.distributions.copula import api as copulas
    from statsmodels.genmod.families import links
    from statsmodels.miscmodels.count import PoissonGMLE
    from statsmodels.miscmodels.ordinal_model import OrderedModel
    from statsmodels.miscmodels.tmodel import TLinearModel
    from statsmodels.othermod.betareg import BetaModel
    from statsmodels.robust import norms

    def case(name: str, call: Callable[[Any], Any], point: Any) -> Case:
        return Case("statsmodels", name, call, list(map(float, point)))

    beta = [0.3, -0.4, 0.6]
    share = np.array([0.2, 0.7, 0.4, 0.9, 0.3, 0.6, 0.5, 0.8])
    discrete = sm.Logit(BINARY, TALL)
    for name, model in (
        ("Logit", discrete), ("Probit", sm.Probit(BINARY, TALL)), ("Poisson", sm.Poisson(COUNTS, TALL)),
        ("OLS", sm.OLS(REAL, TALL)), ("WLS", sm.WLS(REAL, TALL, weights=share)),
        ("GLS", sm.GLS(REAL, TALL, sigma=share)), ("PHReg", sm.PHReg(REAL + 2, TALL[:, 1:])),
        ("PoissonGMLE", PoissonGMLE(COUNTS, TALL)),
    ):  # fmt: skip
        yield case(f"{name}.loglike", model.loglike, beta[:2] if name == "PHReg" else beta)
    for name in ("Logit", "Probit", "Poisson"):
        model = getattr(sm, name)(COUNTS if name == "Poisson" else BINARY, TALL)
        yield case(f"{name}.loglikeobs", model.loglikeobs, beta)
        yield case(f"{name}.score", model.score, beta)
    for name, model, more in (
        ("NegativeBinomial", sm.NegativeBinomial(COUNTS, TALL), [0.7]),
        ("NegativeBinomialP", sm.NegativeBinomialP(COUNTS, TALL), [0.7]),
        ("GeneralizedPoisson", sm.GeneralizedPoisson(COUNTS, TALL), [0.3]),
        ("TLinearModel", TLinearModel(REAL, TALL), [4.3, 0.8]),
        ("BetaModel", BetaModel(share, TALL), [1.1]),
    ):
        yield case(f"{name}.loglike", model.loglike, [*beta, *more])
    inflated = sm.ZeroInflatedPoisson(COUNTS, TALL, exog_infl=TALL[:, :1])
    yield case("ZeroInflatedPoisson.loglike", inflated.loglike, [0.2, *beta])
    many = sm.MNLogit(np.array([0, 1, 2, 1, 0, 2, 1, 0]), TALL)
    yield case("MNLogit.loglike", many.loglike, [*beta, 0.1, 0.5, -0.2])
    ordered = OrderedModel(np.array([0, 1, 2, 1, 0, 2, 1, 0]), TALL[:, 1:], distr="logit")
    yield case("OrderedModel.loglike", ordered.loglike, [0.4, -0.2, -0.5, 0.3])
    ordered_probit = OrderedModel(np.array([0, 1, 2, 1, 0, 2, 1, 0]), TALL[:, 1:], distr="probit")
    yield case("OrderedModel(probit).loglike", ordered_probit.loglike, [0.4, -0.2, -0.5, 0.3])
    families = sm.families
    for name, y in (
        ("Binomial", BINARY), ("Poisson", COUNTS), ("Gaussian", REAL), ("Gamma", POSITIVE),
        ("InverseGaussian", POSITIVE), ("NegativeBinomial", COUNTS), ("Tweedie", POSITIVE),
    ):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            family = getattr(families, name)()
            model = sm.GLM(y, TALL[: len(y)], family=family)
        at = [1.3, 0.1, 0.2] if name in ("Gamma", "InverseGaussian", "NegativeBinomial") else beta
        if name == "NegativeBinomial":
            at = [-1.5, 0.1, 0.2]
        if name != "Tweedie":
            yield case(f"GLM({name}).loglike", model.loglike, at)
        yield case(f"GLM({name}) deviance", lambda p, f=family, y=y: f.deviance(y, p), np.linspace(0.2, 0.8, len(y)))
    for name in ("HuberT", "TukeyBiweight", "Hampel", "AndrewWave", "RamsayE", "TrimmedMean", "LeastSquares"):
        norm = getattr(norms, name)()
        yield case(f"robust.{name}.rho", norm.rho, X)
        yield case(f"robust.{name}.psi", norm.psi, X)
    for name in ("Logit", "Probit", "CLogLog", "Cauchy", "LogLog", "Log", "InversePower", "InverseSquared"):
        link = getattr(links, name)()
        yield case(f"links.{name}.inverse", link.inverse, POSITIVE)
        yield case(f"links.{name}", link, share[:5])
    at = [0.3, 0.6]
    for name, theta in (("ClaytonCopula", 1.4), ("FrankCopula", 2.1), ("GumbelCopula", 1.6)):
        copula = getattr(copulas, name)(theta)
        yield case(f"{name}.logpdf", lambda p, c=copula: c.logpdf(p), at)
        yield case(f"{name}.cdf", lambda p, c=copula: c.cdf(p), at)
    yield case("GaussianCopula.logpdf", lambda p: copulas.GaussianCopula(0.4).logpdf(p), at)
    yield case("StudentTCopula.logpdf", lambda p: copulas.StudentTCopula(0.4, 4).logpdf(p), at)
    yield case("tsa.AutoReg.loglike", sm.tsa.AutoReg(REAL, 1).loglike, [0.3, 0.4])
    yield case("tsa.SARIMAX.loglike", sm.tsa.SARIMAX(REAL, order=(1, 0, 0)).loglike, [0.4, 0.9])


# --- astropy --------------------------------------------------------------------------------------------------------


def astropy_cases() -> Iterator[Case]:
    """Models in x and in all their parameters, robust statistics, coordinates, cosmology."""
    from astropy import coordinates, cosmology, stats
    from astropy.modeling import functional_models, models, powerlaws

    def case(name: str, call: Callable[[Any], Any], point: Any) -> Case:
        return Case("astropy", name, call, list(map(float, point)))

    x = [0.7, 1.3, 2.2]
    for name, parameters in (
        ("Gaussian1D", [1.3, 0.4, 0.8]), ("Lorentz1D", [1.3, 0.4, 0.8]), ("Moffat1D", [1.3, 0.4, 0.8, 1.4]),
        ("Voigt1D", [0.4, 1.3, 0.8, 0.6]), ("Sersic1D", [1.3, 1.1, 2.3]), ("Exponential1D", [1.3, 0.8]),
        ("Logarithmic1D", [1.3, 0.8]), ("Sine1D", [1.3, 0.4, 0.2]), ("Cosine1D", [1.3, 0.4, 0.2]),
        ("Tangent1D", [1.3, 0.1, 0.02]), ("ArcTangent1D", [1.3, 0.4, 0.02]), ("Trapezoid1D", [1.3, 0.4, 0.8, 0.7]),
        ("RickerWavelet1D", [1.3, 0.4, 0.8]), ("KingProjectedAnalytic1D", [1.3, 1.1, 4.0]), ("Linear1D", [0.3, 0.4]),
        ("Multiply", [1.3]), ("Shift", [1.3]), ("RedshiftScaleFactor", [0.4]),
    ):  # fmt: skip
        kind = getattr(functional_models, name)
        model = kind(*parameters)
        yield case(f"{name}.evaluate", lambda p, m=model: m.evaluate(p[:3], *p[3:]), [*x, *parameters])
        yield case(f"{name}()(x)", lambda p, m=model: m(p), x)
    for name, parameters in (
        ("Gaussian2D", [1.3, 0.4, 0.2, 0.8, 1.1, 0.3]), ("Lorentz2D", [1.3, 0.4, 0.2, 0.8]),
        ("Moffat2D", [1.3, 0.4, 0.2, 0.8, 1.4]), ("RickerWavelet2D", [1.3, 0.4, 0.2, 0.8]),
        ("Planar2D", [0.3, 0.4, 0.1]),
    ):  # fmt: skip
        kind = getattr(functional_models, name)
        yield case(
            f"{name}.evaluate", lambda p, k=kind: k.evaluate(p[:3], p[3:6], *p[6:]), [*x, 0.1, -0.4, 0.9, *parameters]
        )
    for name, parameters in (
        ("PowerLaw1D", [1.3, 0.9, 0.7]), ("BrokenPowerLaw1D", [1.3, 1.0, 0.7, 1.4]),
        ("SmoothlyBrokenPowerLaw1D", [1.3, 1.0, 0.7, 1.4, 0.5]), ("ExponentialCutoffPowerLaw1D", [1.3, 0.9, 0.7, 2.1]),
        ("LogParabola1D", [1.3, 0.9, 0.7, 0.2]), ("Schechter1D", [1.3, 0.9, -1.2]),
    ):  # fmt: skip
        model = getattr(powerlaws, name)(*parameters)
        yield case(f"{name}.evaluate", lambda p, m=model: m.evaluate(p[:3], *p[3:]), [*x, *parameters])
    compound = models.Gaussian1D(1.3, 0.4, 0.8) + models.Polynomial1D(2, c0=0.1, c1=0.2, c2=0.3)
    yield case("Gaussian1D + Polynomial1D", compound, x)
    yield case("Chebyshev1D()(x)", models.Chebyshev1D(3, c0=0.1, c1=0.2, c2=0.3, c3=0.4), x)
    yield case("Legendre1D()(x)", models.Legendre1D(2, c0=0.1, c1=0.2, c2=0.3), x)
    yield case("stats.biweight_location", stats.biweight_location, X)
    yield case("stats.biweight_scale", stats.biweight_scale, X)
    yield case("stats.mad_std", stats.mad_std, X)
    yield case("stats.circmean", stats.circmean, X)
    yield case("stats.vonmisesmle", stats.vonmisesmle, X)
    yield case("angular_separation", lambda p: coordinates.angular_separation(*p), [0.3, 0.4, 1.1, -0.2])
    yield case("spherical_to_cartesian", lambda p: coordinates.spherical_to_cartesian(*p), [1.3, 0.4, 0.7])
    flat = cosmology.FlatLambdaCDM(H0=70, Om0=0.3)
    yield case("FlatLambdaCDM.inv_efunc", flat.inv_efunc, [0.3, 1.1])
    yield case("FlatLambdaCDM.Om", flat.Om, [0.3, 1.1])
    yield case("FlatLambdaCDM.comoving_distance", lambda p: flat.comoving_distance(p[0]).value, [0.7])


PACKAGES: dict[str, tuple[Callable[[], Iterator[Case]], ...]] = {
    "numpy": (numpy_cases,),
    "scipy": (scipy_cases, distribution_cases),
    "lmfit": (lmfit_cases,),
    "statsmodels": (statsmodels_cases,),
    "astropy": (astropy_cases,),
}


def cases(package: str) -> list[Case]:
    """The cases of a package that is installed."""
    # Some packages print while their models are made.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return [case for make in PACKAGES[package] for case in make()]


# --- the judgement --------------------------------------------------------------------------------------------------


class _Late(Exception):
    """The time for one case is over."""


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _Late


def _leaves(value: Any) -> list[Any]:
    return [one for part in value for one in _leaves(part)] if isinstance(value, tuple | list) else [value]


def _weights(size: int) -> Any:
    """No two alike and no straight line, so that no error cancels."""
    return 1.0 + 0.7 * np.sin(np.arange(1.0, size + 1.0) ** 2)


def _scalar(case: Case) -> Callable[[Any], Any]:
    """The case as one number: its results, each with a weight of its own, summed."""

    def number(p: Any) -> Any:
        total = 0.0
        for place, part in enumerate(_leaves(case.call(p))):
            flat = np.ravel(part)
            total = total + np.sum(flat * _weights(flat.size)) * (1.0 + 0.3 * place)
        return total

    return number


def examine(case: Case, *, seconds: int = 30) -> Outcome:
    """Differentiate the case both ways and compare, entry by entry, with the reference's own error bound."""
    alarmed = hasattr(signal, "SIGALRM")
    before: Any = signal.signal(signal.SIGALRM, _late) if alarmed else None
    if alarmed:
        signal.alarm(seconds)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return _examine(case)
    except _Late:
        return Outcome(case, "error", f"not finished after {seconds} s")
    finally:
        if alarmed:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


def _examine(case: Case) -> Outcome:
    f, x = _scalar(case), np.array(case.point)
    try:
        value = float(f(x.copy()))
        witness = cr.numerical.grad(f, x.copy())
    except _Late:
        raise
    except Exception as refusal:  # noqa: BLE001 - the package's own function may raise anything
        return Outcome(case, "no reference", _said(refusal))
    if not np.isfinite(value) or not witness.ok:
        return Outcome(case, "no reference", f"value {value:.6g}, the reference says {sorted(set(witness.status))}")
    try:
        traced, gradient = cr.value_and_grad(f)(x.copy())
        start = time.perf_counter()
        cr.grad(f)(x.copy())
        milliseconds = (time.perf_counter() - start) * 1e3
    except _Late:
        raise
    except Exception as refusal:  # noqa: BLE001 - whatever comes is what the table shows
        return Outcome(case, "error", _said(refusal))
    # The bound is the reference's; the gradient itself is allowed the rounding of its own largest entry.
    rounding = 256 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(witness.value))))
    ratio = float(np.max(np.abs(gradient - witness.value) / (witness.error + rounding)))
    note = ""
    verdict = "right"
    if not ratio <= 1.0:
        verdict, note = "WRONG", f"gradient {gradient}, reference {witness.value}"
    elif not abs(traced - value) <= 1e-12 * max(1.0, abs(value)):
        verdict, note = "WRONG", f"value {traced!r}, the function itself gives {value!r}"
    return Outcome(case, verdict, note, ratio, milliseconds)


def _said(refusal: BaseException) -> str:
    first = (str(refusal).splitlines() or [""])[0]
    return f"{type(refusal).__name__}: {first}"


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a gradient was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", choices=list(PACKAGES), help="only this package (repeatable)")
    parser.add_argument("--only", default="", help="only functions whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--full", action="store_true", help="do not shorten the notes")
    options = parser.parse_args(argv)
    outcomes: list[Outcome] = []
    width = 150 if options.full else 90
    print(f"{'function':<46} {'package':<12} {'verdict':<13} {'diff/bound':>10} {'ms':>8}  note")
    for package in options.package or PACKAGES:
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: its functions are left out (pip install {package})")
            continue
        for case in cases(package):
            if options.only not in case.name:
                continue
            outcome = examine(case)
            outcomes.append(outcome)
            note = outcome.note if options.full else outcome.note[:width]
            shown = f"{outcome.ratio:>10.2g} {outcome.milliseconds:>8.2f}"
            print(f"{case.name:<46} {package:<12} {outcome.verdict:<13} {shown}  {note}".rstrip(), flush=True)
    print()
    for package in PACKAGES:
        counted = Counter(one.verdict for one in outcomes if one.case.package == package)
        if counted:
            version = importlib.metadata.version(package)
            print(f"{package} {version}: " + ", ".join(f"{number} {verdict}" for verdict, number in counted.items()))
    if options.json is not None:
        rows = [
            {"package": one.case.package, "function": one.case.name, **one._asdict(), "case": None} for one in outcomes
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(one.verdict == "WRONG" for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
