# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile

import numpy as np
import pytest
from data_helpers import digests, idx_bytes, write_set
from sae_fast.datasets import load_mnist, locate_mnist, mnist
from sae_fast.errors import DataError, DatasetUnavailableError

CACHE_DIR = mnist.cache_dir  # before the fixture replaces it
N_TRAIN = 5_006  # a small set: six images are left after the validation split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, nothing in the environment, and no server to be reached."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(mnist, "cache_dir", lambda: folder)
    monkeypatch.setattr(mnist, "MIRRORS", ("file:///nowhere/",))
    monkeypatch.delenv("SAE_FAST_DATA_DIR", raising=False)
    return folder


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a small set that passes for MNIST."""
    folder = tmp_path / "small"
    arrays = write_set(folder, n_train=N_TRAIN, side=(2, 2))
    monkeypatch.setattr(mnist, "_SHA256", digests(arrays))
    return folder, arrays


def test_the_real_files(mnist_dir):
    dataset = load_mnist(mnist_dir)
    assert dataset.name == "mnist"
    assert dataset.x_train.shape == (55_000, 784)
    assert dataset.x_test.shape == (10_000, 784)
    assert dataset.x_train.dtype == np.float32
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    assert dataset.image_shape == (28, 28)
    assert dataset.n_classes == 10
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 1)
    # Facts about MNIST: classes of training images 5,000 ... and of the test set.
    assert dataset.y_train[:10].tolist() == [7, 3, 4, 6, 1, 8, 1, 0, 9, 8]
    assert dataset.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(dataset.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert (dataset.x_train == 0).mean() == pytest.approx(0.81, abs=0.005)


def test_a_changed_pixel_is_noticed(mnist_dir, tmp_path):
    for path in mnist_dir.iterdir():
        if path.name.startswith(("train", "t10k")):
            shutil.copy(path, tmp_path)
    labels = next(tmp_path.glob("t10k-labels*"))
    data = labels.read_bytes()
    data = bytearray(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    data[-1] ^= 1
    labels.write_bytes(data)
    with pytest.raises(DataError) as error:
        load_mnist(tmp_path)
    right = "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    for word in (str(labels), right, hashlib.sha256(data).hexdigest(), "dataset='idx'"):
        assert word in str(error.value)


def test_the_validation_split_is_left_out(small):
    folder, arrays = small
    dataset = load_mnist(folder)
    assert len(dataset.x_train) == N_TRAIN - 5_000
    np.testing.assert_array_equal(dataset.y_train, arrays["train-labels"][5_000:])
    np.testing.assert_allclose(
        dataset.x_train, arrays["train-images"][5_000:].reshape(-1, 4) / 255, rtol=1e-6
    )
    assert len(dataset.x_test) == 5


def test_pixels_and_floats_have_the_same_bits(small):
    pixels, floats = load_mnist(small[0], dtype="uint8"), load_mnist(small[0], dtype="float32")
    assert (pixels.scale, floats.scale) == (1 / 255, None)
    assert (pixels.x_train.dtype, floats.x_train.dtype) == (np.uint8, np.float32)
    expected = pixels.x_test.astype(np.float32) * np.float32(1 / 255)
    assert floats.x_test.tobytes() == expected.tobytes()


def test_unknown_dtype(small):
    with pytest.raises(DataError, match="dtype: got 'float64', expected 'float32' or 'uint8'"):
        load_mnist(small[0], dtype="float64")


def test_packed_and_dotted_files(small, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    for path in small[0].iterdir():
        name = path.name.replace("-idx", ".idx") + ".gz"
        (folder / name).write_bytes(gzip.compress(path.read_bytes()))
    assert load_mnist(folder).sha256 == load_mnist(small[0]).sha256


def test_torchvisions_layout(small, tmp_path, monkeypatch):
    root = tmp_path / "root"
    shutil.copytree(small[0], root / "MNIST" / "raw")
    write_set(root / "FashionMNIST" / "raw")
    for folder in (root, root / "MNIST", root / "MNIST" / "raw"):
        assert load_mnist(folder).sha256 == load_mnist(small[0]).sha256
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(root))
    assert locate_mnist() == root
    assert len(load_mnist().x_test) == 5


def test_kaggles_layout(small, tmp_path):
    """Each file in a folder of its name; and, the same content, beside it with a dot."""
    folder = tmp_path / "kaggle"
    for path in small[0].iterdir():
        (folder / path.name).mkdir(parents=True)
        shutil.copy(path, folder / path.name / path.name)
    assert load_mnist(folder).sha256 == load_mnist(small[0]).sha256
    for path in small[0].iterdir():
        shutil.copy(path, folder / path.name.replace("-idx", ".idx"))
    assert load_mnist(folder).sha256 == load_mnist(small[0]).sha256
    for path in small[0].iterdir():
        shutil.rmtree(folder / path.name)
    assert load_mnist(folder).sha256 == load_mnist(small[0]).sha256


def test_other_sets_in_the_folder_do_not_matter(small):
    write_set(small[0], prefix="emnist-letters-", test="test")
    assert len(load_mnist(small[0]).x_test) == 5


def test_data_dir_is_the_only_place(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(small[0]))
    other = tmp_path / "other"
    with pytest.raises(DatasetUnavailableError, match=r"data_dir: got .*other"):
        load_mnist(other)
    other.mkdir()
    with pytest.raises(DatasetUnavailableError) as error:
        load_mnist(other)
    for word in (str(other), "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        assert word in str(error.value)


def test_environment_then_cache_then_nothing(small, cache, tmp_path, monkeypatch):
    assert locate_mnist() is None
    with pytest.raises(DatasetUnavailableError) as error:
        load_mnist(download=False)
    assert str(cache) in str(error.value)

    shutil.copytree(small[0], cache)
    assert locate_mnist() == cache
    assert len(load_mnist(download=False).x_test) == 5

    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(tmp_path))  # nothing there, and nothing else
    assert locate_mnist() is None
    with pytest.raises(DatasetUnavailableError, match=r"^\$SAE_FAST_DATA_DIR: got .* without "):
        load_mnist()
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(small[0]))
    assert locate_mnist() == small[0]
    monkeypatch.setenv("SAE_FAST_DATA_DIR", "")
    assert locate_mnist() == cache

    (cache / "train-labels-idx1-ubyte").unlink()
    assert locate_mnist() is None


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is for Linux")
def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert CACHE_DIR() == tmp_path / "sae_fast" / "mnist"


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
@pytest.mark.parametrize("there", ["nothing", "own", "writable", "link", "file"])
def test_without_a_home_the_folder_is_the_users_alone(there, tmp_path, monkeypatch):
    def no_home(_):
        raise RuntimeError

    monkeypatch.setattr("platformdirs.user_cache_dir", no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mnist._temporary_folder.cache_clear()
    usual = tmp_path / f"sae_fast-{os.getuid()}"
    if there == "link":
        usual.symlink_to(tmp_path)
    elif there == "file":
        usual.touch()
    elif there != "nothing":
        usual.mkdir()
        usual.chmod(0o777 if there == "writable" else 0o755)
    folder = mnist.user_folder()
    assert (folder == usual) is (there in ("nothing", "own"))
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert folder.stat().st_mode & 0o022 == 0
    assert mnist.user_folder() == folder
    mnist._temporary_folder.cache_clear()


def test_download_fetches_what_is_missing(small, cache, monkeypatch):
    calls = []

    def download(files, folder, mirrors, *, progress):
        calls.append((files, folder, tuple(mirrors), progress))
        for name in files:
            shutil.copy(small[0] / name.removesuffix(".gz"), folder / name)

    monkeypatch.setattr("sae_fast.datasets.download.download", download)
    cache.mkdir()
    shutil.copy(small[0] / "train-images-idx3-ubyte", cache)
    dataset = load_mnist(progress=False)
    assert len(dataset.x_test) == 5
    sha256 = digests(small[1])
    assert calls == [
        (
            {
                "train-labels-idx1-ubyte.gz": sha256["train-labels"],
                "t10k-images-idx3-ubyte.gz": sha256["t10k-images"],
                "t10k-labels-idx1-ubyte.gz": sha256["t10k-labels"],
            },
            cache,
            mnist.MIRRORS,
            False,
        )
    ]
    load_mnist()
    assert len(calls) == 1


def test_a_damaged_cache_is_an_error(small, cache):
    shutil.copytree(small[0], cache)
    (cache / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: got SHA-256"):
        load_mnist()
