# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
import warnings

import numpy as np
import pytest
from data_helpers import TYPE_CODES, idx_bytes, write_set
from helpers import peak_memory
from sae_fast import run_experiment
from sae_fast.datasets import DatasetLabelsWarning, load_idx, read_idx
from sae_fast.errors import DataError, DatasetUnavailableError

WHOLE = idx_bytes(np.arange(200, dtype=np.int32).reshape(10, 20))


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", TYPE_CODES)
def test_every_type_comes_back_in_native_order(tmp_path, dtype, packed):
    values = np.array([[0, 1, 2], [100, 77, 3]], dtype)
    if dtype != "u1":
        values[0, 0] = -5
    if dtype[0] == "f":
        values[1, 2] = 0.1
    data = idx_bytes(values)
    path = tmp_path / "values.gz"  # the name says nothing
    path.write_bytes(gzip.compress(data) if packed else data)
    array = read_idx(path)
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.flags.writeable
    np.testing.assert_array_equal(array, values)


def test_paths_may_be_strings(tmp_path):
    (tmp_path / "a").write_bytes(WHOLE)
    assert read_idx(str(tmp_path / "a")).shape == (10, 20)


def test_an_empty_dimension_is_an_empty_array(tmp_path):
    (tmp_path / "a").write_bytes(header(0x08, 0, 28, 28))
    assert read_idx(tmp_path / "a").shape == (0, 28, 28)


def test_gzip_of_several_members_is_one_file(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(WHOLE[:50]) + gzip.compress(WHOLE[50:]))
    assert read_idx(tmp_path / "a")[-1, -1] == 199


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["first bytes (none)", "IDX"]),
        (b"\0\0\x08", ["first bytes 00 00 08", "IDX"]),
        (b"\x89PNG\r\n\x1a\n", ["89 50 4e 47", "IDX"]),
        (header(0x0A, 2) + b"xx", ["0x0A", "0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E"]),
        (header(0x08) + b"x", ["0 dimensions", "1 to 32"]),
        (header(0x08, *[1] * 33) + b"x", ["33 dimensions", "1 to 32"]),
        (header(0x08, 3, 4)[:-1], ["11 bytes", "header of 12"]),
        (WHOLE[:-1], ["799 bytes", "expected 800", "(10, 20)", "int32"]),
        (header(0x08, 5), ["got 0 bytes", "expected 5"]),
        (WHOLE + b"\0", ["more bytes", "expected 800"]),
        (header(0x0E, 2**31, 2**31, 2**31) + b"x", ["2147483648", "fits into memory"]),
        (header(0x08, 0, 2**32 - 1, 2**32 - 1), ["(0, 4294967295", "fits into memory"]),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, data, words, packed):
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError) as error:
        read_idx(path)
    for word in [str(path), *words, "got", "expected"]:
        assert word in str(error.value)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "checksum", "tail", "stub"])
def test_damaged_gzip_is_refused(tmp_path, damage):
    data = bytearray(gzip.compress(WHOLE))
    if damage == "truncated":
        del data[-20:]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    elif damage == "checksum":
        data[-6] ^= 1
    elif damage == "tail":
        data += b"tail"
    else:
        del data[2:]
    path = tmp_path / "some-file"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        read_idx(path)
    for word in (str(path), "damaged gzip", "expected"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(header(0x08, 1 << 31, 1 << 9) + b"x" * 100, id="promise"),
        pytest.param(gzip.compress(header(0x08, 1 << 31, 1 << 9) + b"x"), id="promise-gzip"),
        pytest.param(gzip.compress(header(0x08, 10) + bytes(100 << 20), 1), id="bomb"),
    ],
)
def test_memory_follows_the_file_not_its_promise(tmp_path, data):
    path = tmp_path / "some-file"
    path.write_bytes(data)

    def read():
        with pytest.raises(DataError):
            read_idx(path)

    assert peak_memory(read) < 4 << 20


def test_what_no_images_pack_to_is_refused(tmp_path):
    """A header and data that fit each other, and a thousandth of their size when packed."""
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(header(0x08, 100 << 20) + bytes(100 << 20)))

    def read():
        with pytest.raises(DataError, match=rf"{path}: got [\d,]+ bytes out of [\d,]+ packed ones"):
            read_idx(path)

    n_packed = path.stat().st_size
    assert n_packed < 1 << 20
    assert peak_memory(read) < 9 / 8 * ((64 << 20) + 100 * n_packed) + (2 << 20)


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_what_the_files_content_takes(tmp_path, packed):
    data = idx_bytes(np.random.default_rng(0).standard_normal(1 << 20))
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    assert (8 << 20) < peak_memory(lambda: read_idx(path)) < 9 / 8 * len(data) + (2 << 20)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_has_no_size_and_no_position(tmp_path, packed):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = gzip.compress(WHOLE) if packed else WHOLE
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    assert read_idx(path)[-1, -1] == 199
    writer.join()


