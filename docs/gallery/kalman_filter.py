"""A Kalman filter's likelihood: a level that wanders, seen through noise; how loud is each?"""

import numpy as np

TITLE = "A Kalman filter's likelihood"
ARGNUMS = (0, 1)
SOURCE = (
    "A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter (1989), section 3.4.5:"
    " the filter's recursions are differentiated once for each parameter"
)
TEXTBOOK = (
    (
        r"\frac{\partial \ell}{\partial \theta} = \sum_t \frac{1}{2 S_t}"
        r" \left( 1 - \frac{e_t^2}{S_t} \right) \frac{\partial S_t}{\partial \theta}"
        r" + \frac{e_t}{S_t} \frac{\partial e_t}{\partial \theta}"
    ),
    (
        r"\frac{\partial P_{t|t-1}}{\partial \theta} = \frac{\partial P_{t-1}}{\partial \theta}"
        r" + \frac{\partial q}{\partial \theta}, \qquad"
        r" \frac{\partial S_t}{\partial \theta} = \frac{\partial P_{t|t-1}}{\partial \theta}"
        r" + \frac{\partial r}{\partial \theta}, \qquad"
        r" \frac{\partial e_t}{\partial \theta} = -\frac{\partial m_{t-1}}{\partial \theta}"
    ),
)


def negative_log_likelihood(log_q, log_r, seen):
    """The level moves with variance q and is seen with variance r; constants are left out."""
    q = np.exp(log_q)
    r = np.exp(log_r)
    m = 0.0
    P = 10.0
    total = 0.0
    for t in range(len(seen)):
        P = P + q
        S = P + r
        e = seen[t] - m
        total = total + 0.5 * (np.log(S) + e**2 / S)
        gain = P / S
        m = m + gain * e
        P = (1.0 - gain) * P
    return total


def textbook(log_q, log_r, seen):
    """The score, by sensitivities that run along with the filter, one set for each parameter."""
    variances = np.exp([log_q, log_r])
    dq, dr = np.array([variances[0], 0.0]), np.array([0.0, variances[1]])
    m, P, dm, dP, score = 0.0, 10.0, np.zeros(2), np.zeros(2), np.zeros(2)
    for y in seen:
        P, dP = P + variances[0], dP + dq
        S, dS = P + variances[1], dP + dr
        e, de = y - m, -dm
        score += 0.5 * (dS / S) * (1.0 - e**2 / S) + e * de / S
        gain, dgain = P / S, (dP * S - P * dS) / S**2
        m, dm = m + gain * e, dm + dgain * e + gain * de
        P, dP = (1.0 - gain) * P, (1.0 - gain) * dP - dgain * P
    return score[0], score[1]


def problem(steps=20):
    """``(f, args)``: a level that was made with the variances 0.25 and 1."""
    rng = np.random.default_rng(7)
    seen = np.cumsum(0.5 * rng.normal(size=steps)) + rng.normal(size=steps)
    return negative_log_likelihood, (np.log(0.5), np.log(0.7), seen)
