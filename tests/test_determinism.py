# SPDX-License-Identifier: BSD-3-Clause
"""The same bits, whatever must not matter: threads, evaluations, layout in memory, native calls.

And what must matter does: the seed, the stream's purpose, the forced instruction set.
"""

from __future__ import annotations

import itertools
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import (
    Watch,
    assert_identical,
    call_in_fork,
    core,
    core_input,
    core_trainer,
    draw_batches,
    draw_x,
    draw_y,
    frequent_switches,
    ignore_fork_warning,
    needs_fork,
    output_of,
    run_python,
    take_steps,
)
from sae_fast import Autoencoder, StackedAutoencoder, _core, activations, corruptions
from sae_fast.base.streams import Purpose, SampleOrder, generator
from sae_fast.training import loop as training
from sae_fast.training.team import Team
from scipy import sparse

THREADS = (1, 2, 3, 7)
N_SAMPLES = 611  # several chunks of rows in evaluations, and a rest

# sizes, share of zeros, batch size, steps: large enough that several threads have work
TRAININGS = {
    "sparse": ((784, 100, 50, 25, 12, 5, 5), 0.8, 101, 12),
    "dense": ((200, 101, 33, 7), 0.0, 97, 12),
    "wide, sparse": ((300, 300, 300), 0.8, 53, 5),
    "wide, dense": ((300, 300, 300), 0.0, 53, 5),
    "wide, many rows": ((300, 270, 261), 0.0, 601, 3),  # more than are taken at a time
    "wide below narrow": ((257, 263, 31, 270, 259), 0.0, 17, 4),
    "tiny": ((5, 3, 1), 0.5, 3, 30),
}


