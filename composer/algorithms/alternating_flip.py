"""Alternating flips: no image the same way round in two epochs that follow each other.

Paper: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv:2404.00498.

Idea: flipping images left to right by chance shows an image the same way round twice in a row half
of the time. Here one half of all images is flipped in one epoch and the other half in the next, so
that two epochs show each image in both ways. Which half begins is decided once, by a hash of the
image's index.

When it helps: wherever random flips do, in runs of more than one epoch; the shorter the run, the
more; it costs what a random flip costs. When it hurts: where left and right mean something, such as
digits, text or road signs; where transforms of the data set flip by chance as well: take that out.

Suggested values: there is nothing to choose. ``DeviceImageLoader(flip='alternating')`` flips the
same images and costs nothing; use one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from composer.algorithms._checks import check_sample_count, check_tensor, check_whole
from composer.algorithms._image_targets import TreatTarget, check_treat_target, treats_target
from composer.algorithms._mixing import Key
from composer.core.algorithm import Algorithm, Order
from composer.core.batch_indices import batch_indices, check_batch_indices
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.image_draws import alternating_flips
from composer.data.image_loader import DeviceImageLoader
from composer.errors import ConfigError, DataError

__all__ = ["AlternatingFlip", "alternating_flip_batch"]


def alternating_flip_batch(input: Tensor, indices: Tensor, epoch: int, seed: int = 0) -> Tensor:
    """Flip those images of a batch left to right whose turn it is.

    Args:
        input: images, shape (N, ..., H, W).
        indices: their indices in the data set, int64, shape (N,).
        epoch: the epoch, from 0.
        seed: any whole number; decides which half is flipped first.

    Returns:
        A changed copy.

    Raises:
        ValueError: the input is no batch of images, or there is not one index for each.

    Example:
        >>> images, indices = torch.arange(4.0).view(2, 1, 1, 2), torch.tensor([5, 7])
        >>> [alternating_flip_batch(images, indices, epoch).flatten().tolist() for epoch in (0, 1)]
        [[1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 3.0, 2.0]]

    Source:
        Jordan 2024, section 3.6.
    """
    check_whole("epoch", epoch, 0)
    check_whole("seed", seed)
    return _flip(input, _due(input, indices, epoch, seed))


def _due(images: Tensor, indices: Tensor, epoch: int, seed: int) -> Tensor:
    """Return which images of a batch to flip, as their places in it, on the host."""
    if images.ndim < 3:
        raise DataError(f"images must have the shape (N, ..., H, W), got {tuple(images.shape)}")
    check_sample_count("AlternatingFlip", indices.shape[0], images.shape[0])
    (places,) = alternating_flips(indices.cpu().numpy(), epoch, seed).nonzero()
    return torch.from_numpy(places)


def _flip(images: Tensor, places: Tensor) -> Tensor:
    places = places.to(images.device, non_blocking=True)
    return images.index_copy(0, places, images.index_select(0, places).flip(-1))


class AlternatingFlip(Algorithm):
    """Flip images in every other epoch; see :func:`alternating_flip_batch`.

    It needs to know which samples a batch is made of, and so a loader that reads a data set by
    index, with any sampler and any workers; or one that has the indices of the batch that it gave
    last as a tensor ``indices``. All follows from the seed, the epoch and the index: a run goes on
    in the middle of an epoch with the same images, and ranks agree.

    Args:
        seed: any whole number; decides which half is flipped first.
        flip_target: flip targets too; ``'auto'`` does if they are images of the same height and
            width, such as masks.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: an argument is out of range; when training starts, the loader flips images
            itself, or does not say which samples a batch is made of.
    """

    # The last acts first on AFTER_DATALOADER: the batch has the samples that the loader gave it.
    order = Order.LAST
    events: Mapping[Event, str] = {Event.FIT_START: "check", Event.AFTER_DATALOADER: "flip"}
    writes = ("batch",)

    def __init__(
        self,
        seed: int = 0,
        flip_target: TreatTarget = "auto",
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        check_whole("seed", seed)
        check_treat_target("flip_target", flip_target)
        self.seed = seed
        self.flip_target: TreatTarget = flip_target
        self.input_key = input_key
        self.target_key = target_key

    def check(self, state: State, logger: Logger) -> None:
        """Refuse a loader that flips, or does not say which samples a batch is made of.

        Raises:
            ValueError: with the reason.
        """
        loader = state.dataloader
        if isinstance(loader, DeviceImageLoader) and loader.flip is not None:
            raise ConfigError(
                f"the loader flips images already, DeviceImageLoader(flip={loader.flip!r}), and "
                "AlternatingFlip would flip some of them back; use one of the two"
            )
        check_batch_indices(loader)

    def flip(self, state: State, logger: Logger) -> None:
        """Flip the images of the batch whose turn it is."""
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        places = _due(images, batch_indices(state), state.timestamp.epoch.value, self.seed)
        if self.flip_target is not False:
            target = state.batch_get_item(self.target_key)
            if treats_target("flip_target", images, target, self.flip_target):
                state.batch_set_item(self.target_key, _flip(target, places))
        state.batch_set_item(self.input_key, _flip(images, places))
