"""Random programs with one random mutation of their backward pass are caught; without it none is called wrong."""

from __future__ import annotations

import numpy as np
from tests.check.programs import Program

from chainrule.check import check


def test_random_mutations_are_detected() -> None:
    rng = np.random.default_rng(2026)
    detected = number = false = left_open = right = 0
    missed = []
    while number < 500:
        program = Program(rng)
        if abs(program(program.x)) > 1e6:
            continue
        if right < 500:
            right += 1
            report = check(program, program.x, grad=program.grad, seed=right)
            false += report.verdict == "FAIL"
            left_open += not report
        if not program.mutate(rng):
            continue
        number += 1
        report = check(program, program.x, grad=program.grad, seed=number)
        detected += report.verdict in {"FAIL", "WARN"}
        if report:
            missed.append(str(report))
    assert false == 0
    assert left_open <= 10
    assert detected >= 495, missed[:3]
