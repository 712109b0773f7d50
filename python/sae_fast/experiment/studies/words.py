# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of a study as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...base.text import percent
from .samples import Sample
from .statistics import Interval


def share(accuracy: float) -> str:
    """Write an accuracy in per cent."""
    return "-" if math.isnan(accuracy) else percent(accuracy)


def whole_share(part: float) -> str:
    """Write a share in whole per cent."""
    return f"{100 * part:.0f} %"


def points(difference: float, *, signed: bool = False) -> str:
    """Write a difference of accuracies in points of per cent."""
    return "-" if math.isnan(difference) else f"{100 * difference:{'+' if signed else ''}.2f}"


def steps(count: float, *, signed: bool = False) -> str:
    """Write a number of steps, or a difference of two: infinite if one of them never came."""
    if math.isinf(count):
        return f"{'+' if count > 0 else '-'}∞" if signed else "not reached"
    return "-" if math.isnan(count) else f"{count:{'+' if signed else ''},.0f}"


def interval(ends: Interval, write: Callable[..., str], **how: bool) -> str:
    """Write an interval."""
    if ends is None:
        return "-"
    low, high = (write(end, **how) for end in ends)
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def p_value(p: float | None) -> str:
    """Write a p-value, or that there was nothing to test."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.0995 else f"{p:.2f}"


def n_runs(sample: Sample) -> str:
    """Say how many runs there are, and how many of them diverged."""
    diverged = f", {sample.n_diverged} diverged" if sample.n_diverged else ""
    return f"{len(sample.runs)}{diverged}"
