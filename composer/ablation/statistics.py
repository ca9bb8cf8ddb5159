"""What paired runs say: mean difference, its confidence interval, a paired test.

Runs are paired by seed: the same initial weights and order of data, with and without the method.
What both share cancels in the difference. The interval and the p-value are Student's, over seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from composer.utils.import_helpers import import_extra

__all__ = ["FEW", "Comparison", "compare", "holm"]

FEW = 5
"""Below this many pairs an interval means little, and reports say so."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of paired values.

    Attributes:
        n: how many pairs.
        mean: the mean difference.
        low: lower end of its 95 % confidence interval; NaN with fewer than two pairs.
        high: upper end.
        p: probability of a difference this large if there were none (paired t-test, two-sided);
            NaN with fewer than two pairs.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float


def compare(
    values: Sequence[float], others: Sequence[float], confidence: float = 0.95
) -> Comparison:
    """Compare paired values.

    Args:
        values: one value for each seed.
        others: the value of the same seed to compare it with. Pairs with a NaN are left out.
        confidence: of the interval, in (0, 1).

    Raises:
        ImportError: scipy is not installed.

    Example:
        >>> found = compare([0.92, 0.93, 0.95], [0.90, 0.92, 0.92])
        >>> round(found.mean, 3), round(found.p, 3)
        (0.02, 0.074)
    """
    differences = [
        a - b for a, b in zip(values, others, strict=True) if math.isfinite(a) and math.isfinite(b)
    ]
    n = len(differences)
    if n == 0:
        return Comparison(0, math.nan, math.nan, math.nan, math.nan)
    mean = statistics.fmean(differences)
    if n == 1:
        return Comparison(1, mean, math.nan, math.nan, math.nan)
    error = statistics.stdev(differences) / math.sqrt(n)
    student = import_extra("scipy.stats", "ablation", "scipy").t
    half = float(student.ppf(0.5 + confidence / 2, n - 1)) * error
    if error == 0:
        return Comparison(n, mean, mean, mean, 1.0 if mean == 0 else 0.0)
    p = 2 * float(student.sf(abs(mean) / error, n - 1))
    return Comparison(n, mean, mean - half, mean + half, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for how many there are (Holm 1979); NaN stays NaN.

    Of twenty methods that do nothing, one has p < 0.05 by chance. After this, the chance that any
    of them has is below 0.05.
    """
    order = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    corrected = list(ps)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[index] = largest
    return corrected
