"""The HTTP side: GraphQL and file stream for wandb clients, JSON for pages."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
