# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sae_fast.datasets import load_strokes, strokes
from sae_fast.errors import DataError


@pytest.fixture(scope="module")
def drawn():
    return load_strokes(n_train=10_000, n_test=2_000)


def test_shape_and_type(drawn):
    assert drawn.name == "strokes"
    assert drawn.x_train.shape == (10_000, 784)
    assert drawn.x_test.shape == (2_000, 784)
    assert drawn.x_train.dtype == np.float32
    assert drawn.y_train.dtype == np.int64
    assert drawn.image_shape == (28, 28)
    assert drawn.n_classes == 10
    assert (drawn.x_train.min(), drawn.x_train.max()) == (0, 1)


def test_the_same_pixels_on_every_machine():
    pixels = load_strokes(n_train=1_000, n_test=300, dtype="uint8")
    # Taken once (NumPy 2.4, x86-64). A change of the drawing changes it, and every result on it.
    assert (
        hashlib.sha256(pixels.x_train).hexdigest()
        == "807f387dc9abf77081d69bb064488ec93e21c6e6e32db2853fdd0654fe9c3697"
    )
    assert (
        hashlib.sha256(pixels.x_test).hexdigest()
        == "714ef8abfd86e6ccff8256989559eebb86936102ff43be8b8fbbcbacc8e00bbe"
    )


def test_fewer_images_are_the_first_of_more(drawn):
    few = load_strokes(n_train=333, n_test=1)  # not a multiple of what is drawn at once
    np.testing.assert_array_equal(few.x_train, drawn.x_train[:333])
    np.testing.assert_array_equal(few.y_train, drawn.y_train[:333])
    np.testing.assert_array_equal(few.x_test, drawn.x_test[:1])


@pytest.mark.parametrize("chunk", [1, 7, 500])
def test_how_many_are_drawn_at_once_does_not_matter(drawn, monkeypatch, chunk):
    monkeypatch.setattr(strokes, "_CHUNK", chunk)
    np.testing.assert_array_equal(load_strokes(n_train=100, n_test=1).x_train, drawn.x_train[:100])


def test_seeds_and_splits_are_streams_of_their_own(drawn):
    other = load_strokes(n_train=100, n_test=100, seed=1)
    assert (other.x_train != drawn.x_train[:100]).any(axis=1).all()
    assert (other.x_test != drawn.x_test[:100]).any(axis=1).all()
    # No image of the test set is in the training set, nor any image twice.
    every = np.concatenate([drawn.x_train, drawn.x_test, other.x_train, other.x_test])
    assert len({row.tobytes() for row in every}) == len(every)


def test_classes_are_about_balanced_and_in_random_order(drawn):
    counts = np.bincount(drawn.y_train, minlength=10)
    assert ((counts > 880) & (counts < 1120)).all()  # 4 standard deviations of 30
    same_as_next = (drawn.y_train[1:] == drawn.y_train[:-1]).mean()
    assert same_as_next == pytest.approx(0.1, abs=0.012)


def test_every_glyph_is_drawn(monkeypatch, drawn):
    seen = set()
    write = strokes._write

    def spy(glyph, uniform):
        seen.update(glyph.tolist())
        return write(glyph, uniform)

    monkeypatch.setattr(strokes, "_write", spy)
    labels = load_strokes(n_train=1_000, n_test=1).y_train
    assert seen == set(range(len(strokes._GLYPHS)))
    assert set(labels.tolist()) == {digit for digit, _ in strokes._GLYPHS}


def test_as_much_ink_as_in_mnist(drawn):
    x = drawn.x_train
    assert 0.78 < (x == 0).mean() < 0.84  # MNIST: 0.81
    assert 0.08 < x.mean() < 0.15  # MNIST: 0.13
    share = (x > 0).mean(axis=1)
    assert share.min() > 0.03  # no empty image
    assert share.max() < 0.45
    # The frame of 28 by 28 is rarely touched: nothing is cut off.
    frame = np.ones((28, 28), bool)
    frame[1:-1, 1:-1] = False
    assert (x[:, frame.ravel()] > 0).any(axis=1).mean() < 0.2


def test_a_pen_leaves_its_footprint_in_the_right_place():
    # One pen position at row 10.25, column 5.5, of radius 1.5: an inverted parabola around it.
    x, y, radius, ink = (
        np.full((1, strokes._N_POINTS), v, np.float32) for v in (5.5, 10.25, 1.5, 0)
    )
    ink[0, 0] = 0.5
    shape = (1, strokes._N_POINTS, 4, 4)
    image = strokes._spread(x, y, radius, ink, (np.empty(shape), np.empty(shape, np.intp)))[0]
    rows, columns = np.mgrid[:28, :28]
    distance2 = (rows - 10.25) ** 2 + (columns - 5.5) ** 2
    np.testing.assert_allclose(image, 0.5 * np.maximum(0, 1 - distance2 / 1.5**2), atol=1e-6)


