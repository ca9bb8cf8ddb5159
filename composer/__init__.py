"""Composer: train neural networks fast, with methods that plug in and runs that resume exactly."""

from composer import _moved
from composer._lazy import attach

_moved.install()

__getattr__, __dir__, __all__ = attach(__name__, __file__)
