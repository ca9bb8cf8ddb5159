"""A tracking server that the real wandb SDK logs to. No torch, no account, one folder."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
