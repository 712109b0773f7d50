# SPDX-License-Identifier: BSD-3-Clause
"""What a sample of runs says of all runs: intervals, tests of pairs, and their correction.

The methods are SciPy's; here stands which is taken, and what becomes of samples that have nothing
to say. Steps that a run never reached are infinite: they count, as later than all others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Lower and upper end; None where there is none, infinite where it is not reached.
Interval: TypeAlias = tuple[float, float] | None

CONFIDENCE = 0.95
#: Samples drawn anew for an interval, from a generator with this seed.
N_RESAMPLES, SEED = 9999, 0
#: Stands for "never" where SciPy would subtract infinities: later than any step.
_NEVER = 1e15


def bootstrap(values: Sequence[float], statistic: Callable[..., Any] = np.mean) -> Interval:
    """Return the percentile bootstrap's interval of a mean or median; None of fewer than two.

    Examples
    --------
    >>> import numpy as np
    >>> bootstrap([1, 2, math.inf], np.median)
    (1.0, inf)
    """
    sample = _bounded(values)
    if len(sample) < 2:
        return None
    if np.ptp(sample) == 0:
        return float(values[0]), float(values[0])
    from scipy import stats

    found = stats.bootstrap(
        (sample,),
        statistic,
        n_resamples=N_RESAMPLES,
        batch=max(1, 2_000_000 // len(sample)),
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return _reached(found.low, sample), _reached(found.high, sample)


def median(values: Sequence[float]) -> float:
    """Return the median, infinite if half of the values are; NaN of none."""
    sample = _bounded(values)
    return _reached(np.median(sample), sample) if len(sample) else math.nan


def _bounded(values: Sequence[float]) -> NDArray[np.float64]:
    sample: NDArray[np.float64] = np.clip(np.asarray(values, float), -_NEVER, _NEVER)
    return sample


def _reached(value: float, sample: NDArray[np.float64]) -> float:
    """Return a value, infinite if it lies between what was measured and what never happened."""
    finite = np.abs(sample[np.abs(sample) < _NEVER])
    beyond = abs(value) > np.max(finite, initial=0) * (1 + 1e-9)
    return math.copysign(math.inf, value) if beyond else float(value)


def wilson(count: int, n: int) -> Interval:
    """Return Wilson's interval of a share, of which `count` of `n` are known; None of none.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(3, 25)]
    [0.042, 0.3]
    """
    if n == 0:
        return None
    from scipy import stats

    found = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def signed_rank(differences: Sequence[float]) -> tuple[float | None, float]:
    """Test paired differences by Wilcoxon's signed ranks: the p-value and an effect size.

    Pairs without a difference say nothing and are left out, ties share their ranks; p is None if no
    pair is left. The effect is the matched-pairs rank-biserial correlation: the share of ranks
    that is positive less the share that is negative, from -1 to 1 (D. Kerby, 2014).

    Examples
    --------
    >>> signed_rank([1, 2, 3, -4, 0])
    (0.875, 0.2)
    """
    found = _bounded([d for d in differences if d])
    if not len(found):
        return None, 0.0
    from scipy import stats

    ranks = stats.rankdata(np.abs(found))
    effect = float((ranks * np.sign(found)).sum() / ranks.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small samples, of which the text speaks
        p = float(stats.wilcoxon(found).pvalue)
    return p, effect


def discordant(only_a: int, only_b: int) -> float | None:
    """Test whether something befalls a more often than b, by McNemar's exact test.

    What counts are the pairs in which it befell one alone; None if there is none.

    Examples
    --------
    >>> discordant(0, 5)
    0.0625
    """
    if not only_a + only_b:
        return None
    from scipy import stats

    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def holm(p_values: Mapping[Any, float | None]) -> dict[Any, float | None]:
    """Correct p-values for their number by Holm's method; None is no test, and stays.

    Examples
    --------
    >>> holm({"a": 0.01, "b": 0.04, "c": None, "d": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': None, 'd': 0.06}
    """
    tested = sorted((p, at) for at, (_, p) in enumerate(p_values.items()) if p is not None)
    corrected, least = dict(p_values), 0.0
    names = list(p_values)
    for rank, (p, at) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p))
        corrected[names[at]] = least
    return corrected
