"""Stretching torch's own learning rate schedulers by a scale schedule ratio."""

from __future__ import annotations

from collections import Counter

from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    StepLR,
)

from composer.errors import ConfigError

__all__ = ["scale_pytorch_scheduler"]


def scale_pytorch_scheduler(scheduler: LRScheduler, ssr: float) -> None:
    """Multiply all times of a fresh torch scheduler by ``ssr``, in place.

    Counts are rounded down: ``StepLR.step_size``, ``MultiStepLR.milestones``,
    ``CosineAnnealingLR.T_max``, ``CosineAnnealingWarmRestarts.T_0``. ``ExponentialLR.gamma``
    becomes ``gamma ** (1 / ssr)``.

    Args:
        scheduler: one of the five named above, not stepped yet.
        ssr: scale schedule ratio, more than 0.

    Raises:
        ValueError: another scheduler, a ratio that is not positive, or one so small that nothing
            is left of a count.
    """
    if not ssr > 0:
        raise ConfigError(f"the scale schedule ratio must be more than 0, got {ssr!r}")
    match scheduler:
        case StepLR():
            scheduler.step_size = _scaled(scheduler, "step_size", scheduler.step_size, ssr)
        case MultiStepLR():
            scheduler.milestones = _scaled_milestones(scheduler.milestones, ssr)
        case CosineAnnealingLR():
            scheduler.T_max = _scaled(scheduler, "T_max", scheduler.T_max, ssr)
        case CosineAnnealingWarmRestarts():
            # T_i is the length of the interval under way, the first one.
            scheduler.T_0 = scheduler.T_i = _scaled(scheduler, "T_0", scheduler.T_0, ssr)
        case ExponentialLR():
            scheduler.gamma **= 1 / ssr
        case _:
            raise ConfigError(
                f"{type(scheduler).__name__} cannot be scaled. StepLR, MultiStepLR, "
                "CosineAnnealingLR, CosineAnnealingWarmRestarts and ExponentialLR can; so can "
                "every schedule of composer.optim, which takes the ratio when it is compiled."
            )


def _scaled(scheduler: LRScheduler, name: str, count: int, ssr: float) -> int:
    scaled = int(count * ssr)
    if scaled < 1:
        raise ConfigError(
            f"{type(scheduler).__name__}: nothing is left of {name}={count} scaled by {ssr!r}; "
            "use a larger ratio"
        )
    return scaled


def _scaled_milestones(milestones: Counter[int], ssr: float) -> Counter[int]:
    scaled: Counter[int] = Counter()
    for milestone, times in milestones.items():
        scaled[int(milestone * ssr)] += times
    return scaled
