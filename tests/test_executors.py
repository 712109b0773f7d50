# SPDX-License-Identifier: BSD-3-Clause
"""Runs of a study through every kind of executor: the same bits, whoever dies in between."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from data_helpers import write_set
from helpers import TIME_LIMIT, assert_identical, mpiexec
from sae_fast import DataError, ExecutorError
from sae_fast.core import build
from sae_fast.core.build import fingerprint
from sae_fast.datasets import load_idx
from sae_fast.experiment.studies import executors, pools, worker
from sae_fast.experiment.studies.executors import Failure, run_tasks
from study_work import (
    marks,
    obey,
    study_of,
    tiny_context,
    train,
    train_and_die_once,
    train_for_ever,
)

HERE = Path(__file__).parent
TASKS = [(arm, seed) for seed in range(4) for arm in ("pretrained", "he")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list:
    context = tiny_context(tmp_path_factory.mktemp("expected"))
    return [train(context, task) for task in TASKS]


@pytest.fixture(scope="module")
def studied() -> list:
    return study_of("threads", threads=2)


def in_order(found) -> list:
    """Give outcomes by index, each of which came once."""
    found = sorted(found, key=lambda pair: pair[0])
    assert [index for index, _ in found] == list(range(len(found)))
    return [outcome for _, outcome in found]


def surroundings() -> dict[str, str]:
    """Give an environment in which programs find the package and these tests."""
    paths = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}


@contextlib.contextmanager
def program(*command: str, **options) -> Iterator[subprocess.Popen]:
    """Run a program in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, *command], env=surroundings(), text=True, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


FOR_EVER = """
import sys
from pathlib import Path
from sae_fast.experiment.studies.executors import run_tasks
from study_work import tiny_context, train_for_ever
context = tiny_context(Path(sys.argv[1]), steps=10**9)
tasks = [("he", seed) for seed in range(4)]
executor, workers = sys.argv[2], int(sys.argv[3])
print(list(run_tasks(tasks, train_for_ever, context, executor=executor, workers=workers)))
"""


def until(condition, seconds: float = TIME_LIMIT):
    """Wait until a condition holds, and return what it gives."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return found


def is_gone(group: int) -> bool:
    """Say whether a process group has no process any more, dead ones that wait aside."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_another_core_is_other_code(monkeypatch):
    here = fingerprint()
    monkeypatch.setattr(build, "SOURCES", "of others")
    assert fingerprint.__wrapped__() not in (here, build.VERSION)


class TestSameBits:
    def test_the_same_study(self, studied):
        """Through threads, one at a time and two, and processes; Dask and MPI are below."""
        assert len({tuple(losses) for _, losses, *_ in studied}) == 8
        assert study_of("threads", threads=1) == studied
        assert study_of("processes", threads=2) == studied

    def test_threads_of_others(self, expected, tmp_path):
        with ThreadPoolExecutor(2) as pool:
            found = run_tasks(TASKS, train, tiny_context(tmp_path), executor=pool)
            assert in_order(found) == expected

    def test_threads_of_others_have_nothing_left_to_do_for_who_leaves(self, tmp_path):
        with ThreadPoolExecutor(2) as pool:
            runs = run_tasks(["a"] * 100, obey, tmp_path, executor=pool, chunk=1)
            next(runs)
            runs.close()
            assert pool.submit(len, "free").result(TIME_LIMIT) == 4
        assert marks(tmp_path, "a") < 10

    def test_processes_of_others_are_sent_the_data_once(self, expected, tmp_path, monkeypatch):
        """Nothing is known of them; what they were sent in one study, they have in the next."""
        sent, ship = [], pools.Pool.ship
        monkeypatch.setattr(pools.Pool, "ship", lambda *given: sent.append(1) or ship(*given))
        context = tiny_context(tmp_path)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            for _ in range(2):
                found = run_tasks(TASKS[:3], train, context, executor=pool, chunk=1)
                assert in_order(found) == expected[:3]
        assert len(sent) == 1


class TestData:
    """Of workers elsewhere, each of which is this process here, since it cannot tell."""

    def reply(self, data, work=lambda data, _: data.x_train, *sent):
        packed, found = worker.pack(data, lambda data: data.loader)
        job = worker.Job("elsewhere", work, packed, fingerprint(), lambda: False)
        worker._contexts.clear()
        worker._data.clear()
        return found, worker.compute(job, [None], *sent)

    def test_the_same_files_are_read(self, tmp_path):
        write_set(tmp_path)
        data = load_idx(tmp_path, dtype="uint8")
        found, reply = self.reply(data)
        [x] = reply.outcomes
        assert x is not data.x_train
        assert_identical({"x": x}, {"x": data.x_train})
        assert list(found.values()) == [data]

    def test_other_files_of_the_name_are_not(self, tmp_path):
        write_set(tmp_path)
        data = load_idx(tmp_path, dtype="uint8")
        for change in (lambda: write_set(tmp_path, n_train=13), lambda: shutil.rmtree(tmp_path)):
            change()
            found, reply = self.reply(data)
            assert (reply.outcomes, list(reply.missing)) == ((), list(found))
            _, reply = self.reply(data, lambda data, _: data.x_test, list(found), *found.values())
            assert reply.outcomes[0] is data.x_test