def test_ink_saturates_and_the_border_takes_it():
    for corner in (0.0, 27.0):
        x, y, radius, ink = (
            np.full((1, strokes._N_POINTS), v, np.float32) for v in (corner, corner, 2.0, 0.5)
        )
        shape = (1, strokes._N_POINTS, 4, 4)
        image = strokes._spread(x, y, radius, ink, (np.empty(shape), np.empty(shape, np.intp)))[0]
        assert image.max() == 1
        assert (image > 0).sum() == 4  # the pen, and a quarter of what it touches


def test_pen_goes_through_the_points_of_a_glyph():
    pen = strokes._pen()
    np.testing.assert_allclose(pen.weight.sum(axis=0), 1, atol=1e-5)
    for v, (_, text) in enumerate(strokes._GLYPHS):
        control = pen.control[v]
        way = (pen.weight[:, v, :, None] * control[pen.anchor[:, v]]).sum(axis=0)  # (P, 2)
        for word in text.replace("|", " ").split():
            point = np.array([float(c) for c in word.split(",")]) / 100 - 0.5
            assert np.hypot(*(way - point).T).min() < pen.spacing[v]
        steps = np.hypot(*np.diff(way, axis=0).T)
        assert np.median(steps) == pytest.approx(pen.spacing[v], rel=0.15)
        assert pen.spacing[v] * strokes._BOX < 0.7  # pixels: no gaps


def test_linear_models_find_it_as_hard_as_mnist_and_others_easier(drawn):
    """Ridge regression on one-hot labels gets 85 % of MNIST and about 78 % here.

    A softmax classifier, trained on all 55,000 images, gets 92.5 % of MNIST and 89.6 % here.
    """
    x, y = drawn.x_train.astype(np.float64), drawn.y_train
    mean = x.mean(axis=0)
    gram = (x - mean).T @ (x - mean) + 10 * np.eye(784)
    weights = np.linalg.solve(gram, (x - mean).T @ np.eye(10)[y])  # (784, 10)
    scores = (drawn.x_test - mean) @ weights + np.bincount(y) / len(y)
    linear = (scores.argmax(axis=1) == drawn.y_test).mean()
    assert 0.72 < linear < 0.85

    # The nearest neighbour, which is not linear, does much better: the classes are apart.
    distance2 = (drawn.x_train**2).sum(axis=1) - 2 * drawn.x_test @ drawn.x_train.T  # + constant
    assert (y[distance2.argmin(axis=1)] == drawn.y_test).mean() > linear + 0.06


def test_pixels_and_floats_are_the_same_images(drawn):
    pixels = load_strokes(n_train=50, n_test=1, dtype="uint8")
    assert pixels.x_train.dtype == np.uint8
    assert pixels.x_train.max() == 255
    np.testing.assert_array_equal(
        pixels.x_train.astype(np.float32) * np.float32(pixels.scale), drawn.x_train[:50]
    )


def test_progress_goes_to_stderr_if_asked_for(capfd):
    load_strokes(n_train=100, n_test=28)
    assert capfd.readouterr() == ("", "")
    load_strokes(n_train=100, n_test=28, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "strokes: 100%" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_train": 0}, "n_train: got 0, expected an integer from 1"),
        ({"n_test": -1}, "n_test: got -1, expected an integer from 1"),
        ({"n_test": 1.5}, "n_test: got 1.5, expected an integer"),
        ({"seed": -1}, "seed: got -1, expected an integer from 0"),
        ({"seed": 2**64}, "seed: got 18446744073709551616, expected an integer from 0"),
        ({"seed": None}, "seed: got None, expected an integer"),
        ({"dtype": "float16"}, "dtype: got 'float16', expected 'float32' or 'uint8'"),
    ],
)
def test_arguments_out_of_range(arguments, words):
    with pytest.raises(DataError) as error:
        load_strokes(**{"n_train": 5, "n_test": 5, **arguments})
    assert words in str(error.value)


def test_numpy_integers_and_the_largest_seed():
    dataset = load_strokes(np.int32(5), np.uint8(4), seed=np.uint64(2**64 - 1))
    assert len(dataset.x_train) == 5
