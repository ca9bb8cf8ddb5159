"""Whitening: let the first convolution see decorrelated patches, and freeze it.

Paper: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv:2404.00498, section
3.2; after Page, "How to Train Your ResNet", 2019.

Idea: neighbouring pixels are alike, so the first layer's inputs differ by orders of magnitude in
how much they vary, which makes for slow learning. Here its filters are the directions in which
patches of images vary most, each divided by how much, and each of them once with either sign, for
the activation that follows. So what comes out has unit variance and no correlation. These filters
are as good as learned, and stay.

When it helps: short training of image models from scratch; the paper's ablation finds it the most
effective single part. When it hurts: models that have been trained already, whose first layer it
would overwrite; long training, where learned filters catch up.

Suggested values: the default. As many filters as there are directions, with both signs, is best: 24
for patches of 2 x 2 x 3, 54 for 3 x 3 x 3; with fewer, those of the least variance are left out.
Images should be normalised. ``freeze_norm=True`` makes steps cheaper where a normalisation follows:
nothing before the second convolution trains then, so that gradients end there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms._checks import check_flags, check_number, check_tensor, warn_no_effect
from composer.algorithms._mixing import Key
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError, DataError, StateError

__all__ = ["Whitening", "apply_whitening"]

# More patches make the covariance no better, and cost time and memory.
_MOST_PATCHES = 2**18
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm)


@torch.no_grad()
def apply_whitening(
    model: nn.Module, images: Tensor, eps: float = 5e-4, freeze_norm: bool = False
) -> None:
    """Set the filters of a model's first convolution to whiten patches of images, and freeze them.

    With C' filters the C' // 2 directions of most variance are taken, as many as there are; filters
    beyond them keep their weights. A bias is set to make outputs zero on average, and is trained.

    Args:
        model: the model; the convolution is the first `Conv2d` in the order of its modules. A
            `NoEffectWarning` says so if there is none.
        images: what the convolution sees, shape (N, C, H, W), floating point; a few hundred are
            enough.
        eps: added to the variances, so that directions without any are not blown up; > 0.
        freeze_norm: also freeze the scale and the shift of the normalisation that follows the
            convolution: what it sees has unit variance already, and gradients need not be computed
            for it. A `NoEffectWarning` says so if none follows.

    Raises:
        ValueError: ``eps`` is not positive, the convolution is grouped, or the images do not fit.
        TypeError: ``freeze_norm`` is no bool.
        RuntimeError: the convolution's weights are sharded.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 24, 2), nn.ReLU())
        >>> images = torch.randn(64, 3, 8, 8).cumsum(-1)
        >>> apply_whitening(model, images)
        >>> 0.9 < model[0](images)[:, 0].var().item() < 1.1
        True
    """
    check_number("eps", eps, above=0)
    check_flags(freeze_norm=freeze_norm)
    conv = _freeze_first(model, freeze_norm)
    if conv is None:
        return
    weight = _weight_of(conv)
    mean, covariance = _statistics(conv, images)
    variances, directions = torch.linalg.eigh(covariance)
    number = min(len(variances), conv.out_channels // 2)
    # Ascending order, columns; and largest first, rows, is what is wanted.
    filters = (directions / (variances + eps).sqrt()).T.flip(0)[:number]
    both = torch.cat([filters, -filters]).to(weight.device, weight.dtype)
    comm.broadcast(both, src=0)  # another rank has seen other images
    weight[: 2 * number] = both.view(-1, *weight.shape[1:])
    if conv.bias is not None:
        centre = -(both @ mean.to(both))
        comm.broadcast(centre, src=0)
        conv.bias[: 2 * number] = centre


def _first_convolution(model: nn.Module) -> nn.Conv2d | None:
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.groups != 1:
        raise ConfigError(
            f"Whitening needs a first convolution that sees all channels, and {conv} sees them in "
            f"{conv.groups} groups; leave Whitening out"
        )
    return conv


def _freeze_first(model: nn.Module, freeze_norm: bool) -> nn.Conv2d | None:
    """Freeze the first convolution, and what normalises its outputs if that is asked for."""
    conv = _first_convolution(model)
    if conv is None:
        warn_no_effect("Whitening", model, "a Conv2d")
        return None
    _weight_of(conv).requires_grad_(False)
    if freeze_norm:
        norm = _norm_after(model, conv)
        if norm is None:
            warn_no_effect(
                "freeze_norm of Whitening", model, "a normalisation after the first Conv2d"
            )
        else:
            norm.requires_grad_(False)
    return conv


def _norm_after(model: nn.Module, conv: nn.Conv2d) -> nn.Module | None:
    """Return the normalisation that comes next in the order of modules, if it is one."""
    leaves = [m for m in model.modules() if m is conv or not any(True for _ in m.children())]
    following = leaves[leaves.index(conv) + 1 :]
    return following[0] if following and isinstance(following[0], _NORMS) else None


def _weight_of(conv: nn.Conv2d) -> Tensor:
    """Return a convolution's weight; where it is computed, what it is made from."""
    weight: Tensor = conv.weight
    if nn.utils.parametrize.is_parametrized(conv, "weight"):
        weight = conv.get_parameter("parametrizations.weight.original")
    if hasattr(weight, "device_mesh"):
        raise StateError(
            "Whitening cannot set weights that are sharded already; call "
            "apply_whitening(model, images) before the Trainer is made, instead"
        )
    return weight


