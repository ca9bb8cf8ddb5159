"""Training data: documents packed into windows, small images kept on the device."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
