# SPDX-License-Identifier: BSD-3-Clause
"""How many threads are taken by default, on made-up systems of control groups."""

from __future__ import annotations

import math
import os
import threading

import pytest
from helpers import output_of
from sae_fast import Autoencoder, DataError, info
from sae_fast.base import threads
from sae_fast.base.threads import available_threads
from sae_fast.experiment.arms import train_side_by_side
from sae_fast.models import parameters


class System:
    """A /proc and a /sys/fs/cgroup in a folder whose name has a space, as mountinfo escapes it."""

    def __init__(self, folder):
        self.proc, self.sys = folder / "the proc", folder / "the sys"
        (self.proc / "self").mkdir(parents=True)
        self.write_mounts("")
        self.write_groups("")

    def write_groups(self, text):
        (self.proc / "self/cgroup").write_text(text)

    def write_mounts(self, *lines):
        """Lines of mountinfo from (kind, root, mount point, options)."""
        rows = ["21 27 0:20 / /proc rw,nosuid shared:11 - proc proc rw"]
        for kind, root, point, options in filter(None, lines):
            at = str(self.sys / point).replace(" ", "\\040")
            rows.append(
                f"30 29 0:26 {root} {at} rw,relatime shared:4 master:1 - {kind} x {options}"
            )
        (self.proc / "self/mountinfo").write_text("\n".join(rows) + "\n")

    def limit_v2(self, group, quota):
        (self.sys / group).mkdir(parents=True, exist_ok=True)
        (self.sys / group / "cpu.max").write_text(f"{quota}\n")

    def limit_v1(self, group, quota, period=100_000):
        (self.sys / group).mkdir(parents=True, exist_ok=True)
        (self.sys / group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (self.sys / group / "cpu.cfs_period_us").write_text(f"{period}\n")

    @property
    def quota(self):
        return threads._cgroup_quota(self.proc)


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


V2 = ("cgroup2", "/", "", "rw,nsdelegate")


class TestVersion2:
    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            ({}, math.inf),
            ({"a/b": "max 100000"}, math.inf),
            ({"a/b": "150000 100000"}, 1.5),
            ({"a": "300000 100000", "a/b": "max 100000"}, 3),
            ({"a": "300000 100000", "a/b": "200000 100000"}, 2),
            ({"a": "100000 200000", "a/b": "200000 100000"}, 0.5),
            ({"": "100000 100000", "a/b": "200000 100000"}, 1),
            ({"a/c": "100000 100000", "a/b/c": "100000 100000"}, math.inf),  # not above us
        ],
    )
    def test_the_tightest_of_all_levels(self, system, limits, expected):
        system.write_groups("0::/a/b\n")
        system.write_mounts(V2)
        for group, quota in limits.items():
            system.limit_v2(group, quota)
        assert system.quota == expected

    def test_inside_a_container_with_a_name_space_of_its_own(self, system):
        system.write_groups("0::/\n")
        system.write_mounts(V2)
        system.limit_v2("", "250000 100000")
        assert system.quota == 2.5

    def test_a_group_inside_a_container_that_knows_the_paths_of_its_host(self, system):
        system.write_groups("0::/docker/0123/job\n")
        system.write_mounts(("cgroup2", "/docker/0123", "", "rw"))
        system.limit_v2("", "400000 100000")
        system.limit_v2("job", "200000 100000")
        assert system.quota == 2

    def test_a_group_that_is_not_mounted(self, system):
        system.write_groups("0::/elsewhere\n")
        system.write_mounts(("cgroup2", "/docker/0123", "", "rw"))
        system.limit_v2("", "400000 100000")
        assert system.quota == 4

    @pytest.mark.parametrize("text", ["", "max\n", "a b\n", "1 0\n", "1 2 3\n"])
    def test_what_nobody_can_read_is_no_limit(self, system, text):
        system.write_groups("0::/\n")
        system.write_mounts(V2)
        system.limit_v2("", "")
        (system.sys / "cpu.max").write_text(text)
        assert system.quota == math.inf


