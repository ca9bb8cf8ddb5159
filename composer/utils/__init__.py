"""Tools that know nothing of training; also the familiar door to `dist` and `reproducibility`."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
