"""Gyro dropout: dropout with few masks, each of them kept for a while.

Paper: Lee, Kim, Cho, Lee, "Gyro Dropout: Maximizing Ensemble Effect in Neural Network Training",
MLSys 2022.

Idea: dropout trains an ensemble of more sub-networks than it can ever train well. Here ``sigma``
masks are drawn once; ``tau`` of them train side by side in a batch, each on its share of the
samples, for a good number of batches; then other ``tau`` are picked.

When it helps: the authors report gains over dropout for small image and text classifiers. No
independent gain is known to us, nor any for large models; it is here for completeness. When it
hurts: runs too short to give each mask its turn; layers that see few different units.

Suggested values: ``p=0.5, sigma=256, tau=16``; the run should have many times ``sigma`` batches. A
checkpoint trained with it needs it on load.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from composer.algorithms._checks import check_number, check_whole, warn_no_effect
from composer.algorithms._eager import run_eagerly
from composer.algorithms._run_length import total_batches
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.utils.module_surgery import replace_module_classes

__all__ = ["GyroDropout", "GyroDropoutLayer", "apply_gyro_dropout", "from_Dropout"]

# Keeps the seeds of masks, picks, layers and ranks apart.
_STRIDE = 1_000_003


def apply_gyro_dropout(
    model: nn.Module,
    iters_per_epoch: int,
    max_epoch: float,
    p: float = 0.5,
    sigma: int = 256,
    tau: int = 16,
) -> None:
    """Replace each ``Dropout`` of a model by a :class:`GyroDropoutLayer`, in place.

    Args:
        model: the model. A `NoEffectWarning` says so if it has no ``Dropout``.
        iters_per_epoch: batches of an epoch.
        max_epoch: epochs of the run.
        p: probability, in [0, 1), with which a mask drops a unit.
        sigma: how many masks there are, >= 1.
        tau: how many of them train at a time, in [1, sigma].

    Raises:
        ValueError: an argument is out of range.

    Source:
        Lee et al. 2022, section 3. A set of masks is kept for
        ``int(iters_per_epoch * max_epoch / sigma) * tau`` batches.
    """
    _check(p, sigma, tau)
    policy = functools.partial(from_Dropout, iters_per_epoch, max_epoch, p, sigma, tau)
    replace_module_classes(model, {nn.Dropout: policy})
    layers = _layers(model)
    if not layers:
        warn_no_effect("GyroDropout", model, "Dropout")
    for number, layer in enumerate(layers):
        layer.seed = torch.initial_seed() + number * _STRIDE


def from_Dropout(  # noqa: N802 - Composer's name
    iters_per_epoch: int,
    epoch: float,
    p: float,
    sigma: int,
    tau: int,
    layer: nn.Module,
    module_index: int,
) -> GyroDropoutLayer | None:
    """Make the layer that replaces a ``Dropout``; arguments as in :func:`apply_gyro_dropout`.

    Args:
        iters_per_epoch: batches of an epoch.
        epoch: epochs of the run.
        p: probability of dropping a unit.
        sigma: how many masks there are.
        tau: how many of them train at a time.
        layer: the layer to replace.
        module_index: its number.

    Returns:
        The new layer; ``None`` where ``layer`` computes in a way of its own.
    """
    del module_index
    if type(layer).forward is not nn.Dropout.forward:
        return None
    return GyroDropoutLayer(iters_per_epoch, epoch, p, sigma, tau)


class GyroDropoutLayer(nn.Module):
    """Multiplies units by one of the masks in use, over ``1 - p``.

    A unit is an entry of dimension 1 for inputs of shapes (N, C) and (N, C, H, W), and of the last
    dimension for sequences (N, L, D). Sample ``i`` gets mask ``i mod tau`` of those in use.

    Which masks there are and which are in use follows from :attr:`seed` and
    :attr:`training_step` alone, so nothing else need be saved to go on.

    Args:
        iters_per_epoch: batches of an epoch.
        max_epoch: epochs of the run.
        p: probability, in [0, 1), with which a mask drops a unit.
        sigma: how many masks there are.
        tau: how many of them are in use at a time.

    Attributes:
        seed: of the masks and of what is picked.
        training_step: how many batches were trained on. Forward passes count it, until
            :meth:`follow` is called.
    """

    def __init__(
        self, iters_per_epoch: int, max_epoch: float, p: float, sigma: int, tau: int
    ) -> None:
        _check(p, sigma, tau)
        super().__init__()
        self.p = p
        self.sigma = sigma
        self.tau = tau
        self.seed = 0
        self.training_step = 0
        self.set_length(int(iters_per_epoch * max_epoch))
        self._counts_itself = True
        self._in_use: tuple[tuple[int, ...], Tensor] | None = None

    def extra_repr(self) -> str:
        """Return what is shown of the layer."""
        return f"p={self.p}, sigma={self.sigma}, tau={self.tau}"

    def set_length(self, num_batches: int) -> None:
        """Say how many batches the run has.

        Args:
            num_batches: the number.
        """
        self._period = max(1, num_batches // self.sigma * self.tau)

    def follow(self, batch: int) -> None:
        """Take the step from outside: a batch is one step, however many parts it is cut into.

        Args:
            batch: batches trained on so far.
        """
        self._counts_itself = False
        self.training_step = batch

    def forward(self, x: Tensor) -> Tensor:
        """Drop units.

        Args:
            x: shape (N, ...).
        """
        return x * self._factors(x) if self.training else x

    @run_eagerly
    @torch.no_grad()
    def _factors(self, x: Tensor) -> Tensor:
        """Return 0 or ``1 / (1 - p)`` for each sample and unit, shaped to be multiplied with x."""
        axis = 2 if x.ndim == 3 else 1
        num_units = x.shape[axis] if x.ndim > 1 else 1
        turn = self.training_step // self._period
        key = (self.seed, turn, num_units)
        if self._in_use is None or self._in_use[0] != key or self._in_use[1].device != x.device:
            self._in_use = (key, self._pick(turn, num_units).to(x.device))
        if self._counts_itself:
            self.training_step += 1
        rows = torch.arange(x.shape[0], device=x.device) % self.tau
        shape = [1] * x.ndim
        shape[0] = x.shape[0]
        if x.ndim > 1:
            shape[axis] = num_units
        return self._in_use[1][rows].view(shape).to(x.dtype)

    def _pick(self, turn: int, num_units: int) -> Tensor:
        """Return the masks of one turn, shape (tau, num_units), scaled."""
        masks = torch.rand(self.sigma, num_units, generator=_generator(self.seed)) >= self.p
        picks = _generator(self.seed + (turn + 1) * _STRIDE**2)
        chosen = torch.randperm(self.sigma, generator=picks)[: self.tau]
        return masks[chosen] / (1 - self.p)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_in_use": None}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


def _layers(model: nn.Module) -> list[GyroDropoutLayer]:
    return [each for each in model.modules() if isinstance(each, GyroDropoutLayer)]


def _check(p: float, sigma: int, tau: int) -> None:
    check_number("p", p, 0)
    check_number("1 - p", 1 - p, above=0)
    check_whole("sigma", sigma, 1)
    check_whole("tau", tau, 1, sigma)


class GyroDropout(Algorithm):
    """Replace dropout by gyro dropout; see :func:`apply_gyro_dropout`.

    The masks follow from the run's seed, the rank and the batch number, so a resumed run goes on
    with the same ones, and a second ``fit`` plans for its own length.

    Args:
        p: probability, in [0, 1), with which a mask drops a unit.
        sigma: how many masks there are, >= 1.
        tau: how many of them train at a time, in [1, sigma].

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {
        Event.INIT: "convert",
        Event.FIT_START: "plan",
        Event.BATCH_START: "follow",
    }
    writes = ("model",)

    def __init__(self, p: float = 0.5, sigma: int = 256, tau: int = 16) -> None:
        _check(p, sigma, tau)
        self.p = p
        self.sigma = sigma
        self.tau = tau
        self._layers: list[GyroDropoutLayer] = []

    def __getstate__(self) -> dict[str, object]:
        # A copy finds the layers of its own model.
        return {**self.__dict__, "_layers": []}

    @staticmethod
    def required_on_load() -> bool:
        """Return True, as Composer does; the weights themselves fit without it."""
        return True

    def convert(self, state: State, logger: Logger) -> None:
        """Replace the layers. How long a turn lasts is planned when ``fit`` starts."""
        apply_gyro_dropout(state.model, 1, 1, self.p, self.sigma, self.tau)

    def plan(self, state: State, logger: Logger) -> None:
        """Tell the layers how many batches there are, and from which seed to draw."""
        length = total_batches(self, state)
        self._layers = _layers(state.model)
        for number, layer in enumerate(self._layers):
            layer.seed = state.seed + number * _STRIDE
            layer.set_length(length)

    def follow(self, state: State, logger: Logger) -> None:
        """Tell the layers where training stands."""
        batch = state.timestamp.batch.value
        for layer in self._layers:
            layer.follow(batch)
