"""Functions of NumPy and SciPy as installed: what was right stays right, and nothing is wrong without an error."""

from __future__ import annotations

import importlib

import pytest

# By name: the script imports packages that are not here, and the type checker need not follow it to them.
real_functions = importlib.import_module("benchmarks.real_functions")
cases, examine = real_functions.cases, real_functions.examine

CASES = {f"{case.package}: {case.name}": case for package in ("numpy", "scipy") for case in cases(package)}

#: Refused with an error for now; to become right, never wrong.
REFUSED = {
    "numpy": """
        polynomial.chebval polynomial.hermeval polynomial.hermval polynomial.lagval polynomial.legval polynomial.polyval
        poly1d cov corrcoef
    """.split(),
    "scipy": """
        optimize.rosen_hess optimize.rosen_hess_prod stats.gamma.cdf stats.gamma.sf stats.gamma.logcdf
        stats.gamma.logsf stats.gamma.ppf stats.gamma.entropy stats.beta.pdf stats.beta.cdf stats.beta.sf
        stats.beta.logcdf stats.beta.logsf stats.beta.ppf stats.beta.entropy stats.t.pdf stats.t.cdf
        stats.t.sf stats.t.logcdf stats.t.logsf stats.t.ppf stats.t.entropy stats.weibull_min.logcdf
        stats.weibull_min.entropy stats.lognorm.pdf stats.lognorm.entropy stats.t.nnlf stats.zipf.logpmf
        stats.skellam.logpmf stats.wishart.logpdf stats.gmean stats.hmean stats.variation stats.sem
        stats.entropy stats.tmean stats.tvar stats.differential_entropy stats.circstd stats.skew
        stats.kurtosis stats.zscore stats.kstat stats.kstatvar stats.iqr stats.circmean
        stats.median_abs_deviation stats.gstd stats.moment stats.trim_mean stats.yeojohnson_llf stats.pearsonr
        stats.linregress stats.ttest_ind stats.f_oneway stats.bartlett stats.gaussian_kde
        stats.power_divergence distance.pdist integrate.cumulative_trapezoid integrate.romb special.softmax
        special.log_softmax special.multigammaln signal.detrend signal.windows.kaiser linalg.toeplitz
        stats.burr.logpdf stats.cauchy.logpdf stats.cosine.logpdf stats.crystalball.logpdf stats.fisk.logpdf
        stats.gausshyper.logpdf stats.genextreme.logpdf stats.gengamma.logpdf stats.genpareto.logpdf
        stats.gibrat.logpdf stats.irwinhall.logpdf stats.landau.logpdf stats.lognorm.logpdf stats.ncf.logpdf
        stats.nct.logpdf stats.ncx2.logpdf stats.pearson3.logpdf stats.recipinvgauss.logpdf
        stats.skewnorm.logpdf stats.t.logpdf stats.truncnorm.logpdf stats.truncpareto.logpdf
        stats.tukeylambda.logpdf
    """.split(),
}
WITH_SPACES = ["fft.rfft, power", "stats.boxcox_llf, data"]


def is_refused(name: str) -> bool:
    package, function = name.split(": ", 1)
    return function in REFUSED[package] or function in WITH_SPACES


@pytest.mark.parametrize("name", [name for name in CASES if not is_refused(name)])
def test_right(name):
    outcome = examine(CASES[name])
    assert outcome.verdict == "right", outcome.note


@pytest.mark.parametrize("name", [name for name in CASES if is_refused(name)])
def test_refused_rather_than_wrong(name):
    outcome = examine(CASES[name])
    assert outcome.verdict in ("right", "error"), outcome.note


def test_enough_of_them():
    assert len(CASES) >= 200
    assert sum(not is_refused(name) for name in CASES) >= 140
