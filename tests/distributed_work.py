# SPDX-License-Identifier: BSD-3-Clause
"""What the processes of `test_distributed.py` run: trainings of each kind, some of which fail."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
from sae_fast.corruptions import Gaussian, Masking, SaltAndPepper, Swap
from sae_fast.datasets.sources import ArraySource
from sae_fast.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm
from scipy import sparse

CHUNK = 20  # so that the batches below have from four chunks to seven
RNG = np.random.default_rng(0)
X, Y = RNG.random((230, 24), dtype=np.float32), np.arange(230) % 3


class Watch(sae_fast.callbacks.Callback):
    """Calls a function after every so many steps."""

    def __init__(self, function: Callable[[Any], object], every: int) -> None:
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
    """Samples and codes of which non-zeros alone are read, at given batches."""
    x = sparse.random(230, 40, 0.1, "csr", np.float32, 0)
    ae = sae_fast.Autoencoder(40, 32, activation=sae_fast.activations.TopK(3))
    ae.fit(x, batches=np.arange(480).reshape(6, 80) * 7 % 230, optimizer="sgd", learning_rate=0.01)
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
    function.__name__: function for function in (stack, tied, non_zeros, wide, windows)
}


def digest(parameters: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name, value in sorted(parameters.items()):
        found.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def note(folder: Path, session: Any, found: Any) -> None:
    """Leave what this process has found for who looks at it."""
    name = sys._getframe(1).f_code.co_name
    (folder / f"{name}-{session.rank}.json").write_text(json.dumps(found))


def same_bits(folder: Path) -> None:
    """Train each kind shared; note the bits and, in one process, how far from those unshared."""
    found = {}
    for name, kind in KINDS.items():
        with sae_fast.distributed.session(chunk_size=CHUNK) as session:
            shared = kind().parameters
        n_taken = source.n_taken
        alone = kind().parameters if session.size == 1 else shared
        far = [np.abs(shared[key] - one).max() / np.abs(one).max() for key, one in alone.items()]
        found[name] = digest(shared), float(max(far))
    note(folder, session, {"kinds": found, "rows read": n_taken})


def refused(folder: Path) -> None:
    """Note what a training says that cannot be shared, and whether it has changed anything."""
    said = []

    def ask(train: Callable[[Any], object], n: int = 24) -> None:
        ae = sae_fast.Autoencoder(n, 10, activation="sigmoid")
        before = digest(ae.parameters)
        try:
            train(ae)
        except sae_fast.DataError as error:
            same = digest(ae.parameters) == before and ae._state is None
            said.append([str(error), same])

    with sae_fast.distributed.session(chunk_size=CHUNK) as session:
        for penalty in (KLSparsity(0.1, 0.1), Contractive(0.1)):
            ask(lambda ae, one=penalty: ae.fit(X, steps=2, penalties=[one]))
        ask(lambda ae: ae.fit(X, steps=2, corruption=Swap(0.1)))
        ask(lambda ae: ae.fit(X, steps=2, batch_size=CHUNK))
        ask(lambda ae: ae.fit(X, steps=2 + session.rank))
        ask(lambda ae: sae_fast.distributed.session())
    note(folder, session, said)


def stop(folder: Path) -> None:
    """Let one process alone stop a training, and note after which step each has."""
    calls = []
    with sae_fast.distributed.session(chunk_size=CHUNK) as session:
        net = sae_fast.StackedAutoencoder([24, 10])
        own = Watch(lambda training: session.rank and training.step == 4 and training.stop(), 2)
        mute = Watch(lambda training: calls.append(training.step), 3)
        mute.everywhere, mute.on_layer_end = False, lambda training: calls.append("end")
        net.pretrain(X, steps=20, eval_every=50, callbacks=[own, mute])
    note(folder, session, [net.autoencoders[0]._state.steps_done, calls])


def resumed(folder: Path, how: str = "", timeout: float = 30) -> None:
    """Train with checkpoints, or go on from them; process 1 may do something after step 8."""

    def act(training: Any) -> None:
        if session.rank != 1 or training.step < 8:
            return
        if how == "raise":
            raise RuntimeError("out of luck")
        if how:
            os.kill(os.getpid(), {"die": signal.SIGKILL, "hang": signal.SIGSTOP}[how])

    with sae_fast.distributed.session(chunk_size=CHUNK, timeout=timeout) as session:
        checkpoint = sae_fast.RunCheckpoint(folder, every=4)
        ae = sae_fast.Autoencoder(24, 10)
        ae.fit(X, steps=12, eval_every=5, callbacks=[Watch(act, 4), checkpoint])
    note(folder, session, digest(ae.parameters))


def experiment(folder: Path) -> None:
    """Note the bits of a run of the experiment."""
    steps = {"pretrain_steps": 5, "finetune_steps": 20}
    result = sae_fast.run_experiment(
        dataset="idx", data_dir=folder, hidden=[5, 4], distributed=True, quiet=True, **steps
    )
    bits = {arm: digest(net.parameters) for arm, net in result.models.items()}
    note(folder, sae_fast.training.distributed.latest(), bits)


if __name__ == "__main__":
    where, *names = sys.argv[1:]
    for name in names:
        if name in ("raise", "die", "hang"):
            resumed(Path(where), name, 1 if name == "hang" else 30)
        else:
            globals()[name](Path(where))