def test_chunks_follow_the_time_of_runs_and_end_together(tmp_path):
    """One run at first; then what takes a while, but never more than a share of what is left."""
    sizes = []

    class Pool(ThreadPoolExecutor):
        def submit(self, function, job, tasks, *more):
            sizes.append(len(tasks))
            return super().submit(function, job, tasks, *more)

    with Pool(2) as pool:
        found = in_order(run_tasks(["a"] * 60, obey, tmp_path, executor=pool))
    assert found == ["A"] * 60
    assert sizes[:4] == [0, 0, 1, 1]
    assert max(sizes) >= 10
    assert sizes[-1] == 1
    assert len(sizes) < 30


class TestFailures:
    def test_what_a_run_raises_is_its_own_failure(self, tmp_path):
        found = in_order(run_tasks(["a", "raise", "b"], obey, tmp_path))
        assert found == ["A", Failure("ArithmeticError: a loss is NaN", 1), "B"]

    def test_a_run_that_kills_workers_is_given_up_and_no_other(self, tmp_path):
        """In chunks, then one by one, at last alone, so that nobody else is blamed."""
        tasks = ["a", "b", "die", "c", "d", "e"]
        found = in_order(run_tasks(tasks, obey, tmp_path, executor="processes", workers=2, chunk=3))
        assert [outcome for outcome in found if outcome != found[2]] == ["A", "B", "C", "D", "E"]
        assert isinstance(found[2], Failure)
        assert (found[2].attempts, marks(tmp_path, "die")) == (3, 3)
        assert "terminated abruptly" in found[2].error


@pytest.mark.skipif(os.name == "nt", reason="this system has no process groups")
class TestTheEnd:
    @pytest.mark.parametrize(
        ("executor", "workers", "signum"),
        [
            ("threads", 2, signal.SIGINT),
            ("processes", 2, signal.SIGINT),
            ("processes", 1, signal.SIGKILL),
        ],
    )
    def test_nothing_is_left(self, executor, workers, signum, tmp_path):
        """Neither of Ctrl-C, also under python -c, nor if the process that hands out is killed."""
        options = str(tmp_path), executor, str(workers)
        with program("-c", FOR_EVER, *options, stderr=subprocess.PIPE) as process:
            until(lambda: marks(tmp_path, "begun") == workers)
            process.send_signal(signum)
            _, errors = process.communicate(timeout=10)
            until(lambda: is_gone(process.pid), 5)
        assert process.returncode == -signum
        assert errors.count("Traceback") == (signum == signal.SIGINT)


