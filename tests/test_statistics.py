# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of studies against computations of their own: by hand, by enumeration, by SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sae_fast.experiment.studies import statistics
from scipy import stats

NEVER = math.inf


def test_bootstrap_of_a_mean_is_its_percentile_interval():
    values = np.random.default_rng(3).normal(0.96, 0.01, 40)
    low, high = statistics.bootstrap(values.tolist())
    drawn = np.random.default_rng(9).choice(values, (20_000, len(values))).mean(axis=1)
    spread = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.04 * spread)
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.04 * spread)
    assert statistics.bootstrap(values.tolist()) == (low, high)  # the same each time


@pytest.mark.parametrize(
    ("steps", "median", "interval"),
    [
        ([100, 200, 300, NEVER, NEVER], 300, (100, NEVER)),
        ([100, NEVER, NEVER, NEVER], NEVER, (100, NEVER)),
        ([NEVER] * 4, NEVER, (NEVER, NEVER)),
        ([100, 200, NEVER, NEVER], NEVER, (100, NEVER)),  # half of them never got there
        ([-NEVER, -NEVER, -NEVER, -50], -NEVER, (-NEVER, -50)),
        ([500] * 3, 500, (500, 500)),
        ([500], 500, None),
    ],
)
def test_what_was_never_reached_counts_as_later_than_all(steps, median, interval):
    assert statistics.median(steps) == median
    assert statistics.bootstrap(steps, np.median) == interval


def test_nothing_has_no_median():
    assert math.isnan(statistics.median([]))
    assert statistics.bootstrap([]) is None


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 25), (25, 25), (1, 2)])
def test_wilson(count, n):
    """Its ends are the shares p from which `count` is just 1.96 standard errors away."""
    z, share = stats.norm.ppf(0.975), count / n
    for end in statistics.wilson(count, n):
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-12)
    assert statistics.wilson(0, 0) is None


@pytest.mark.parametrize("differences", [[3, 1, 2], [0.5, -0.1, 0.2, 0.3, 0.4, -0.6], [1, -2]])
def test_signed_rank_against_all_signs(differences):
    """Without ties, p is the share of all assignments of signs that are at least as extreme."""
    ranks = stats.rankdata(np.abs(differences))
    seen = abs(float(ranks @ np.sign(differences)))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    expected = np.mean(np.abs(signs @ ranks) >= seen - 1e-9)
    p, effect = statistics.signed_rank(differences)
    assert p == pytest.approx(expected)
    assert effect == pytest.approx((ranks @ np.sign(differences)) / ranks.sum())


def test_signed_rank_with_ties_zeros_and_what_never_came():
    p, effect = statistics.signed_rank([0, 0, 1, 1, 2, NEVER, NEVER, -NEVER])
    ranks = [1.5, 1.5, 3, 5, 5, 5]  # without zeros; who never came shares the last ranks
    assert effect == pytest.approx((sum(ranks) - 2 * 5) / sum(ranks))
    assert 0.1 < p < 1
    assert statistics.signed_rank([0, 0, 0]) == (None, 0)
    assert statistics.signed_rank([]) == (None, 0)
    assert statistics.signed_rank([2.5]) == (1, 1)


def test_mcnemar_by_hand():
    assert statistics.discordant(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert statistics.discordant(2, 2) == 1
    assert statistics.discordant(0, 0) is None


def test_holm_by_its_definition():
    """Each p-value that it rejects at a level is one that Holm's steps reject at that level."""
    random = np.random.default_rng(1)
    for _ in range(20):
        p = dict(enumerate((random.random(6) ** 3).tolist())) | {"none": None}
        corrected = statistics.holm(p)
        assert corrected["none"] is None
        for level in (0.01, 0.05, 0.2, 0.7):
            rejected = set()
            for rank, (name, value) in enumerate(sorted(list(p.items())[:6], key=lambda x: x[1])):
                if value > level / (6 - rank):
                    break
                rejected.add(name)
            assert {n for n, v in corrected.items() if v is not None and v <= level} == rejected
