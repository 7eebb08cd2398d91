"""Random programs, compiled and interpreted; the long form is ``python tests/native/test_fuzz.py FIRST LAST``."""

from __future__ import annotations

import sys
import warnings

import pytest
from tests.native.programs import compare, random_program


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for seed in range(30 * block, 30 * block + 30):
            program, arguments = random_program(seed)
            compare(program, arguments)


def main(first: int, last: int) -> None:
    """Compare many; print the seeds that differ."""
    warnings.simplefilter("ignore")
    wrong = 0
    for seed in range(first, last):
        program, arguments = random_program(seed)
        try:
            compare(program, arguments)
        except Exception as error:  # noqa: BLE001 - the point of the run
            wrong += 1
            print(seed, type(error).__name__, str(error)[:200].replace("\n", " "))
    print(f"{last - first} programs, {wrong} differ")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
