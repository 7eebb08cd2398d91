"""The problems of ``native.py``: each as plain NumPy, for the peers, and as C with its gradient by hand."""

from cases.problem import Problem, problems

__all__ = ["Problem", "problems"]
