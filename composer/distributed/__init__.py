"""How ranks speak to one another, and how models are spread over them."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
