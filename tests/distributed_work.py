# SPDX-License-Identifier: BSD-3-Clause
"""What the processes of `test_distributed.py` run: trainings of each kind, some of which fail."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
from sae_fast.base import threads
from sae_fast.callbacks import EarlyStopping, JsonLinesLog
from sae_fast.corruptions import Gaussian, Masking, SaltAndPepper, Swap
from sae_fast.datasets.sources import ArraySource
from sae_fast.models import parameters
from sae_fast.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm
from scipy import sparse

CHUNK = 20  # so that the batches below have from four chunks to seven
RNG = np.random.default_rng(0)
X, Y = RNG.random((230, 24), dtype=np.float32), np.arange(230) % 3


class Watch(sae_fast.callbacks.Callback):
    """Calls a function after every so many steps."""

    def __init__(self, function: Callable[[Any], object], every: int | None = None) -> None:
        self.on_step, self.every = function, every


def stack() -> Any:
    """Pretraining with noise, the whole stack as one, classes."""
    net = sae_fast.StackedAutoencoder([24, 12, 6], 3)
    net.pretrain(X, steps=8, batch_size=100, corruption=Masking(0.2), dropout=0.1)
    net.finetune_autoencoder(X, steps=8, batch_size=90, corruption=Gaussian(0.1))
    net.finetune(X, Y, steps=8, batch_size=121, eval_every=3, eval_set=(X, Y))
    return net


def tied() -> Any:
    """Weights that two layers share, penalties of each kind that there may be, a few weights."""
    ae = sae_fast.Autoencoder(24, 10, tied=True, dtype="float64")
    penalties = [CodeL1(0.01), L1(0.001), MaxNorm(1.0)]
    weight = np.arange(230) % 3
    ae.fit(X, steps=8, batch_size=101, penalties=penalties, sample_weight=weight, weight_decay=0.01)
    return ae


def non_zeros() -> Any:
    """Noisy samples and codes of which non-zeros alone are read, at given batches."""
    x = sparse.random(230, 40, 0.1, "csr", np.float32, 0)
    ae = sae_fast.Autoencoder(40, 32, activation=sae_fast.activations.TopK(3))
    batches, noise = np.arange(480).reshape(6, 80) * 7 % 230, Masking(0.3)
    ae.fit(x, batches=batches, optimizer="sgd", learning_rate=0.01, corruption=noise)
    return ae


def stopped() -> Any:
    """One that stops, and goes back to its best evaluation."""
    ae = sae_fast.Autoencoder(24, 10)
    stopping = EarlyStopping(patience=2, min_delta=1e6)
    ae.fit(X, steps=60, batch_size=100, eval_every=3, callbacks=[stopping])
    assert (stopping.best_step, ae._state.steps_done) == (3, 9)
    return ae


def wide() -> Any:
    """Layers that BLAS computes."""
    ae = sae_fast.Autoencoder(256, 260, n_threads=2)
    noise = SaltAndPepper(0.1, emphasis=(1.0, 0.5))
    how = {"optimizer": "sgd", "learning_rate": 1e-4, "corruption": noise}
    ae.fit(np.resize(X, (150, 256)), steps=3, batch_size=130, **how)
    return ae


class NotingSource(ArraySource):
    """Counts the rows that are taken by their numbers, as steps take them."""

    n_taken = 0

    def take(self, rows: Any, out: Any = None) -> Any:
        self.n_taken += len(rows) if isinstance(rows, np.ndarray) else 0
        return super().take(rows, out)


source = NotingSource(X, memory="24KB", block_size=2)


def windows() -> Any:
    """A source that memory does not hold, with targets."""
    net = sae_fast.StackedAutoencoder([24, 8], n_targets=2)
    net.finetune(source, X[:, :2], steps=8, batch_size=90)
    return net


KINDS: dict[str, Callable[[], Any]] = {
    function.__name__: function for function in (stack, tied, non_zeros, stopped, wide, windows)
}


def digest(parameters: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name, value in sorted(parameters.items()):
        found.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def note(folder: Path, session: Any, found: Any) -> None:
    """Leave what this process has found for who looks at it."""
    name = sys._getframe(1).f_code.co_name
    (folder / f"{name}-{session.size}-{session.rank}.json").write_text(json.dumps(found))


# What processes do together, some of them or all


def together(folder: Path, world: Any) -> None:
    """Share four processes out: all of them, three and one meanwhile, two."""
    same_bits(folder, world)
    some = world.Split(world.rank == 3)
    same_bits(folder, some)
    if world.rank == 3:
        resumed(folder / "alone", some)
        experiment(folder, some)
    else:
        resumed(folder, some)
    some = world.Split(world.rank < 2)
    if world.rank < 2:
        same_bits(folder, some)
        refused(folder, some)
        stop(folder, some)
        processors(folder, some)
    with sae_fast.distributed.session(world):
        sys.exit(0)  # which is no failure where all do so


def same_bits(folder: Path, comm: Any) -> None:
    """Train each kind shared; note the bits and, in one process, how far from those unshared."""
    found = {}
    source.n_taken = 0
    for name, kind in KINDS.items():
        with sae_fast.distributed.session(comm, chunk_size=CHUNK) as session:
            shared = kind().parameters
        n_taken = source.n_taken
        alone = kind().parameters if session.size == 1 else shared
        far = [np.abs(shared[key] - one).max() / np.abs(one).max() for key, one in alone.items()]
        found[name] = digest(shared), float(max(far))
    note(folder, session, {"kinds": found, "rows read": n_taken})


def refused(folder: Path, comm: Any) -> None:
    """Note what a training says that cannot be shared, and whether it has changed anything."""
    said = []
    log = JsonLinesLog(folder / "log.jsonl")
    never = Watch(lambda _: None, 3)

    def state() -> tuple[str, str, int]:
        slots, steps_done = ae._state.get_state()
        return digest(ae.parameters), digest(dict(zip("mv", slots, strict=True))), steps_done

    def ask(**how: Any) -> None:
        before = state()
        try:
            ae.fit(X, **{"steps": 2, "callbacks": [log], "continued": True, **how})
        except sae_fast.DataError as error:
            said.append([str(error), state() == before])

    def move(training: Any) -> None:
        if session.rank == 1:
            training.model.parameters = {"b_enc": np.ones(10)}

    def refuse(enter: Callable[[], object]) -> None:
        try:
            enter()
        except sae_fast.DataError as error:
            said.append([str(error), True])

    with sae_fast.distributed.session(comm, chunk_size=CHUNK) as session:
        ae = sae_fast.Autoencoder(24, 10, activation="sigmoid")
        ae.fit(X, steps=2)
        for penalty in (KLSparsity(0.1, 0.1), Contractive(0.1)):
            ask(penalties=[penalty])
        ask(corruption=Swap(0.1))
        ask(batch_size=CHUNK)
        ask(steps=2 + session.rank)
        ask(callbacks=[log, never] if session.rank == 0 else [])
        ask(sample_weight=Y + session.rank)
        if session.rank == 1:
            ae._state.set_state([2 * one for one in ae._state.get_state()[0]], 2)
        ask()
        moving = sae_fast.callbacks.Callback()
        moving.on_start = move
        ae._state.set_state([0 * one for one in ae._state.get_state()[0]], 2)
        ask(callbacks=[moving])
        said.append([str(session.of_first(5 + session.rank)), not log.path.exists()])
        nested = sae_fast.distributed.session(comm)
        for enter in (nested.__enter__, session.__enter__):
            refuse(enter)
    refuse(session.__enter__)
    note(folder, session, said)


def stop(folder: Path, comm: Any) -> None:
    """Let one process alone stop two trainings, and note after which step each has."""
    calls, seen = [], []
    with sae_fast.distributed.session(comm, chunk_size=CHUNK) as session:
        net = sae_fast.StackedAutoencoder([24, 10])
        own = Watch(lambda training: session.rank and training.step == 4 and training.stop(), 2)
        mute = Watch(lambda training: calls.append(training.step), 3)
        mute.everywhere, mute.on_layer_end = False, lambda training: calls.append("end")
        net.pretrain(X, steps=20, eval_every=50, callbacks=[own, mute])

        def look(training: Any) -> None:
            seen.append(training.step)
            if session.rank == 1 and len(seen) == 2:
                training.stop()

        ae = sae_fast.Autoencoder(24, 10)
        ae.fit(X, steps=10**6, eval_every=0, callbacks=[Watch(look)])
    note(folder, session, [net.autoencoders[0]._state.steps_done, calls, seen])


def processors(folder: Path, comm: Any) -> None:
    """Note how many threads a model takes where processors are shared, and where they are not."""
    found = []
    os.environ.pop("OMP_NUM_THREADS", None)
    threads._cgroup_quota = lambda: math.inf
    parameters.openmp_threads = lambda: 99
    for first in (0, 6 * comm.rank):
        os.sched_getaffinity = lambda _, first=first: set(range(first, first + 6))
        ae, explicit = sae_fast.Autoencoder(24, 10), sae_fast.Autoencoder(24, 10, n_threads=5)
        with sae_fast.distributed.session(comm) as session:
            within = sae_fast.Autoencoder(24, 10)
            found.append([ae.n_threads, within.n_threads, explicit.n_threads])
        found.append([ae.n_threads])
    note(folder, session, found)


def resumed(folder: Path, comm: Any, how: str = "") -> None:
    """Train with checkpoints, or go on from them; process 1 may do something after step 8."""

    def act(training: Any) -> None:
        if how and session.rank == 1 and training.step == 8:
            if how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("out of luck")

    with sae_fast.distributed.session(comm, chunk_size=CHUNK) as session:
        checkpoint = sae_fast.RunCheckpoint(folder, every=4)
        ae = sae_fast.Autoencoder(24, 10)
        ae.fit(X, steps=12, eval_every=5, callbacks=[Watch(act, 4), checkpoint])
    note(folder, session, digest(ae.parameters))


def experiment(folder: Path, comm: Any) -> None:
    """Note the bits of a run of the experiment."""
    steps = {"pretrain_steps": 5, "finetune_steps": 20}
    with sae_fast.distributed.session(comm) as session:
        result = sae_fast.run_experiment(
            dataset="idx", data_dir=folder, hidden=[5, 4], quiet=True, **steps
        )
    bits = {arm: digest(net.parameters) for arm, net in result.models.items()}
    note(folder, session, bits)


# What one of two processes does, so that both end


def hang(folder: Path, comm: Any) -> None:
    """Let process 1 stop within a training; the other tries another one after it."""

    def act(training: Any) -> None:
        if session.rank == 1:
            print("stops", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)

    with sae_fast.distributed.session(comm, chunk_size=CHUNK, timeout=2) as session:
        ae = sae_fast.Autoencoder(24, 10)
        try:
            ae.fit(X, steps=12, callbacks=[Watch(act, 4)])
        except sae_fast.DistributedError as error:
            print(error, flush=True)
        sae_fast.Autoencoder(24, 10).fit(X, steps=12)


def hang_at_the_end(folder: Path, comm: Any) -> None:
    with sae_fast.distributed.session(comm, timeout=2):
        if comm.rank == 1:
            print("stops", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)


def raise_before(folder: Path, comm: Any) -> None:
    if comm.rank == 1:
        raise RuntimeError("no data")
    with sae_fast.distributed.session(comm, timeout=2):
        pass


def exit_alone(folder: Path, comm: Any) -> None:
    with sae_fast.distributed.session(comm):
        if comm.rank == 1:
            sys.exit(0)


if __name__ == "__main__":
    from mpi4py import MPI

    where, name = Path(sys.argv[1]), sys.argv[2]
    if name in ("raise", "die"):
        resumed(where, MPI.COMM_WORLD, name)
    else:
        globals()[name](where, MPI.COMM_WORLD)
