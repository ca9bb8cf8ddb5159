"""The JSON that pages read, and the administrator's interface."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
