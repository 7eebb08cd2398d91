"""What every test has: a Hypothesis profile, and plots that need no screen."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Results through NumPy, to the digit; machine code where a test asks for it, and none from elsewhere.
os.environ.setdefault("CHAINRULE_NATIVE", "asked")
os.environ.setdefault("CHAINRULE_CACHE", "off")

# ci: the same examples at every run; dev: new ones each time; thorough: an evening's worth.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
