"""Proofs for users' own programs; names are in the stub beside this file."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
