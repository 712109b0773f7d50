# SPDX-License-Identifier: BSD-3-Clause
"""Trainings that several processes share, on one machine or many, by MPI.

For networks and batches that are large enough to be worth it: the page on distributed training says
when. The processes run one program, each with all arguments and the same data.
"""

from __future__ import annotations

from typing import Any

from .training.distributed import TIMEOUT, Session

__all__ = ["Session", "session"]


def session(
    comm: Any = None, *, timeout: float = TIMEOUT, chunk_size: int | None = None
) -> Session:
    """Let the processes of an MPI share the trainings of a ``with`` block.

    Within it, what trains on the thread that entered it (`fit`, `pretrain`, `finetune`,
    `finetune_autoencoder`, the estimators, :func:`sae_fast.run_experiment`) takes each step with
    the other processes: each computes the gradient of its chunks of the batch, and all take the
    step with their sum. The parameters are the same in all, and the same, bit for bit, for every
    number of processes, one included. They are not those of a training outside of a session, which
    sums in another order. All else (evaluations, codes, predictions) each process computes by
    itself.

    Process 0 alone writes and shows: checkpoints, logs, bars, and other callbacks whose
    `everywhere` is False. Where a callback stops a training in one process, all stop after the same
    step.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The processes. Default: all that ``mpiexec`` has started, or this one alone.
    timeout : float, default 600
        Seconds that a process waits for the others at a step before it gives up.
    chunk_size : int, optional
        Samples of a chunk. Results depend on it; small chunks are slow in wide layers, and a batch
        needs one for each process. Default: a 16th of the batch, from 32 to 128.

    Returns
    -------
    Session
        A context manager, with the `rank` of this process and how many there are, `size`.

    Raises
    ------
    DataError
        If an argument does not fit, or a session is open on this thread. In a training: if it is
        not the same in all processes, or has what needs a whole batch at once:
        :class:`~sae_fast.corruptions.Swap`, :class:`~sae_fast.penalties.KLSparsity`,
        :class:`~sae_fast.penalties.Contractive`.
    DistributedError
        If there is no mpi4py, or no MPI. In a training: if another process does not answer in time.

    Notes
    -----
    An error that leaves the block ends the process as it would anyway and then, by ``MPI_Abort``,
    all others. One that all processes meet, such as a DivergenceError, can be caught within it.

    Examples
    --------
    A program for ``mpiexec -n 4 python program.py``::

        import numpy as np, sae_fast

        x = np.load("x.npy", mmap_mode="r")
        net = sae_fast.StackedAutoencoder([x.shape[1], 4096, 1024], seed=0)
        with sae_fast.distributed.session() as processes:
            net.pretrain(x, epochs=10, batch_size=1024)
        if processes.rank == 0:
            net.save("net.safetensors")
    """
    return Session(comm, timeout, chunk_size)