def _statistics(conv: nn.Conv2d, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of all patches, shape (C * k * k), and their covariance."""
    if images.ndim != 4 or not images.is_floating_point() or images.shape[1] != conv.in_channels:
        raise DataError(
            f"Whitening needs images of shape (N, {conv.in_channels}, H, W) as the model gets "
            f"them, in floating point, and got {tuple(images.shape)}, {images.dtype}. If they are "
            "normalised later than in the data loader, call apply_whitening(model, images) before "
            "the Trainer is made, instead"
        )
    size = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if any(side < wanted for side, wanted in zip(images.shape[-2:], size, strict=True)):
        raise DataError(
            f"Whitening finds no patch of {size} in images of {tuple(images.shape[-2:])}; they "
            "are smaller than the first convolution's kernel"
        )
    stride = max(1, math.ceil(math.sqrt(images[:, 0].numel() / _MOST_PATCHES)))
    columns = F.unfold(images.float(), conv.kernel_size, conv.dilation, stride=stride)
    patches = columns.transpose(0, 1).flatten(1)
    return patches.mean(1), torch.cov(patches, correction=0)


class Whitening(Algorithm):
    """Whiten what the first convolution sees; see :func:`apply_whitening`.

    The filters are frozen from the start, and set when the first batch is there, from its images.
    They are part of the model: a run that goes on from a checkpoint has them from there. A run that
    is under way without them goes on without.

    Args:
        eps: added to the variances, > 0.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        freeze_norm: whether the normalisation that follows is frozen too, from the start.

    Raises:
        ValueError: ``eps`` is not positive; in `fit`, the images do not fit the convolution.
    """

    events: Mapping[Event, str] = {Event.INIT: "freeze", Event.BATCH_START: "whiten"}
    # After methods that replace layers, so that the convolution is the one that will be used.
    order = Order.LAST
    writes = ("model",)

    def __init__(self, eps: float = 5e-4, input_key: Key = 0, freeze_norm: bool = False) -> None:
        check_number("eps", eps, above=0)
        check_flags(freeze_norm=freeze_norm)
        self.eps = eps
        self.input_key = input_key
        self.freeze_norm = freeze_norm
        self._is_done = False

    def match(self, event: Event, state: State) -> bool:
        """Return whether there is something to do: at the first batch, but not after it."""
        return event is Event.INIT or (event is Event.BATCH_START and not self._is_done)

    def freeze(self, state: State, logger: Logger) -> None:
        """Freeze the first convolution, before anything is made of the weights that train."""
        self._is_done = _freeze_first(state.model, self.freeze_norm) is None

    def whiten(self, state: State, logger: Logger) -> None:
        """Set the filters from the images of the first batch."""
        self._is_done = True
        if state.timestamp.batch > 0:
            warn_no_effect(
                "Whitening",
                state.model,
                "the first batch of a run, because later ones are too late",
            )
            return
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        apply_whitening(state.model, images, self.eps)

    def state_dict(self) -> dict[str, Any]:
        """Return whether the filters are set."""
        return {**super().state_dict(), "is_done": self._is_done}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Go on from what :meth:`state_dict` returned.

        Args:
            state: the state.
            strict: nothing here; a state without filters is one in which they are not set.
        """
        del strict
        self._is_done = bool(state.get("is_done", False))
