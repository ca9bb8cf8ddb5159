"""Methods of language models whose layer is only whole together with what follows it."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from _contest import Contest, Entries, Step
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from composer import functional

__all__ = ["ENTRIES", "SETTING"]

TOKENS, WIDTH, VOCABULARY = 1024, 128, 8192
SETTING = (
    f"Language: {TOKENS} tokens of width {WIDTH}, a vocabulary of {VOCABULARY}; forward and "
    "backward pass."
)


def fused_loss() -> Contest:
    """The head with its loss, next to the two one after the other."""
    head, hidden = nn.Linear(WIDTH, VOCABULARY), torch.randn(TOKENS, WIDTH, requires_grad=True)
    target = torch.randint(VOCABULARY, (TOKENS,))
    fused = nn.Sequential(head)
    functional.apply_fused_linear_cross_entropy(fused)

    def step_of(layer: nn.Module) -> Step:
        def step() -> None:
            loss = F.cross_entropy(layer(hidden), target)
            torch.autograd.grad(loss, [hidden, *head.parameters()])

        return step

    return Contest(method=step_of(fused), by_hand=step_of(head))


def checkpointing() -> Contest:
    """A feed-forward block, next to torch's own call."""
    layers = (nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
    block, inputs = nn.Sequential(*layers), torch.randn(TOKENS, WIDTH, requires_grad=True)
    model = nn.Sequential(copy.deepcopy(block))
    functional.apply_activation_checkpointing(model, "0", save="nothing")

    def by_hand() -> Tensor:
        return checkpoint(block, inputs, use_reentrant=False)

    def step() -> None:
        torch.autograd.grad(model(inputs).sum(), [inputs, *model.parameters()])

    return Contest(
        method=step,
        by_hand=lambda: torch.autograd.grad(by_hand().sum(), [inputs, *block.parameters()]),
    )


ENTRIES: Entries = {
    "ActivationCheckpointing": checkpointing,
    "FusedLinearCrossEntropy": fused_loss,
}
