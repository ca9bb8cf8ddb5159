"""Where tensors live: CPU, CUDA and MPS behind one class."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