class TestVersion1:
    @pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            ({"": -1, "a": -1}, math.inf),
            ({"": -1, "a": 200_000}, 2),
            ({"": 100_000, "a": 200_000}, 1),
            ({"a": 300_000, "a/b": 50_000}, 0.5),
        ],
    )
    def test_wherever_it_is_mounted(self, system, controllers, limits, expected):
        system.write_groups(f"4:memory:/m\n2:{controllers}:/a/b\n1:name=systemd:/a/b\n")
        system.write_mounts(
            ("cgroup", "/", "memory", "rw,memory"),
            ("cgroup", "/", controllers, f"rw,{controllers}"),
        )
        system.limit_v1("memory/m", 1000)
        for group, quota in limits.items():
            system.limit_v1(f"{controllers}/{group}", quota)
        assert system.quota == expected

    def test_a_group_inside_a_container(self, system):
        system.write_groups("2:cpu,cpuacct:/docker/0123/job/part\n")
        system.write_mounts(("cgroup", "/docker/0123", "cpu,cpuacct", "rw,cpu,cpuacct"))
        system.limit_v1("cpu,cpuacct", 400_000)
        system.limit_v1("cpu,cpuacct/job", 300_000, 50_000)
        system.limit_v1("cpu,cpuacct/job/part", 300_000)
        assert system.quota == 3

    def test_beside_version_2(self, system):
        """Systemd's hybrid layout: what limits the CPUs is in version 1."""
        system.write_groups("2:cpu:/a\n1:name=systemd:/a\n0::/a\n")
        system.write_mounts(("cgroup", "/", "cpu", "rw,cpu"), ("cgroup2", "/", "unified", "rw"))
        system.limit_v1("cpu/a", 200_000)
        (system.sys / "unified/a").mkdir(parents=True)
        assert system.quota == 2

    @pytest.mark.parametrize(("quota", "period"), [(0, 1000), (1000, 0), ("x", 1000)])
    def test_what_nobody_can_read_is_no_limit(self, system, quota, period):
        system.write_groups("2:cpu:/\n")
        system.write_mounts(("cgroup", "/", "cpu", "rw,cpu"))
        system.limit_v1("cpu", quota, period)
        assert system.quota == math.inf


def test_a_system_without_control_groups(tmp_path):
    assert threads._cgroup_quota(tmp_path) == math.inf


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
def test_files_that_nobody_can_read(system, name):
    system.write_groups("0::/\n")
    system.write_mounts(V2)
    system.limit_v2("", "100000 100000")
    assert system.quota == 1
    (system.proc / "self" / name).write_text("once upon a time\n")
    assert system.quota == math.inf


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [(8, math.inf, 8), (8, 3.0, 3), (8, 2.1, 3), (2, 3.0, 2), (8, 0.1, 1)],
)
def test_affinity_and_quota(monkeypatch, allowed, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: quota)
    monkeypatch.setattr(threads, "available_threads", available_threads)
    monkeypatch.setattr(parameters, "openmp_threads", lambda: 99)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert available_threads() == expected
    model = Autoencoder(3, 2)
    assert model.n_threads == expected
    model.n_threads = 5
    assert model.n_threads == 5


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("1", 1), (" 3,2", 3), ("9", 6), ("", 6), ("0", 6), ("-2", 6), ("²", 6), ("all", 6)],
)
def test_a_default_that_the_environment_lowers(monkeypatch, asked, expected):
    """As joblib and Dask do for processes side by side; runs of a study are as many as ever."""
    monkeypatch.setattr(threads, "available_threads", lambda: 6)
    monkeypatch.setattr(parameters, "openmp_threads", lambda: 99)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert Autoencoder(3, 2).n_threads == info()["threads"] == expected
    assert Autoencoder(3, 2, n_threads=5).n_threads == 5
    assert threads.resolve_workers(None) == 6


def test_a_limit_of_threadpoolctl_is_kept_unless_a_number_was_given():
    """From the first model on; on the thread that has set it, as ever."""
    pytest.importorskip("threadpoolctl")
    code = """
import threading, threadpoolctl
from sae_fast import Autoencoder, info
from sae_fast.base import threads
threads.available_threads = lambda: 6
with threadpoolctl.threadpool_limits(3):
    first = Autoencoder(3, 2)
    print(first.n_threads, Autoencoder(3, 2).n_threads)
print(first.n_threads)
model, explicit = Autoencoder(3, 2), Autoencoder(3, 2, n_threads=5)
print(model.n_threads, explicit.n_threads)
with threadpoolctl.threadpool_limits(4):
    print(model.n_threads, explicit.n_threads)
    with threadpoolctl.threadpool_limits(2, user_api="openmp"):
        print(model.n_threads, explicit.n_threads)
    thread = threading.Thread(target=lambda: print(model.n_threads))
    thread.start()
    thread.join()
print(model.n_threads)
"""
    if info()["openmp"].startswith("none"):
        pytest.skip("this build has no OpenMP")
    found = output_of(code, OMP_NUM_THREADS="6")
    assert found.split("\n") == ["3 3", "6", "6 5", "4 5", "2 5", "6", "6", ""]


def test_without_affinity_the_processors_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: math.inf)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_on_one_processor():
    code = (
        "import os, sae_fast\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(sae_fast.Autoencoder(3, 2).n_threads, sae_fast.info()['threads'])"
    )
    assert output_of(code) == "1 1\n"


def test_threads_that_python_cannot_start(monkeypatch):
    """An experiment then has fewer workers, or none, and the same results."""
    assert threads.startable_threads(3) == 3

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert threads.startable_threads(3) == 0
    assert train_side_by_side(lambda arm, share: (arm, share.threads), "ab", 2) == {
        "a": ("a", 2),
        "b": ("b", 2),
    }


@pytest.mark.parametrize("n_threads", [0, -1, 1025, 1.5, "2", True])
def test_numbers_of_threads_that_cannot_be(n_threads):
    with pytest.raises(DataError, match="n_threads"):
        Autoencoder(3, 2, n_threads=n_threads)
