# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from data_helpers import tiny_dataset
from helpers import output_of
from sae_fast.errors import DataError

X = np.zeros((4, 6), np.float32)


def test_fields_and_derived_values():
    dataset = tiny_dataset(image_shape=(2, 3))
    assert dataset.n_classes == 4  # the largest label is in the test set
    assert dataset.scale is None
    assert "n_train=4" in repr(dataset)
    assert len(repr(dataset)) < 200  # no arrays
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


def test_pixels_carry_a_scale():
    pixels = X.astype(np.uint8)
    dataset = tiny_dataset(x_train=pixels, x_test=pixels[:2], scale=1 / 255)
    assert dataset.scale == 1 / 255


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": [[1.0]]}, ["x_train", "a list"]),
        ({"x_train": X[0]}, ["x_train", "(6,)", "2-D"]),
        ({"x_train": X.astype(np.float16)}, ["x_train", "float16"]),
        ({"x_train": X.astype(np.dtype("=f4").newbyteorder())}, ["x_train", "f4"]),
        ({"x_train": X[:0], "y_train": np.zeros(0, int)}, ["x_train", "(0, 6)"]),
        ({"x_train": X[:, :0], "x_test": X[:2, :0]}, ["x_train", "(4, 0)"]),
        ({"y_train": np.zeros(4)}, ["y_train", "float64", "integers"]),
        ({"y_train": np.zeros((4, 1), int)}, ["y_train", "(4, 1)", "1-D"]),
        ({"y_train": np.zeros(3, int)}, ["y_train", "3 labels", "4"]),
        ({"y_test": np.array([0, -1])}, ["y_test", "-1"]),
        ({"y_test": np.zeros(3, int)}, ["y_test", "3 labels", "2"]),
        ({"x_test": X[:2, :5]}, ["x_test", "5 features", "6"]),
        ({"x_test": X[:2].astype(np.float64)}, ["x_test", "float64", "float32"]),
        ({"x_test": None}, ["x_test", "NoneType"]),
        ({"scale": 1 / 255}, ["scale", "float32"]),
        ({"x_train": X.astype(np.uint8), "x_test": X[:2].astype(np.uint8)}, ["scale", "None"]),
        (
            {"x_train": X.astype(np.uint8), "x_test": X[:2].astype(np.uint8), "scale": np.nan},
            ["scale", "nan", "positive"],
        ),
        ({"image_shape": (2, 4)}, ["image_shape", "(2, 4)", "6 pixels"]),
        ({"image_shape": (6,)}, ["image_shape", "(6,)"]),
        ({"image_shape": (6)}, ["image_shape", "6"]),
        ({"x_train": np.ma.masked_less(X, 5)}, ["x_train", "masked values", "24 of 24"]),
        ({"y_test": np.ma.masked_equal([1, 3], 3)}, ["y_test", "masked values", "1 of 2"]),
        ({"y_train": np.array([0, 2**23, 1, 0])}, ["y_train", "8388608 at position 1", "65535"]),
        ({"classes": (3, 4)}, ["classes", "4 of them", "2"]),
        ({"classes": (3, 4, 4, 5)}, ["classes", "different"]),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(DataError) as error:
        tiny_dataset(**changes)
    for word in [*words, "got", "expected"]:
        assert word in str(error.value)


def test_sha256_is_over_type_shape_and_values():
    dataset = tiny_dataset()
    digest = hashlib.sha256()
    for field in ("x_train", "y_train", "x_test", "y_test"):
        array = getattr(dataset, field)
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{little.dtype.str}{array.shape}".encode() + little.tobytes())
    assert dataset.sha256 == digest.hexdigest()


def test_sha256_sees_values_not_layout():
    x = np.arange(600_000, dtype=np.float32).reshape(1000, 600)  # several chunks
    y = np.zeros(1000, np.int64)
    digest = tiny_dataset(x_train=x, y_train=y, x_test=x, y_test=y).sha256
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        assert tiny_dataset(x_train=same, y_train=y, x_test=x, y_test=y).sha256 == digest
    big = y.astype(">i8")
    assert tiny_dataset(x_train=x, y_train=big, x_test=x, y_test=y).sha256 == digest

    last = x.copy()
    last[-1, -1] += 1
    for other in (
        {"x_train": last, "y_train": y, "x_test": x, "y_test": y},
        {"x_train": x, "y_train": y, "x_test": last, "y_test": y},
        {"x_train": x, "y_train": y + 1, "x_test": x, "y_test": y},
        {"x_train": x, "y_train": y, "x_test": x, "y_test": y.astype(np.int32)},
        {
            "x_train": x.reshape(600, 1000),
            "y_train": y[:600],
            "x_test": x.reshape(600, 1000),
            "y_test": y[:600],
        },
    ):
        assert tiny_dataset(**other).sha256 != digest


def test_importing_the_data_room_is_light():
    code = (
        "import sys, sae_fast.datasets\n"
        "heavy = {'matplotlib', 'scipy', 'filelock', 'tqdm', 'platformdirs', 'urllib.request'}\n"
        "print(heavy & set(sys.modules))"
    )
    assert output_of(code) == "set()\n"
