"""Wrappers that turn a plain module into a model for one task."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
