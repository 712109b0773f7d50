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

    Give all processes the same `callbacks`: process 0 alone writes and shows, by checkpoints, logs,
    bars, and other callbacks whose `everywhere` is False. Where a callback stops a training in one
    process, all stop after the same step.

    Where `n_threads` is None, processes that may run on the same processors share these out. Where
    `random_state` is None, all take the seed that process 0 draws.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The processes. Default: all that ``mpiexec`` has started, or this one alone.
    timeout : float, default 600
        Seconds that a process waits for the others before it gives up: at the beginning of the
        block, at each step, and at the end.
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
        If an argument does not fit; at the beginning of the block, if a session is open on this
        thread, or this one has been before. In a training: if it is not the same in all processes,
        or has what needs a whole batch at once:
        :class:`~sae_fast.corruptions.Swap`, :class:`~sae_fast.penalties.KLSparsity`,
        :class:`~sae_fast.penalties.Contractive`.
    DistributedError
        If there is no mpi4py, or no MPI. Where processes wait for each other: if one does not
        answer in time, after which the session takes no other training.

    Notes
    -----
    An exception that leaves the block ends the process as it would anyway and then, by
    ``MPI_Abort``, all others. So does ``sys.exit()``, with a status of at least 1, unless all
    processes call it. An error that all meet, such as a DivergenceError, can be caught within.

    Load the data within the block: an error there ends all at once, and one before it lets the
    others wait for `timeout`.

    Examples
    --------
    A program for ``mpiexec -n 4 python program.py``::

        import numpy as np, sae_fast

        with sae_fast.distributed.session() as processes:
            x = np.load("x.npy", mmap_mode="r")
            net = sae_fast.StackedAutoencoder([x.shape[1], 4096, 1024], seed=0)
            net.pretrain(x, epochs=10, batch_size=1024)
        if processes.rank == 0:
            net.save("net.safetensors")
    """
    return Session(comm, timeout, chunk_size)