class Cluster:
    """A Dask scheduler and two workers, each a process of its own."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        self.held = held
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.start(2)

    def run(self, what: str, *arguments: str) -> subprocess.Popen:
        command = "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *arguments
        return self.held.enter_context(program(*command, stderr=subprocess.DEVNULL))

    def start(self, n_workers: int) -> None:
        port = self.address.rpartition(":")[2]
        self.scheduler = self.run("scheduler", "--host", "127.0.0.1", "--port", port)
        options = "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"
        self.workers = [self.run("worker", self.address, *options) for _ in range(n_workers)]

    def restart(self) -> None:
        """Start again after a machine has failed, with one worker this time."""
        for process in (self.scheduler, *self.workers):
            process.kill()
            process.wait()
        self.start(1)


@pytest.mark.skipif(os.name == "nt", reason="this system has no process groups")
@pytest.mark.filterwarnings("ignore")  # Dask's, of its own
class TestDask:
    @pytest.fixture(scope="class")
    def cluster(self):
        pytest.importorskip("distributed")
        with contextlib.ExitStack() as held:
            yield Cluster(held)

    def run(self, cluster, tasks, work, context, **options):
        return run_tasks(
            tasks, work, context, executor="dask", scheduler=cluster.address, **options
        )

    def test_who_leaves_leaves_no_run_behind(self, cluster, tmp_path):
        runs = self.run(cluster, [("he", 0), None], train_for_ever, tiny_context(tmp_path, 10**9))
        assert next(runs)[0] == 1
        assert marks(tmp_path, "begun") == 1
        runs.close()
        until(lambda: marks(tmp_path, "ended") == 1, 5)

    def test_the_same_study(self, cluster, studied):
        """By the scheduler's address, and through an executor of somebody's client."""
        assert study_of("dask", scheduler=cluster.address) == studied
        from distributed import Client

        with Client(cluster.address, set_as_default=False) as client:
            assert study_of(client.get_executor(retries=1)) == studied
            assert client.status == "running"  # it is theirs

    def test_workers_of_another_version(self, cluster, tmp_path, monkeypatch):
        monkeypatch.setattr(pools, "fingerprint", lambda: "0.0.9 (abc)")
        with pytest.raises(
            ExecutorError, match=r"^Dask worker tcp.* has sae_fast .*, expected 0.0"
        ):
            next(self.run(cluster, ["a"], obey, tmp_path))
        assert marks(tmp_path, "a") == 0

    def test_a_scheduler_without_the_package(self, cluster, tmp_path, monkeypatch):
        """Or without a module of this process, which is the same to it."""
        (tmp_path / "only_here.py").write_text(
            "import sae_fast.core.build\n\n"
            "def fingerprint():\n    return sae_fast.core.build.fingerprint()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(pools, "fingerprint", importlib.import_module("only_here").fingerprint)
        words = r"^Dask scheduler tcp.*: No module named 'only_here'; it needs sae_fast, as its"
        with pytest.raises(ExecutorError, match=words):
            next(self.run(cluster, ["a"], obey, tmp_path))
        assert marks(tmp_path, "a") == 0

    def test_same_bits_with_a_worker_and_then_the_scheduler_gone(
        self, cluster, expected, tmp_path, monkeypatch
    ):
        renewed, renew = [], pools.Dask.renew
        monkeypatch.setattr(
            pools.Dask, "renew", lambda pool, lost: renewed.append(1) or renew(pool, lost)
        )
        found = []
        context = tiny_context(tmp_path)
        for pair in self.run(cluster, TASKS, train_and_die_once, context, chunk=1):
            found.append(pair)
            if len(found) == 3:
                assert sorted(worker.poll() or 0 for worker in cluster.workers) == [-9, 0]
                assert renewed == []  # Dask itself knew what to do
                cluster.restart()
        assert in_order(found) == expected
        assert renewed


THROUGH_MPI = """
import json
from study_work import study_of
if __name__ == "__main__":
    print(json.dumps(study_of("mpi")))
"""


class TestMPI:
    def test_the_same_study(self, studied, tmp_path):
        command, environment = mpiexec()
        script = tmp_path / "script.py"
        script.write_text(THROUGH_MPI)
        done = subprocess.run(
            [command, "-n", "3", sys.executable, "-m", "mpi4py.futures", script],
            env={**surroundings(), **environment},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == studied

    def test_a_program_that_mpi4py_has_not_started(self, tmp_path):
        """It is refused, and leaves nothing that refuses the right command."""
        for _ in range(2):
            with pytest.raises(ExecutorError, match=r"mpiexec -n N python -m mpi4py.futures"):
                study_of("mpi", output=tmp_path / "study")


class TestWhatIsGiven:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"executor": "thread"},
                r"^executor: expected threads, processes, dask, mpi or a conc",
            ),
            ({"executor": 3}, r"^executor: .*, got 3$"),
            ({"workers": 0}, r"^workers: "),
            ({"workers": 2.5}, r"^workers: "),
            ({"workers": 0, "executor": ThreadPoolExecutor()}, r"^workers: "),
            ({"chunk": 0}, r"^chunk: "),
            ({"scheduler": "tcp://x"}, r"^scheduler: expected none with executor 'threads', got "),
            ({"executor": "processes", "workers": "2"}, r"^workers: "),
        ],
    )
    def test_is_checked(self, options, message, tmp_path):
        with pytest.raises(DataError, match=message):
            next(run_tasks(["a"], obey, tmp_path, **options))
        assert marks(tmp_path, "a") == 0

    @pytest.mark.filterwarnings("ignore")
    def test_schedulers_that_are_not_there(self, tmp_path):
        pytest.importorskip("distributed")
        with pytest.raises(DataError, match=r"^scheduler: expected the address of a Dask sched"):
            next(run_tasks(["a"], obey, tmp_path, executor="dask"))
        with pytest.raises(
            ExecutorError, match=r"^scheduler: expected a Dask scheduler at 'nohost"
        ):
            next(run_tasks(["a"], obey, tmp_path, executor="dask", scheduler="nohost://1"))

    def test_workers_of_another_version(self, tmp_path, monkeypatch):
        monkeypatch.setattr(executors, "fingerprint", lambda: "0.0.9 (abc)")
        with pytest.raises(ExecutorError, match=r"^a worker has sae_fast .*, expected 0.0.9 \(abc"):
            next(run_tasks(["a"], obey, tmp_path))
        assert marks(tmp_path, "a") == 0

    def test_nothing(self, tmp_path):
        assert list(run_tasks([], obey, tmp_path)) == []