def test_checksum_is_over_the_uncompressed_file(tmp_path):
    path = tmp_path / "some-file"
    path.write_bytes(gzip.compress(WHOLE))
    right = hashlib.sha256(WHOLE).hexdigest()
    assert read_idx(path, sha256=right)[0, 1] == 1
    with pytest.raises(DataError) as error:
        read_idx(path, sha256="0" * 64)
    for word in (str(path), right, "0" * 64):
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["absent", "."])
def test_no_such_file(tmp_path, name):
    with pytest.raises(DatasetUnavailableError, match="cannot be read"):
        read_idx(tmp_path / name)


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"suffix": ".gz"},
        {"test": "test"},
        {"prefix": "emnist-letters-", "test": "test", "suffix": ".gz"},
    ],
)
def test_load_idx_takes_any_set_in_mnists_format(tmp_path, names):
    folder = tmp_path / "fashion"
    arrays = write_set(folder, labels=range(26), n_train=60, **names)
    test = names.get("test", "t10k")

    dataset = load_idx(folder)
    assert dataset.name == ("emnist-letters" if "prefix" in names else "fashion")
    assert dataset.image_shape == (3, 4)
    assert (dataset.n_classes, dataset.classes) == (26, None)
    assert dataset.x_train.dtype == np.float32
    assert dataset.y_train.dtype == np.int64
    np.testing.assert_array_equal(dataset.y_train, arrays["train-labels"])
    np.testing.assert_array_equal(dataset.y_test, arrays[f"{test}-labels"])
    for x, part in ((dataset.x_train, "train"), (dataset.x_test, test)):
        pixels = arrays[f"{part}-images"].reshape(-1, 12)  # all of them, row by row
        np.testing.assert_allclose(x, pixels / 255, rtol=1e-6)


