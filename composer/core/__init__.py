"""The vocabulary everyone shares: time, events, state, plug-in bases, engine."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
