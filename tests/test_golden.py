# SPDX-License-Identifier: BSD-3-Clause
"""Every instruction set gives the bits that it gave when `tests/data/golden.json` was written."""

from __future__ import annotations

import json

import golden
import pytest
from sae_fast import _core

GOLDEN = json.loads(golden.FILE.read_text("utf-8"))


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_the_same_bits_as_ever(isa):
    if isa not in _core.build_config()["available_isas"]:
        pytest.skip(f"this processor or build has no {isa}")
    name = f"{golden.machine()}, {isa}"
    if name not in GOLDEN:
        pytest.skip(f"no hashes for {name}")
    assert golden.hashes_of(isa) == GOLDEN[name]


def test_every_training_has_a_hash_of_its_own():
    """Of a set: only AVX2 and AVX-512 are meant to agree."""
    for found in GOLDEN.values():
        assert len(set(found.values())) == len(found) > 4
    assert GOLDEN["x86_64, avx2"] == GOLDEN["x86_64, avx512"] != GOLDEN["x86_64, baseline"]