def load_with_warnings(folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_idx(folder)
    assert all(w.category is DatasetLabelsWarning for w in caught)
    return dataset, [str(w.message) for w in caught]


@pytest.mark.parametrize(
    ("labels", "n_classes", "words"),
    [
        (range(1, 27), 26, "got 26 classes, 1 to 26, here numbered 0 to 25"),
        ([0, 255], 2, "got 2 classes, 0, 255, here numbered 0 to 1"),
        ([2, 3, 4, 9], 4, "got 4 classes, 2 to 4, 9, here numbered 0 to 3"),
    ],
)
def test_labels_with_gaps_are_numbered_and_keep_their_names(tmp_path, labels, n_classes, words):
    arrays = write_set(tmp_path, labels=labels, n_train=60, n_test=30)
    dataset, (message,) = load_with_warnings(tmp_path)
    assert f"{tmp_path / 'train-labels-idx1-ubyte'}: {words}" in message
    assert dataset.n_classes == n_classes
    assert dataset.classes == tuple(labels)
    for split, y in (("train", dataset.y_train), ("t10k", dataset.y_test)):
        assert y.max() < n_classes
        np.testing.assert_array_equal(dataset.named(y), arrays[f"{split}-labels"])


def test_labels_that_are_all_equal(tmp_path):
    write_set(tmp_path, labels=[0])
    dataset, (message,) = load_with_warnings(tmp_path)
    assert message == (
        f"{tmp_path / 'train-labels-idx1-ubyte'}: all 12 labels are 0, so that there is nothing "
        "to tell apart"
    )
    assert dataset.n_classes == 1
    with (
        pytest.warns(DatasetLabelsWarning),
        pytest.raises(DataError, match=r"dataset: expected two classes or more, got one"),
    ):
        run_experiment(dataset="idx", data_dir=tmp_path, quiet=True)


def test_test_labels_that_no_training_image_has(tmp_path):
    write_set(tmp_path, labels=range(62), n_train=62 * 2, n_test=62 * 3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(
        idx_bytes(np.resize(np.arange(32, dtype=np.uint8), 62 * 2))
    )
    dataset, (message,) = load_with_warnings(tmp_path)
    for word in ("t10k-labels", "90 of 186 test samples", "30 classes (32 to 61)", "classified"):
        assert word in message
    assert (dataset.n_classes, dataset.classes) == (62, None)
    with pytest.warns(DatasetLabelsWarning, match=r"y_test: 90 of 186 test samples"):
        run_experiment(
            dataset=dataset, arms="he", hidden=5, finetune_steps=1, batch_size=10, quiet=True
        )


@pytest.mark.parametrize("label", [2**23, -1])
def test_a_label_that_is_no_class(tmp_path, label):
    """Of an output for each class up to it, 2**23 would take gigabytes."""
    write_set(tmp_path)
    labels = np.array([0, 1, 2, 3, label, *range(7)], np.int32)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError) as error:
        load_idx(tmp_path)
    expected = f"train-labels-idx1-ubyte: got label {label} at position 4, expected classes from 0"
    assert expected in str(error.value)


def test_original_labels_come_out_again(tmp_path):
    """In predictions and in the model, whatever numbers the network has for them."""
    write_set(tmp_path / "set", labels=[3, 200], n_train=40)
    with pytest.warns(DatasetLabelsWarning):
        result = run_experiment(
            dataset="idx", data_dir=tmp_path / "set", arms=["he"], hidden=[5], finetune_steps=20,
            batch_size=10, quiet=True,
        )  # fmt: skip
    assert set(result.y_test) == {3, 200} >= set(result.predictions["he"])
    assert result.models["he"].classes == [3, 200]


def test_torchvisions_layout(tmp_path):
    write_set(tmp_path / "FashionMNIST" / "raw")
    for folder in ("", "FashionMNIST", "FashionMNIST/raw"):
        assert load_idx(tmp_path / folder).name == "FashionMNIST"
    write_set(tmp_path / "KMNIST" / "raw")
    with pytest.raises(DataError, match=r"several data sets .*FashionMNIST/raw, KMNIST/raw"):
        load_idx(tmp_path)


def test_load_idx_as_pixels(tmp_path):
    arrays = write_set(tmp_path)
    pixels, floats = load_idx(tmp_path, dtype="uint8"), load_idx(tmp_path)
    np.testing.assert_array_equal(pixels.x_train, arrays["train-images"].reshape(-1, 12))
    np.testing.assert_array_equal(
        floats.x_train, pixels.x_train.astype(np.float32) * np.float32(pixels.scale)
    )
    with pytest.raises(DataError, match="dtype: got 'float64'"):
        load_idx(tmp_path, dtype="float64")


def test_load_idx_prefers_the_plain_file_and_knows_both_spellings(tmp_path):
    write_set(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(b"never opened")
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    with pytest.raises(DataError, match="first bytes"):
        load_idx(tmp_path)  # the only file with "-idx" is the packed one
    for path in tmp_path.glob("*.gz"):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(load_idx(tmp_path).x_train) == 12


def test_load_idx_passes_over_folders_named_like_files(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    write_set(tmp_path, suffix=".gz")
    assert len(load_idx(tmp_path).x_train) == 12


def test_load_idx_wants_one_set_per_folder(tmp_path):
    write_set(tmp_path, prefix="emnist-digits-")
    write_set(tmp_path, prefix="emnist-letters-")
    with pytest.raises(DataError, match=r"several data sets.*'emnist-digits-', 'emnist-letters-'"):
        load_idx(tmp_path)


def test_load_idx_wants_one_test_set(tmp_path):
    write_set(tmp_path)
    write_set(tmp_path, test="test")
    with pytest.raises(DataError, match=r"several test sets.*t10k-.*test-"):
        load_idx(tmp_path)


def test_load_idx_names_what_is_missing(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetUnavailableError, match="without t10k-labels-idx1-ubyte, expected"):
        load_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DatasetUnavailableError, match=r"without t10k-images.*t10k-labels"):
        load_idx(tmp_path)


@pytest.mark.parametrize("name", ["absent", "file"])
def test_load_idx_wants_a_folder(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        DatasetUnavailableError, match=rf"data_dir: got .*{name}.*expected a folder"
    ):
        load_idx(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "array", "words"),
    [
        ("train-labels-idx1-ubyte", np.zeros(11, np.uint8), ["(11,)", "(12,)"]),
        ("t10k-labels-idx1-ubyte", np.zeros(5, np.float32), ["float32", "integers"]),
        ("t10k-labels-idx1-ubyte", np.zeros((5, 1), np.uint8), ["(5, 1)", "(5,)"]),
        ("train-images-idx3-ubyte", np.zeros((12, 12), np.uint8), ["(12, 12)", "height"]),
        ("train-images-idx3-ubyte", np.zeros((12, 3, 4), np.int16), ["int16", "uint8"]),
        ("t10k-images-idx3-ubyte", np.zeros((5, 4, 3), np.uint8), ["(4, 3)", "(3, 4)"]),
    ],
)
def test_load_idx_refuses_files_that_do_not_fit_together(tmp_path, file, array, words):
    write_set(tmp_path)
    (tmp_path / file).write_bytes(idx_bytes(array))
    with pytest.raises(DataError) as error:
        load_idx(tmp_path)
    for word in [file, *words, "got", "expected"]:
        assert word in str(error.value)
