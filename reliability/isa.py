# SPDX-License-Identifier: BSD-3-Clause
"""Every instruction set that this machine has, and machines with fewer of them, emulated.

What an emulated machine trains is compared, bit for bit, with this one when it is forced to the
same instruction set. That the emulation refuses what its machine lacks is checked beside it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sae_fast

from .row import ROOT, NotHereError, Row

#: A machine that qemu emulates (OpenBLAS has the same name for its kernels), the best instruction
#: set it has, the next one, and an instruction of that: vxorps on registers of 32 and 64 bytes.
MACHINES = (
    ("Nehalem", "baseline", "avx2", "c5 fc 57 c0"),
    ("Haswell", "avx2", "avx512", "62 f1 7c 48 57 c0"),
)
#: Sizes of a stack, and the share of zeros in its data: each takes other paths through the core.
SHAPES = {
    "sparse": ((400, 60, 10), 0.8),
    "dense": ((100, 51, 33), 0.0),
    "wide": ((260, 257), 0.0),
}
TIME_LIMIT = 3600  # seconds


def train(steps: int) -> dict[str, str]:
    """Train, evaluate and predict; give the instruction set, and a hash for each kind of stack."""
    result = {"isa": sae_fast.info()["isa"]}
    rng = np.random.default_rng(0)
    for name, (sizes, zeros) in SHAPES.items():
        y = np.arange(70) % 4
        x = np.maximum(rng.random((4, sizes[0]))[y] + rng.random((70, sizes[0])) - 2 * zeros, 0)
        for dtype in ("float32", "float64"):
            net = sae_fast.StackedAutoencoder(sizes, 4, init="he", dtype=dtype, n_threads=2)
            net.pretrain(x, steps=steps, batch_size=50)
            net.finetune(x, y, steps=steps, batch_size=50)
            results = *net.parameters.values(), net.predict_proba(x), net.evaluate(x, y)
            bits = b"".join(np.asarray(array).tobytes() for array in results)
            result[f"{name} {dtype}"] = hashlib.sha256(bits).hexdigest()
    return result


def execute(code: bytes) -> None:
    """Run machine code, and return if the machine knows it."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as m:
        m.write(code + b"\xc3")
        place = ctypes.c_char.from_buffer(m)
        ctypes.CFUNCTYPE(None)(ctypes.addressof(place))()
        del place


def child(
    *arguments: object, cpu: str | None = None, isa: str | None = None, blas: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this module: on an emulated `cpu`, with `isa` and the `blas` kernels forced, if given."""
    unset = ("SAE_FAST_ISA", "OPENBLAS_CORETYPE")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {name: value for name, value in zip(unset, (isa, blas), strict=True) if value}
    command = [sys.executable, "-m", "reliability.isa", *map(str, arguments)]
    if cpu:
        command = ["qemu-x86_64", "-cpu", cpu, *command]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIME_LIMIT
    )


def check(short: bool) -> tuple[str, bool]:
    """Force each instruction set; then compare with emulated machines."""
    steps = 2 if short else 200
    faults = []

    def run(what: str, expected: str, **options: str) -> dict[str, str]:
        done = child(steps, **options)
        result: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
        if result.pop("isa", None) != expected:
            faults.append(f"{what}: status {done.returncode}, {done.stderr.strip()[-200:]}")
        return result

    isas = sae_fast.info()["available_isas"]
    forced = [run(f"{isa} forced", isa, isa=isa) for isa in isas]
    if len(forced) > 1 and forced[0] == forced[1]:
        faults.append(f"{isas[0]} and {isas[1]} give the same bits, as if one were not used")
    figure = f"{len(isas)} of {len(isas)} forced here ran ({', '.join(isas)})"
    if faults:
        return "; ".join(faults), False
    if platform.machine() != "x86_64" or not shutil.which("qemu-x86_64"):
        raise NotHereError(f"{figure}, but no qemu-x86_64 on x86-64 (Debian's qemu-user)")

    machines = [machine for machine in MACHINES if machine[1] in isas]
    with ThreadPoolExecutor(2) as pool:
        emulated = list(pool.map(lambda m: run(f"{m[0]} emulated", m[1], cpu=m[0]), machines))
    same = total = 0
    for (cpu, isa, lacking, code), got in zip(machines, emulated, strict=True):
        expected = run(f"{isa} forced", isa, isa=isa, blas=cpu)
        total += len(expected)
        same += sum(got.get(name) == value for name, value in expected.items())
        if child("execute", code, cpu=cpu).returncode != -signal.SIGILL:
            faults.append(f"the emulated {cpu} runs {lacking}")
        if "SAE_FAST_ISA: instruction set" not in child(steps, cpu=cpu, isa=lacking).stderr:
            faults.append(f"{lacking} forced on {cpu} is not refused")
    names = " and ".join(machine[0] for machine in machines)
    figure += f"; {names} emulated: {same} of {total} bit-identical, what they lack refused"
    return "; ".join([*faults, f"{figure}, 0 illegal instructions"]), same == total and not faults


ROW = Row(
    test="instruction sets forced one by one (and an emulated CPU without AVX)",
    target="0 illegal instructions",
    check=check,
)

if __name__ == "__main__":
    if sys.argv[1] == "execute":
        execute(bytes.fromhex(sys.argv[2]))
    else:
        print(json.dumps(train(int(sys.argv[1]))))
