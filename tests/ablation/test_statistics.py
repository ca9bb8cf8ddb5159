"""Paired statistics against values worked out by hand and by tables."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

from composer.ablation.statistics import compare, holm


def test_the_interval_is_students() -> None:
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3); t(0.975, 2) = 4.302653 from tables.
    found = compare([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert found.n == 3
    assert found.mean == 2.0
    half = 4.302653 / math.sqrt(3)
    assert found.low == pytest.approx(2.0 - half, abs=1e-5)
    assert found.high == pytest.approx(2.0 + half, abs=1e-5)
    # t = 2 sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2).
    t = 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - t / math.sqrt(t * t + 2))


def test_what_both_share_cancels() -> None:
    base = [0.1, 0.5, 0.9]
    assert compare([v + 0.01 for v in base], base).p < 1e-9


def test_pairs_with_a_failed_run_are_left_out() -> None:
    found = compare([1.0, math.nan, 3.0], [0.0, 0.0, 1.0])
    assert (found.n, found.mean) == (2, 1.5)


@pytest.mark.parametrize(("values", "n"), [([], 0), ([2.0], 1)])
def test_too_few_pairs_have_no_interval(values: list[float], n: int) -> None:
    found = compare(values, [0.0] * n)
    assert found.n == n
    assert math.isnan(found.low)
    assert math.isnan(found.p)


def test_equal_values_are_no_evidence() -> None:
    assert compare([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_p_values_are_corrected_for_their_number() -> None:
    # Holm 1979: the smallest times 3, the next times 2, never below one before.
    assert holm([0.01, 0.04, 0.03]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    corrected = holm([math.nan, 0.6, 0.7])
    assert math.isnan(corrected[0])
    assert corrected[1:] == [1.0, 1.0]