def train(kind, dtype="float32", n_threads=1, *, seed=0, **options):
    """Pretrain and fine-tune a stack; give everything that comes of it, by name."""
    sizes, zeros, batch_size, n_steps = TRAININGS[kind]
    x, y = draw_x(N_SAMPLES, sizes[0], zeros=zeros), draw_y(N_SAMPLES, 4)
    options = {"steps": n_steps, "batch_size": batch_size, "eval_every": n_steps, **options}
    net = StackedAutoencoder(sizes, 4, init="he", seed=seed, dtype=dtype, n_threads=n_threads)
    histories = net.pretrain(x, **options)
    pretrained = net.parameters
    histories.append(net.finetune(x, y, eval_set=(x, y), **options))
    return {
        "last losses": [history.loss[-1] for history in histories],
        "accuracy": histories[-1].accuracy[-1],
        "proba": net.predict_proba(x),
        "classes": net.predict(x),
        "codes": net.encode(x),
        "reconstruction": net.reconstruct(x),
        "reconstruction error": net.reconstruction_error(x),
        "evaluation": net.evaluate(x, y),
        "dead units": net.count_dead_units(x),
        **{f"pretrained {name}": value for name, value in pretrained.items()},
        **net.parameters,
        **{
            f"{name} of decoder {ae.layer}": value
            for ae in net.autoencoders
            for name, value in ae.parameters.items()
        },
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", TRAININGS)
def test_threads(kind, dtype):
    expected = train(kind, dtype, 1)
    for n_threads in THREADS[1:]:
        assert_identical(train(kind, dtype, n_threads), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_with_every_activation(dtype):
    x, y = draw_x(N_SAMPLES, 200, zeros=0.0), draw_y(N_SAMPLES, 4)
    names, parameters = activations.NAMES, []
    for n_threads in (1, 2, 3):
        functions = {"activation": names, "output": names[::-1]}
        options = {"dtype": dtype, "n_threads": n_threads, **functions}
        net = StackedAutoencoder([200, *[70] * len(names)], 4, **options)
        net.pretrain(x, steps=5)
        net.finetune(x, y, steps=5)
        decoders = {f"{ae.layer}": ae.parameters["W_dec"] for ae in net.autoencoders}
        parameters.append({**net.parameters, **decoders})
    for other in parameters[1:]:
        assert_identical(other, parameters[0])


@pytest.mark.parametrize("kind", TRAININGS)
def test_threads_that_come_and_go(kind, monkeypatch):
    """As when arms train side by side and one of them ends."""
    monkeypatch.setattr(training, "_RESPONSE_SECONDS", 0.0)
    sizes, zeros, batch_size, steps = TRAININGS[kind]
    x, y = draw_x(N_SAMPLES, sizes[0], zeros=zeros), draw_y(N_SAMPLES, 4)
    options = {"steps": steps, "batch_size": batch_size}
    parameters = []
    for threads in ((1,), (1, 3, 2, 1, 7)):
        net = StackedAutoencoder(sizes, 4, init="he", n_threads=1)
        numbers = itertools.cycle(threads)
        callbacks = [Watch(lambda _, net=net, n=numbers: setattr(net, "n_threads", next(n)))]
        net.pretrain(x, callbacks=callbacks, **options)
        net.finetune(x, y, callbacks=callbacks, **options)
        parameters.append(net.parameters)
    assert_identical(*parameters)


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_team_of_any_size_at_any_time(kind, monkeypatch):
    """The training chooses it by the time that steps take: here at random, for each step."""
    expected = train(kind)
    sizes = random.Random(0)
    monkeypatch.setattr(
        Team, "next", lambda _, most, seconds, beside: (sizes.randint(1, most), 0.0)
    )
    assert_identical(train(kind, n_threads=7), expected)


@pytest.mark.skipif(_core.build_config()["isa"] == "baseline", reason="BLAS computes them there")
def test_a_row_of_wide_layers_does_not_depend_on_those_beside_it():
    x = draw_x(70, 300, zeros=0.0)
    net = StackedAutoencoder([300, 280, 270], 4, init="he")
    net.finetune(x, draw_y(70, 4), steps=2)
    assert not net._network.uses_blas()
    codes = net.encode(x)
    for row in (0, 5, 63, 69):
        assert_identical({"codes": net.encode(x[row : row + 1])[0]}, {"codes": codes[row]})


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("kind", ["sparse", "dense", "wide, dense"])
def test_where_native_calls_end(kind, n_threads, monkeypatch):
    expected = train(kind, n_threads=n_threads)
    monkeypatch.setattr(training, "_RESPONSE_SECONDS", 0)
    n_calls = []
    new_trainer = training.new_trainer

    def counting_trainer(*args, **options):
        trainer = new_trainer(*args, **options)

        class Counting:
            def __getattr__(self, name):
                return getattr(trainer, name)

            def run(self, batches, rates, **options):
                n_calls.append(trainer.run(batches, rates, **options))
                return n_calls[-1]

        return Counting()

    monkeypatch.setattr(training, "new_trainer", counting_trainer)
    assert_identical(train(kind, n_threads=n_threads), expected)
    assert set(n_calls) == {1}


def test_stretches_of_batches(monkeypatch):
    expected = train("tiny")
    monkeypatch.setattr(training, "_LONGEST_STRETCH", 7)
    assert_identical(train("tiny"), expected)


@pytest.mark.parametrize("eval_every", [0, 1, 5, 1000])
def test_evaluations(eval_every):
    assert_identical(train("dense", eval_every=eval_every), train("dense"))


@pytest.mark.parametrize("kind", TRAININGS)
def test_again(kind):
    assert_identical(train(kind), train(kind))


def test_the_seed_matters():
    a, b = train("dense", seed=0), train("dense", seed=1)
    for name in ("W1", "W2", "W3", "W4", "b4", "pretrained W1", "W_dec of decoder 2"):
        assert not np.array_equal(a[name], b[name]), name


# Layout in memory


def fit_and_tune(x, y, dtype="float32", **scale):
    """Train on `x` with both classes; give all parameters and outputs."""
    ae = Autoencoder(x.shape[1], 11, dtype=dtype, n_threads=2)
    history = ae.fit(x, steps=20, batch_size=31, **scale)
    net = StackedAutoencoder([x.shape[1], 9, 5], 4, init="he", dtype=dtype, n_threads=2)
    net.finetune(x, y, steps=20, batch_size=31, **scale)
    return {
        **ae.parameters,
        **net.parameters,
        "loss": history.loss,
        "reconstruction": ae.reconstruct(x, **scale),
        "proba": net.predict_proba(x, **scale),
        "evaluation": net.evaluate(x, y, **scale),
    }


def every_second_column(x, _):
    twice = np.full((x.shape[0], 2 * x.shape[1]), np.nan, x.dtype)
    twice[:, ::2] = x
    return twice[:, ::2]


def every_third_row(x, _):
    thrice = np.full((3 * x.shape[0], x.shape[1]), np.nan, x.dtype)
    thrice[::3] = x
    return thrice[::3]


def read_only(x, _):
    x = x.copy()
    x.flags.writeable = False
    return x


def memory_mapped(x, folder):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


def field_of_records(x, _):
    """A view whose strides are no multiple of the element size."""
    packed = np.zeros(x.shape, np.dtype([("pad", "u1"), ("value", x.dtype)]))
    packed["value"] = x
    return packed["value"]


def unaligned(x, _):
    memory = np.empty(x.nbytes + 1, np.uint8)
    view = memory[1:].view(x.dtype).reshape(x.shape)
    view[:] = x
    return view


LAYOUTS = {
    "F-ordered": lambda x, _: np.asfortranarray(x),
    "every second column": every_second_column,
    "every third row": every_third_row,
    "rows reversed": lambda x, _: np.ascontiguousarray(x[::-1])[::-1],
    "columns reversed": lambda x, _: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "read-only": read_only,
    "memory-mapped": memory_mapped,
    "field of records": field_of_records,
    "unaligned": unaligned,
    "big-endian": lambda x, _: x.astype(x.dtype.newbyteorder(">")),
    "dtype with metadata": lambda x, _: x.astype(np.dtype(x.dtype, metadata={"unit": "ink"})),
    "nested lists": lambda x, _: np.asarray(x.tolist()).astype(x.dtype),
}


@pytest.mark.parametrize("zeros", [0.8, 0.0], ids=["sparse", "dense"])
@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_in_memory(layout, stored, zeros, tmp_path):
    x, y = draw_x(90, 40, zeros=zeros).astype(stored), draw_y(90, 4)
    other = LAYOUTS[layout](x, tmp_path)
    np.testing.assert_array_equal(other, x)
    assert_identical(fit_and_tune(other, y), fit_and_tune(x, y))


@pytest.mark.parametrize("zeros", [0.8, 0.0], ids=["sparse", "dense"])
def test_the_data_are_not_written_to(zeros):
    x = draw_x(90, 40, zeros=zeros)
    before = x.copy()
    fit_and_tune(x, draw_y(90, 4))
    assert_identical({"x": x}, {"x": before})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zeros", [0.8, 0.0], ids=["sparse", "dense"])
def test_uint8_with_scale(zeros, dtype):
    pixels, y = (draw_x(90, 40, zeros=zeros) * 255).astype(np.uint8), draw_y(90, 4)
    x = pixels * np.dtype(dtype).type(1 / 255)
    expected = fit_and_tune(x, y, dtype)
    for same in (pixels, np.asfortranarray(pixels), pixels[:, ::-1].copy()[:, ::-1]):
        assert_identical(fit_and_tune(same, y, dtype, scale=1 / 255), expected)


@pytest.mark.parametrize("corruption", [None, corruptions.Masking(0.3)], ids=["clean", "masked"])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "floats", "csr"])
def test_few_values_are_kept_as_bytes(kind, dtype, n_threads, corruption):
    """To the bits of lists, which the same samples are kept as beside others with many values."""
    pixels = (draw_x(300, 150, zeros=0.7) * 255).astype(np.uint8)
    pixels[7] = 0
    x = pixels * np.dtype(dtype).type(1 / 255)
    x[x == 0] = -0.0
    others = draw_x(300, 150, zeros=0.7, seed=1).astype(dtype)
    wrap = sparse.csr_array if kind == "csr" else np.asarray
    few, many = (pixels if kind == "uint8" else wrap(x)), wrap(np.vstack([x, others]))
    batches = draw_batches(12, 130, 300)
    found = []
    for samples, scale in ((few, 1 / 255 if kind == "uint8" else None), (many, None)):
        ae = Autoencoder(150, 40, init="he", dtype=dtype, n_threads=n_threads)
        ae.fit(samples, batches=batches, scale=scale, corruption=corruption)
        found.append(ae.parameters | {"codes": ae.encode(samples, scale=scale)[:300]})
    assert_identical(*found)


