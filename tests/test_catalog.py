# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import shutil
import socket
import warnings

import numpy as np
import pytest
from data_helpers import digests, idx_bytes, write_set
from sae_fast.datasets import DatasetFallbackWarning, catalog, load, load_strokes, mnist
from sae_fast.errors import DataError, DatasetUnavailableError


@pytest.fixture(autouse=True)
def sockets(monkeypatch):
    """Let no socket be opened, and list the attempts."""
    attempts = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(arguments)
        raise OSError("no socket in these tests")

    import ssl  # noqa: F401 - it derives a class from the socket that is replaced here

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    return attempts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, nothing in the environment, and few strokes."""
    monkeypatch.setattr(mnist, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(catalog, "load_strokes", lambda **options: load_strokes(20, 10, **options))
    for variable in ("SAE_FAST_DATA_DIR", "http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a small set that passes for MNIST."""
    arrays = write_set(tmp_path / "small", n_train=5_003, side=(2, 2))
    monkeypatch.setattr(mnist, "_SHA256", digests(arrays))
    return tmp_path / "small"


def test_strokes(sockets):
    dataset = load("strokes", dtype="float32")
    assert dataset.name == "strokes"
    assert dataset.x_train.dtype == np.float32
    assert load("strokes").x_train.dtype == np.uint8
    assert (
        load("strokes").sha256 == load("strokes", seed=0).sha256 != load("strokes", seed=1).sha256
    )
    assert sockets == []


def test_unknown_name():
    with pytest.raises(DataError, match="dataset: got 'cifar', expected auto, mnist, strokes"):
        load("cifar")


@pytest.mark.parametrize("name", ["auto", "mnist"])
def test_mnist_at_hand_is_taken_in_silence(small, cache, monkeypatch, sockets, name):
    assert load(name, small).name == "mnist"
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(small))
    assert load(name).x_train.dtype == np.uint8
    monkeypatch.delenv("SAE_FAST_DATA_DIR")
    shutil.copytree(small, cache)
    assert load(name, dtype="float32").x_train.dtype == np.float32
    assert sockets == []


@pytest.mark.parametrize("data_dir", [None, "empty"])
def test_mnist_never_falls_back(tmp_path, sockets, data_dir):
    with pytest.raises(DatasetUnavailableError) as error:
        load("mnist", data_dir and tmp_path / data_dir, offline=True)
    assert str(tmp_path / (data_dir or "cache")) in str(error.value)
    assert sockets == []


def test_mnist_in_data_dir_is_not_downloaded(tmp_path, sockets):
    with pytest.raises(DatasetUnavailableError):
        load("mnist", tmp_path)
    assert sockets == []


def test_auto_offline_falls_back_to_strokes_and_says_why(cache, sockets):
    with pytest.warns(DatasetFallbackWarning) as caught:
        dataset = load("auto", offline=True)
    assert dataset.name == "strokes"
    message = str(caught[0].message)
    for word in ("strokes", "not MNIST", str(cache)):
        assert word in message
    assert caught[0].filename == __file__  # points to the caller
    assert sockets == []


def test_auto_tries_the_mirrors_before_it_falls_back(sockets):
    words = r"could not reach the mirrors \(no socket in these tests\)"
    with pytest.warns(DatasetFallbackWarning, match=words):
        assert load("auto").name == "strokes"
    assert len(sockets) == len(mnist.MIRRORS)


@pytest.mark.parametrize("name", ["auto", "mnist", "idx"])
@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_that_was_asked_for_is_taken_or_refused(
    small, cache, tmp_path, monkeypatch, sockets, name, folder
):
    """Neither the cache nor a download nor strokes stands in for it."""
    shutil.copytree(small, cache)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetUnavailableError, match=f"data_dir: got .*{folder}"):
        load(name, tmp_path / folder)
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(tmp_path / folder))
    with pytest.raises(DatasetUnavailableError, match=f"got .*{folder}"):
        load(name)
    assert sockets == []
    monkeypatch.setenv("SAE_FAST_DATA_DIR", "")
    assert load("auto").name == "mnist"


def test_strokes_are_of_no_folder(small, monkeypatch):
    with pytest.raises(DataError, match=r"data_dir: expected none with dataset 'strokes'.*small"):
        load("strokes", small)
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(small))  # a default of those that have files
    assert load("strokes").name == "strokes"


def test_flags_are_true_or_false():
    for options in ({"offline": "no"}, {"progress": "no"}):
        with pytest.raises(DataError, match=r": expected True or False, got 'no'"):
            load("auto", **{"offline": True, **options})


def test_auto_refuses_a_damaged_file_wherever_it_is(small, cache, monkeypatch):
    shutil.copytree(small, cache)
    (small / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: got SHA-256"):
        load("auto", small, offline=True)
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(small))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: got SHA-256"):
        load("auto", offline=True)


def test_idx_is_read_from_data_dir_or_the_environment(tmp_path, monkeypatch, sockets):
    for name, n_train in (("one", 7), ("two", 9)):
        write_set(tmp_path / name, n_train=n_train)
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(tmp_path / "two"))
    assert len(load("idx", tmp_path / "one").x_train) == 7
    assert len(load("idx").x_train) == 9
    assert load("idx", dtype="float32").x_train.dtype == np.float32
    monkeypatch.delenv("SAE_FAST_DATA_DIR")
    with pytest.raises(DataError, match="data_dir: got none, expected the folder"):
        load("idx")
    with pytest.raises(DatasetUnavailableError, match="without train-images-idx3-ubyte"):
        load("idx", tmp_path)
    assert sockets == []


def test_progress_is_handed_on(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetFallbackWarning)
        load("auto", offline=True)
        assert capfd.readouterr().err == ""
        load("auto", offline=True, progress=True)
    assert "strokes: 100%" in capfd.readouterr().err
