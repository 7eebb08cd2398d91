# ruff: noqa: ANN001, ANN201 - a script
"""The Greeks of a European call: first and second derivatives of a price, against the formulas of the textbook."""

import numpy as np
from scipy.special import ndtr

import chainrule as cr


def call_price(spot, strike, years, rate, volatility):
    """Black and Scholes (1973)."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    return spot * ndtr(d1) - strike * np.exp(-rate * years) * ndtr(d1 - spread)


def book(market, strikes, years):
    """The value of one call of each kind, at ``market = (spot, rate, volatility)``."""
    spot, rate, volatility = market
    return np.sum(call_price(spot, strikes, years, rate, volatility))


def problem():
    """``(f, args)`` with the gradient to be tested."""
    return book, (np.array([100.0, 0.02, 0.25]), np.linspace(80.0, 120.0, 9), np.linspace(0.25, 2.0, 9))


def main():
    """One option's Greeks; then a book's."""
    point = (100.0, 105.0, 0.75, 0.02, 0.25)
    delta, _, decay, rho, vega = cr.grad(call_price, argnums=(0, 1, 2, 3, 4))(*point)
    gamma = cr.grad(cr.grad(call_price))(*point)
    spot, strike, years, rate, volatility = point
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    density = np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi)
    later = strike * np.exp(-rate * years) * ndtr(d1 - spread)
    textbook = {
        "delta": (delta, ndtr(d1)),
        "gamma": (gamma, density / (spot * spread)),
        "vega": (vega, spot * density * np.sqrt(years)),
        "theta": (-decay, -spot * density * volatility / (2 * np.sqrt(years)) - rate * later),
        "rho": (rho, years * later),
    }
    print(f"a call at {call_price(*point):.6f}")
    for name, (ours, formula) in textbook.items():
        print(f"{name:<5} {ours:+12.8f}   textbook {formula:+12.8f}   difference {abs(ours - formula):.0e}")
    f, (market, strikes, times) = problem()
    gradient, second = cr.grad(f)(market, strikes, times), cr.hessian(f)(market, strikes, times)
    print(f"a book of {len(strikes)}: delta {gradient[0]:.4f}, gamma {second[0, 0]:.4f}, vanna {second[0, 2]:.4f}")


if __name__ == "__main__":
    main()