def test_how_many_values_are_few():
    x = np.zeros((40, 40), np.float32)
    x[::4] = np.arange(400).reshape(10, 40) % 255 + 1
    few, many = x.copy(), x.copy()
    many[0, 0] = 256
    batches = draw_batches(5, 20, 36) + 4  # without the sample that differs
    models = [Autoencoder(40, 6, init="he") for _ in range(2)]
    for model, data in zip(models, (few, many), strict=True):
        model.fit(data, batches=batches)
    assert_identical(*(model.parameters for model in models))


@pytest.mark.parametrize("n_values", [150, 400], ids=["few", "many"])
def test_values_that_threads_find_apart(n_values):
    """Half of them in one half of the samples, half in the other, which threads share."""
    rng = np.random.default_rng(0)
    x = np.zeros((2400, 800), np.float32)
    for part, first in ((x[:1200], 1), (x[1200:], 1 + n_values // 2)):
        part[:] = rng.integers(first, first + n_values // 2, part.shape)
        part *= rng.random(part.shape) < 0.2
    data = core_input(x, "float32", n_threads=2)
    assert data.sparse
    np.testing.assert_array_equal(data.rows(0, 2400), x)


def test_wide_samples_of_few_values():
    """More columns than 16 bits can number."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 256, (5, 70_001), dtype=np.uint8) * (rng.random((5, 70_001)) < 0.2)
    x = x.astype(np.uint8)
    np.testing.assert_array_equal(core_input(x, "float32").rows(0, 5), x.astype(np.float32))
    model = Autoencoder(70_001, 3, seed=1)
    expected = model.encode(sparse.csr_array(x), scale=1.0)
    np.testing.assert_array_equal(model.encode(x, scale=1.0), expected)


def test_sparse_matrix_with_zeros_in_it():
    x = draw_x(60, 40, zeros=0.7)
    matrix = sparse.csr_array(x)
    with_zeros = matrix.copy()
    with_zeros.data[::3] = 0
    with_zeros.data[1::6] = -0.0
    x = with_zeros.toarray()
    model = Autoencoder(40, 5, seed=1)
    np.testing.assert_array_equal(model.encode(with_zeros), model.encode(x))


def unsorted_csr(x):
    matrix = sparse.csr_matrix(x)
    for start, end in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        matrix.indices[start:end] = matrix.indices[start:end][::-1].copy()
        matrix.data[start:end] = matrix.data[start:end][::-1].copy()
    return sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape)


def csr_with_duplicates(x):
    """Each value as the sum of its half, twice."""
    matrix = sparse.csr_matrix(x)
    return sparse.csr_matrix(
        (np.repeat(matrix.data / 2, 2), np.repeat(matrix.indices, 2), 2 * matrix.indptr),
        matrix.shape,
    )


def big_endian_csr(x):
    matrix = sparse.csr_matrix(x)
    swapped = matrix.data.astype(matrix.dtype.newbyteorder(">"))
    return sparse.csr_matrix((swapped, matrix.indices, matrix.indptr), matrix.shape)


def csr_with_int64(x):
    matrix = sparse.csr_array(x)
    matrix.indices, matrix.indptr = matrix.indices.astype("i8"), matrix.indptr.astype("i8")
    return matrix


SPARSE = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc": sparse.csc_array,
    "coo": sparse.coo_array,
    "int64 indices": csr_with_int64,
    "unsorted": unsorted_csr,
    "duplicates": csr_with_duplicates,
    "big-endian": big_endian_csr,
}


def test_unaligned_labels_and_batches():
    x, y = draw_x(90, 40, zeros=0.0), draw_y(90, 4).astype(np.int64)
    batches = draw_batches(5, 11, 90)
    expected = StackedAutoencoder([40, 5], 4)
    expected.finetune(x, y, batches=batches)
    net = StackedAutoencoder([40, 5], 4)
    net.finetune(x, unaligned(y, None), batches=unaligned(batches.astype(np.int64), None))
    assert_identical(net.parameters, expected.parameters)


@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_matrices(kind, stored):
    x, y = draw_x(90, 40, zeros=0.8).astype(stored), draw_y(90, 4)
    x[7] = 0  # a row without any
    matrix = SPARSE[kind](x)
    indices = matrix.tocsr().indices.copy()
    assert_identical(fit_and_tune(matrix, y), fit_and_tune(x, y))
    np.testing.assert_array_equal(matrix.tocsr().indices, indices)


def test_sparse_matrix_of_pixels():
    pixels, y = (draw_x(90, 40, zeros=0.8) * 255).astype(np.uint8), draw_y(90, 4)
    assert_identical(
        fit_and_tune(sparse.csr_array(pixels), y, scale=1 / 255),
        fit_and_tune(pixels, y, scale=1 / 255),
    )


def test_sums_of_duplicate_pixels_do_not_wrap():
    matrix = sparse.csr_matrix(
        (np.array([200, 100], np.uint8), np.array([1, 1]), np.array([0, 2])), (1, 3)
    )
    model = Autoencoder(3, 2)
    error = model.reconstruction_error(matrix, scale=0.5)
    assert error == model.reconstruction_error(np.array([[0, 150, 0]], np.float32))
    assert error > 7000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zeros", [0.9, 0.5, 0.0])
@pytest.mark.parametrize("n_hidden", [1, 13, 100])
def test_sparse_and_dense_layout(n_hidden, zeros, dtype):
    """Adding 0 w changes nothing: both ways to the same sums are in the same order."""
    x = draw_x(70, 90, zeros=zeros)
    y, batches = draw_y(70, 10), draw_batches(15, 31, 70)
    ae = Autoencoder(90, n_hidden, dtype=dtype)
    (w1, b1), (w2, b2) = (
        (ae.parameters[f"W_{k}"], ae.parameters[f"b_{k}"]) for k in ("enc", "dec")
    )
    results = []
    for layout in ("sparse", "dense"):
        for loss, n_out in ((_core.Loss.squared_error, 90), (_core.Loss.cross_entropy, 10)):
            network = core("Network", dtype)(
                [90, n_hidden, n_out], [_core.Activation.relu, _core.Activation.linear]
            )
            network.set_parameters(0, w1, b1)
            network.set_parameters(1, w2[:, :n_out].copy(), b2[:n_out].copy())
            data = core_input(x, dtype, layout)
            assert data.sparse == (layout == "sparse")
            labels = None if loss == _core.Loss.squared_error else y
            trainer = core_trainer(
                network, data, labels, dtype=dtype, loss=loss, batch_size=31, weight_decay=0.1
            )
            take_steps(trainer, batches, 0.01)
            out = network.predict(data, first_layer=0, last_layer=2, softmax=False, n_threads=2)
            evaluation = _core.evaluate(
                network, data, labels, loss=loss, weight_decay=0.1, n_threads=2
            )
            results.append(
                {"W1, b1": np.vstack(network.get_parameters(0)), "out": out, "loss": evaluation}
                | {"W2, b2": np.vstack(network.get_parameters(1))}
            )
    for by_sparse, by_dense in zip(results[:2], results[2:], strict=True):
        assert_identical(by_sparse, by_dense)


def test_a_batch_of_more_rows_than_columns_have_room_for():
    """Columns are sorted in room for every row of the batch: few at a time if it is large."""
    n_samples = 90_000
    x = draw_x(n_samples, 40, zeros=0.8)
    batches = np.arange(n_samples)[None].repeat(2, axis=0)
    weights = []
    for layout in ("sparse", "dense"):
        model = Autoencoder(40, 3, seed=0, n_threads=2)
        model.fit(core_input(x, "float32", layout), batches=batches, eval_every=0)
        weights.append(model.parameters["W_enc"])
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize("learning_rate", [1e-300, 1e-44, 1e-38])
def test_learning_rates_below_what_float32_holds(learning_rate):
    x = draw_x(50, 12, zeros=0.5)
    model = Autoencoder(12, 4, init="he", seed=0)
    before = model.parameters
    model.fit(x, steps=3, batch_size=10, learning_rate=learning_rate)
    for name, value in before.items():
        np.testing.assert_allclose(model.parameters[name], value, rtol=0, atol=1e-30)


@pytest.mark.parametrize("n_features", [65_535, 65_536, 70_001])
def test_many_features(n_features):
    """Column numbers outgrow 16 bits; the last columns have values."""
    rng = np.random.default_rng(0)
    x = np.zeros((12, n_features), np.float32)
    x[:, rng.choice(n_features, 50, replace=False)] = rng.random((12, 50))
    x[:, -3:] = rng.random((12, 3))
    batches = draw_batches(4, 5, 12)
    by_layout = []
    for layout in ("sparse", "dense"):
        network = core("Network", "float32")([n_features, 3], [_core.Activation.linear])
        network.set_parameters(
            0, np.resize(np.float32([1, 2, 3, 4]), (n_features, 3)), np.zeros(3, np.float32)
        )
        data = core_input(x, "float32", layout, n_threads=2)
        trainer = core_trainer(
            network,
            data,
            draw_y(12, 3),
            dtype="float32",
            loss=_core.Loss.cross_entropy,
            batch_size=5,
        )
        take_steps(trainer, batches, 0.1)
        w, b = network.get_parameters(0)
        out = network.predict(data, first_layer=0, last_layer=1, softmax=True, n_threads=1)
        by_layout.append({"W": w, "b": b, "out": out})
    assert_identical(*by_layout)
    unused = ~x.any(axis=0)
    expected = np.resize(np.float32([1, 2, 3, 4]), (n_features, 3))
    np.testing.assert_array_equal(by_layout[0]["W"][unused], expected[unused])
    assert (by_layout[0]["W"][~unused] != expected[~unused]).any(axis=1).all()


def test_nothing_but_zeros():
    x, y = np.zeros((40, 9), np.float32), draw_y(40, 4)
    assert_identical(fit_and_tune(sparse.csr_array(x), y), fit_and_tune(x, y))
    ae = Autoencoder(9, 4, init="he")
    before = ae.parameters
    history = ae.fit(x, steps=5, batch_size=10)
    assert_identical(ae.parameters, before)  # a perfect reconstruction has no gradient
    assert history.loss == [0.0]


# Random streams


class TestInitialValues:
    def test_arms_share_their_draws(self):
        sizes = (30, 20, 10, 5)
        normal, he = (
            StackedAutoencoder(sizes, 4, seed=5, init=init, dtype="float64").parameters
            for init in ("normal", "he")
        )
        assert_identical({k: he[k] for k in ("W4", "b4")}, {k: normal[k] for k in ("W4", "b4")})
        for layer, n_in in enumerate(sizes[:-1], start=1):
            ratio = he[f"W{layer}"] / normal[f"W{layer}"]
            np.testing.assert_allclose(ratio, np.sqrt(2 / n_in) / 0.01, rtol=1e-14)
            assert not he[f"b{layer}"].any()

    def test_a_stack_starts_as_its_autoencoders(self):
        net = StackedAutoencoder([30, 20, 10], 4, seed=5)
        for layer, (n_in, n_hidden) in enumerate([(30, 20), (20, 10)], start=1):
            ae = Autoencoder(n_in, n_hidden, seed=5, layer=layer)
            np.testing.assert_array_equal(net.parameters[f"W{layer}"], ae.parameters["W_enc"])

    def test_layers_and_purposes_differ(self):
        first, second = (Autoencoder(20, 20, layer=layer).parameters for layer in (1, 2))
        draws = [first["W_enc"], first["W_dec"], second["W_enc"], second["W_dec"]]
        for i, a in enumerate(draws):
            for b in draws[:i]:
                assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.2

    def test_their_distribution(self):
        net = StackedAutoencoder([784, 400], 10, seed=1, init="normal", dtype="float64").parameters
        ae = Autoencoder(784, 400, seed=1, dtype="float64").parameters
        for w in (net["W1"], ae["W_dec"]):
            assert w.std() == pytest.approx(0.01, rel=0.01)
            assert abs(w.mean()) < 1e-4
        tops = [StackedAutoencoder([1, 1], 10, seed=s, dtype="float64") for s in range(200)]
        assert np.std([t.parameters["b2"] for t in tops]) == pytest.approx(1, rel=0.1)
        assert np.std([t.parameters["W2"] for t in tops]) == pytest.approx(0.01, rel=0.1)
        assert not any(ae[name].any() for name in ("b_enc", "b_dec"))

    def test_a_stream_is_part_of_every_seeds_results(self):
        """Frozen: a change here changes what every seed gives."""
        draws = generator(0, Purpose.WEIGHTS, 1).standard_normal(3)
        expected = np.random.Generator(
            np.random.Philox(
                key=np.random.SeedSequence(0, spawn_key=(1, 1)).generate_state(2, "u8")
            )
        ).standard_normal(3)
        np.testing.assert_array_equal(draws, expected)
        assert [int(p) for p in Purpose] == list(range(1, 9))


class TestSampleOrder:
    def order(self, n_samples=17, seed=3, purpose=Purpose.FINETUNE_ORDER, layer=0):
        return SampleOrder(n_samples, seed, purpose, layer)

    @pytest.mark.parametrize(("n_samples", "batch_size"), [(17, 5), (17, 17), (12, 4), (3, 1)])
    def test_each_epoch_is_a_permutation(self, n_samples, batch_size):
        order = self.order(n_samples)
        n_epochs = 6
        n_steps = -(-n_epochs * n_samples // batch_size)
        visited = order.batches(0, n_steps, batch_size)
        assert visited.shape == (n_steps, batch_size)
        epochs = visited.ravel()[: n_epochs * n_samples].reshape(n_epochs, n_samples)
        for epoch in epochs:
            assert sorted(epoch) == list(range(n_samples))
        assert len({tuple(epoch) for epoch in epochs}) > 1

    @pytest.mark.parametrize("chunk", [1, 2, 3, 8, 40])
    def test_stateless(self, chunk):
        whole = self.order().batches(0, 40, 5)
        order = self.order()
        parts = [order.batches(at, min(chunk, 40 - at), 5) for at in range(0, 40, chunk)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        np.testing.assert_array_equal(order.batches(5, 3, 5), whole[5:8])  # back again
        np.testing.assert_array_equal(self.order().batches(5, 3, 5), whole[5:8])

    @pytest.mark.parametrize(
        "other", [{"seed": 4}, {"purpose": Purpose.PRETRAIN_ORDER}, {"layer": 1}]
    )
    def test_streams_differ(self, other):
        a = self.order(200).batches(0, 4, 50)
        b = self.order(200, **other).batches(0, 4, 50)
        assert not np.array_equal(a, b)

    def test_training_follows_it(self):
        x, y = draw_x(50, 20, zeros=0.5), draw_y(50, 4)
        ae, replayed = (Autoencoder(20, 6, init="he", seed=9, layer=2) for _ in range(2))
        ae.fit(x, steps=13, batch_size=12, learning_rate=1e-3)
        order = SampleOrder(50, 9, Purpose.PRETRAIN_ORDER, 2)
        replayed.fit(x, batches=order.batches(0, 13, 12))
        assert_identical(replayed.parameters, ae.parameters)
        net, replayed = (StackedAutoencoder([20, 6], 4, seed=9, init="he") for _ in range(2))
        net.finetune(x, y, steps=13, batch_size=12)
        order = SampleOrder(50, 9, Purpose.FINETUNE_ORDER)
        replayed.finetune(x, y, batches=order.batches(0, 13, 12))
        assert_identical(replayed.parameters, net.parameters)


# The process around us


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_callers_on_many_threads_share_arrays(kind):
    """Each call holds its array for a while: counts of references that race lose or free it."""
    x = draw_x(4, 8, zeros=0.5)
    if kind == "sparse":
        x = sparse.csr_matrix(x)
    model = Autoencoder(8, 3, n_threads=1)
    expected = model.encode(x)
    shared = [x, None] if kind == "dense" else [x.data, None]
    counts = [sys.getrefcount(item) for item in shared]

    def call(_):
        return all(np.array_equal(model.encode(x), expected) for _ in range(2000))

    with frequent_switches(), ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(4)))
    # None is immortal from Python 3.12 on, and others use it meanwhile
    for item, before in zip(shared, counts, strict=True):
        assert abs(sys.getrefcount(item) - before) < 1000


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_forced_instruction_set(isa):
    if isa not in _core.build_config()["available_isas"]:
        pytest.skip(f"this processor or build has no {isa}")
    code = "import sae_fast; print(sae_fast.info()['isa'])"
    assert output_of(code, SAE_FAST_ISA=isa) == f"{isa}\n"
    assert output_of(code, SAE_FAST_ISA=isa.upper()) == f"{isa}\n"


def test_the_instruction_set_matters_to_the_bits():
    """So that forcing one is known to reach the kernels: only some have fused multiply-adds."""
    code = (
        "import numpy as np, sae_fast, hashlib\n"
        "x = np.random.default_rng(0).random((64, 50), dtype=np.float32)\n"
        "ae = sae_fast.Autoencoder(50, 20)\n"
        "ae.fit(x, steps=5, batch_size=20)\n"
        "net = sae_fast.StackedAutoencoder([50, 20], 3, init='he')\n"
        "net.finetune(x, np.arange(64) % 3, steps=20, batch_size=20)\n"
        "parameters = [*ae.parameters.values(), *net.parameters.values()]\n"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in parameters)).hexdigest())"
    )
    isas = _core.build_config()["available_isas"]
    if "avx2" not in isas:
        pytest.skip("one instruction set only")
    digests = {isa: output_of(code, SAE_FAST_ISA=isa) for isa in isas}
    assert digests["baseline"] != digests["avx2"]  # which fuses multiply and add
    assert digests.get("avx512", digests["avx2"]) == digests["avx2"]
    assert output_of(code, SAE_FAST_ISA="") == digests[isas[-1]]  # the best of them


@pytest.mark.parametrize("isa", ["mmx", "MMX", "avx512"])
def test_instruction_set_that_cannot_run(isa):
    if isa in _core.build_config()["available_isas"]:
        pytest.skip(f"this processor has {isa}")
    done = run_python("import sae_fast", SAE_FAST_ISA=isa)
    assert done.returncode == 1
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith("ImportError: ")
    assert "SAE_FAST_ISA" in last_line
    assert f"'{isa}'" in last_line
    assert "baseline" in last_line


@needs_fork
@ignore_fork_warning
@pytest.mark.parametrize("kind", ["sparse", "wide, dense", "wide, many rows"])
def test_training_after_fork(kind):
    """OpenMP's threads do not live on in the child: it has to do without, and not wait for them."""
    expected = train(kind, n_threads=2)
    call_in_fork(lambda: assert_identical(train(kind, n_threads=2), expected))
    assert_identical(train(kind, n_threads=2), expected)  # the parent still has its threads


@pytest.mark.parametrize("n_threads", [1, 2])
def test_denormals_outside_are_left_alone(n_threads):
    def halve():
        tiny = np.array([np.finfo(np.float32).tiny, np.float32(1e-44)], np.float32)
        return {"float32": tiny / 2, "float64": np.array([5e-324, 1e-310]) * 1.0}

    before = halve()
    assert before["float32"].all()
    assert before["float64"].all()
    train("sparse", n_threads=n_threads)
    assert_identical(halve(), before)


def test_denormals_inside_are_flushed():
    ae = Autoencoder(1, 1)
    ae.parameters = {"W_enc": [[1e-20]], "W_dec": [[1.0]]}
    assert ae.encode(np.array([[1e-20]])).item() == 0.0
