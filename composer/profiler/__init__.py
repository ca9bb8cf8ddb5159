"""Profilers: schedules, markers, traces for a browser, PyTorch's and the system's own numbers."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
