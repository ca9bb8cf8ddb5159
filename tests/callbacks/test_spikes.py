"""Which numbers are judged to stand out."""

from __future__ import annotations

import pytest
import torch

from composer.callbacks._spikes import SpikeDetector


def judged(detector: SpikeDetector, values: list[float]) -> list[bool]:
    return [bool(detector.judge(torch.tensor([value])).item()) for value in values]


def noise(count: int, mean: float = 2.0, spread: float = 0.1) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    return (mean + spread * torch.randn(count, generator=generator)).tolist()


def test_noise_is_normal_and_a_jump_is_not() -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=20)
    assert judged(detector, noise(300)) == [False] * 300
    assert judged(detector, [3.5, 2.0]) == [True, False]


def test_what_falls_is_normal() -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=20)
    falling = [10 * 0.98**step for step in range(300)]
    assert judged(detector, [*falling, 1e-9]) == [False] * 301


def test_nothing_is_judged_while_warming_up() -> None:
    detector = SpikeDetector(threshold=3.0, window=50, warmup=10)
    assert judged(detector, [1.0] * 9 + [100.0]) == [False] * 10


def test_one_spike_does_not_hide_the_next() -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=20)
    judged(detector, noise(100))
    assert judged(detector, [50.0, 50.0, 2.0, 50.0]) == [True, True, False, True]


def test_a_level_that_stays_is_learned() -> None:
    detector = SpikeDetector(threshold=6.0, window=20, warmup=20)
    judged(detector, noise(100))
    answers = judged(detector, [4.0] * 60)
    assert answers[0] is True
    assert answers[-1] is False


def test_nearly_constant_numbers_have_no_outliers() -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=5)
    assert judged(detector, [1.0] * 20 + [1.01]) == [False] * 21


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_learned(value: float) -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=5)
    judged(detector, noise(50))
    before = detector.state_dict()
    assert judged(detector, [value]) == [False]
    after = detector.state_dict()
    assert (after["mean"], after["variance"]) == (before["mean"], before["variance"])


def test_each_number_is_judged_by_its_own_past() -> None:
    detector = SpikeDetector(threshold=6.0, window=50, warmup=5)
    for value in noise(50):
        detector.judge(torch.tensor([value, 100 * value]))
    assert detector.judge(torch.tensor([2.0, 900.0])).tolist() == [False, True]


def test_what_was_learned_is_kept_exactly() -> None:
    whole, first, second = (SpikeDetector(6.0, 50, 5) for _ in range(3))
    values = noise(40)
    judged(whole, values)
    judged(first, values[:17])
    second.load_state_dict(first.state_dict())
    judged(second, values[17:])
    assert second.state_dict() == whole.state_dict()
    fresh = SpikeDetector(6.0, 50, 5)
    fresh.load_state_dict(SpikeDetector(6.0, 50, 5).state_dict())
    assert judged(fresh, [1.0]) == [False]
