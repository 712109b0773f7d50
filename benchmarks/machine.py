# SPDX-License-Identifier: BSD-3-Clause
"""What a timing has to say of the machine, so that like is compared with like."""

from __future__ import annotations

import json
import math
import os


def measure_handover() -> float:
    """Nanoseconds that a cache line takes from one core to the other; NaN where there is one.

    Some 30 within a die, 160 between two. A virtual machine may have either, under one name, and
    change between them: that is half of the difference between two runs.
    """
    from sae_fast import _core

    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2:
        return math.nan
    return 1e9 * min(_core.measure_handover() for _ in range(5))


def facts() -> dict[str, object]:
    """Return the processor's name, its instructions, threads, load and cores' distance."""
    import sae_fast  # of another environment, perhaps, than that of who calls `describe`

    info = sae_fast.info()
    handover = measure_handover()
    return {
        "cpu": info["cpu"],
        "isa": info["isa"],
        "threads": info["threads"],
        "load_average": os.getloadavg()[0],
        "handover_ns": None if math.isnan(handover) else handover,
    }


INTERRUPTED = 5000  # ns: no cores are so far from each other, but one was taken away meanwhile


def describe(found: dict[str, object]) -> str:
    """Return `facts` as a sentence that tables can have beside them."""
    if not found:
        return "not known, as sae_fast is not there"
    handover = found["handover_ns"]
    between = "" if handover is None else f", a cache line {handover:.0f} ns from core to core"
    if handover is not None and handover > INTERRUPTED:
        between = ", cores too busy to tell how far apart they are"
    return (
        f"{found['cpu']}, {found['isa']}, {found['threads']} threads{between}, load average "
        f"{found['load_average']:.2f} (a quiet machine: about 0)"
    )


if __name__ == "__main__":
    print(json.dumps(facts()))
