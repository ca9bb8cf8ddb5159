"""Does a method help? Train with it and without it, seed by seed, and say what was gained."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
