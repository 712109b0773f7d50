# SPDX-License-Identifier: BSD-3-Clause
"""Data past memory: sources give the rows that are in their files, and models train on them as on
arrays, a window at a time; files that are not what they were are told."""

from __future__ import annotations

import gc
import gzip
import itertools
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sae_fast
from helpers import TIME_LIMIT, draw_x, draw_y, peak_memory
from sae_fast.base.streams import Purpose, SampleOrder
from sae_fast.datasets import (
    ArraySource,
    ArrowSource,
    ConcatenatedSource,
    CsrSource,
    DataSource,
    FlatSource,
    Hdf5Source,
    SubsetSource,
    ZarrSource,
    open_source,
)
from sae_fast.errors import CheckpointError, DataError, DatasetUnavailableError, OutputError
from sae_fast.sklearn import (
    StackedAutoencoderClassifier,
    StackedAutoencoderOutlierDetector,
    StackedAutoencoderRegressor,
    StackedAutoencoderTransformer,
)
from sae_fast.training.schedule import Schedule
from scipy import sparse
from sklearn.base import clone

X = draw_x(530, 12, zeros=0.1)
Y = draw_y(530, 3)
SMALL = "24KB"  # windows of 60 rows or so: 48 bytes each, and 40 beside them
SIZES = [12, 8, 4]


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x0D, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(">f4").tobytes())


def write_hdf5(path, array):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("set/x", data=array, chunks=(50, 12))
        file["y"] = np.arange(3)


def write_zarr(path, array):
    zarr = pytest.importorskip("zarr")
    made = zarr.create_array(str(path), shape=array.shape, dtype=array.dtype, chunks=(50, 5))
    made[:] = array


def write_table(path, array, write):
    pyarrow = pytest.importorskip("pyarrow")
    columns = {f"c{i}": array[:, i] for i in range(array.shape[1])}
    write(pyarrow.table({**columns, "label": Y[: len(array)]}), path)


def write_parquet(path, array):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(path, array, lambda table, to: parquet.write_table(table, to, row_group_size=50))


def write_arrow(path, array):
    ipc = pytest.importorskip("pyarrow.ipc")

    def write(table, to):
        with ipc.new_file(str(to), table.schema) as file:
            file.write_table(table, max_chunksize=50)

    write_table(path, array, write)


def write_csr(path, array):
    sparse.save_npz(path, sparse.csr_matrix(array), compressed=False)


NAMES = [f"c{i}" for i in range(12)]
KINDS = {  # the file, who writes it, how it is opened, the class that reads it
    "npy": ("x.npy", np.save, {}, FlatSource),
    "idx": ("x-idx2", write_idx, {}, FlatSource),
    "hdf5": ("x.h5", write_hdf5, {"key": "set/x"}, Hdf5Source),
    "zarr": ("x.zarr", write_zarr, {}, ZarrSource),
    "parquet": ("x.parquet", write_parquet, {"columns": NAMES}, ArrowSource),
    "arrow": ("x.arrow", write_arrow, {"columns": NAMES}, ArrowSource),
    "csr": ("x.npz", write_csr, {}, CsrSource),
}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """Give what opens a file of each kind, which holds `X`."""
    name, write, options, source_class = KINDS[request.param]
    path = tmp_path / name
    write(path, X)
    return lambda **more: open_source(path, **options, **more), source_class, path


def dense(rows):
    return rows.toarray() if sparse.issparse(rows) else rows


def test_a_source_gives_the_rows_of_its_file(kind):
    open_it, source_class, path = kind
    source = open_it()
    assert type(source) is source_class
    assert (source.shape, source.dtype, len(source)) == (X.shape, X.dtype, len(X))
    assert str(path) in str(source)
    for rows in (
        slice(None),
        slice(3, 5),
        slice(0, 50, 7),
        slice(9, 9),
        np.array([0, 1, 2, 300, 301, 529]),
        np.array([7, 3, 3, 500, 0]),
        np.array([], np.int64),
    ):
        np.testing.assert_array_equal(dense(source.take(rows)), X[rows])
    for rows in ([-1], [530], [0.5], [[1, 2]]):
        with pytest.raises(DataError, match="rows: expected numbers"):
            source.take(np.array(rows))
    copied = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(dense(copied.take(slice(5, 25))), X[5:25])
    assert source.digest() == open_it(memory=SMALL).digest()


def trained(x, y=Y, **options):
    """Give the parameters and curves of all trainings of a stack."""
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0)
    histories = net.pretrain(x, steps=[9, 12], batch_size=50, eval_every=4, **options)
    histories.append(net.finetune_autoencoder(x, steps=11, batch_size=50, **options))
    history = net.finetune(x, y, steps=13, batch_size=50, eval_set=(x, y), eval_every=5)
    curves = [one.loss for one in (*histories, history)]
    return net, {**net.parameters, **net.autoencoders[1].parameters}, curves


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_set_that_a_window_holds_trains_to_the_bits_of_an_array(kind):
    open_it, source_class, _ = kind
    source = open_it()
    net, parameters, curves = trained(source)
    x = sparse.csr_matrix(X) if source_class is CsrSource else X
    expected, values, losses = trained(x)
    assert_same(parameters, values)
    assert curves == losses
    np.testing.assert_array_equal(net.predict_proba(source), expected.predict_proba(x))


def test_a_window_at_a_time_it_predicts_what_an_array_gives(kind, tmp_path):
    open_it, _, _ = kind
    source = open_it(memory="60KB")
    assert source.blocks()[1] < len(X)
    net, _, _ = trained(X)
    for method in ("encode", "predict", "predict_proba", "reconstruct", "feature_errors"):
        expected = getattr(net, method)(X)
        np.testing.assert_array_equal(getattr(net, method)(source), expected, err_msg=method)
        path = tmp_path / f"{method}.npy"
        mapped = getattr(net, method)(source, out=path)
        np.testing.assert_array_equal(mapped, expected, err_msg=method)
        np.testing.assert_array_equal(np.load(path), expected, err_msg=method)
        out = np.empty_like(expected)
        assert getattr(net, method)(source, out=out) is out
        np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(net.score_samples(source), net.score_samples(X))
    assert net.count_dead_units(source) == net.count_dead_units(X)
    assert net.reconstruction_error(source) == pytest.approx(net.reconstruction_error(X), 1e-12)
    assert net.evaluate(source, Y) == pytest.approx(net.evaluate(X, Y), 1e-12)
    assert {path.name for path in tmp_path.glob("*.tmp")} == set()


# Training in windows


def order(n=530, block=5, window=60):
    return SampleOrder(n, 3, Purpose.FINETUNE_ORDER, block=block, window=window)


def test_samples_come_in_windows_of_blocks_each_once_an_epoch():
    n, block, window = 533, 5, 60
    epochs = order(n).batches(0, 3 * n, 1).reshape(3, n)
    ends = [0]
    while ends[-1] < 3 * n:
        ends.append(order(n).window_end(ends[-1]))
    assert [end for end in ends if end % n == 0] == [0, n, 2 * n, 3 * n]
    for first, end in itertools.pairwise(ends):
        assert len(set(epochs.ravel()[first:end] // block)) == -(-(end - first) // block)
        assert end - first <= window
    for epoch in epochs:
        assert sorted(epoch) == list(range(n))
    firsts = [set(epoch[:50] // block) for epoch in epochs]
    assert firsts[0] != firsts[1] != firsts[2]
    assert not np.array_equal(np.sort(epochs[0][:60]), epochs[0][:60])


def test_the_order_is_known_from_its_place_alone():
    whole = order().batches(0, 100, 7)
    for first in (3, 50, 99):
        np.testing.assert_array_equal(order().batches(first, 1, 7)[0], whole[first])
    np.testing.assert_array_equal(order().batches(0, 50, 7, start=50 * 7), whole[50:])


def test_a_window_of_all_is_the_plain_shuffle():
    plain = SampleOrder(530, 3, Purpose.FINETUNE_ORDER)
    np.testing.assert_array_equal(order(window=530).batches(4, 30, 50), plain.batches(4, 30, 50))


def replayed(monkeypatch, train):
    """Train on a source in windows; give its parameters and the samples that its steps took."""
    taken = []
    batches = Schedule.batches

    def note(self, first, n_steps):
        taken.append(batches(self, first, n_steps))
        return taken[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Schedule, "batches", note)
        parameters = train()
    return parameters, np.concatenate(taken)


@pytest.mark.parametrize("x", [X, np.round(X * 255).astype(np.uint8), sparse.csr_matrix(X)])
@pytest.mark.parametrize("targets", ["classes", "targets", "a source of targets"])
def test_training_in_windows_takes_the_rows_labels_and_weights_of_its_order(
    x, targets, monkeypatch
):
    """The same steps on an array, by the numbers of their samples."""
    weights = np.random.default_rng(0).random(len(Y)).astype(np.float32)
    top = {"n_classes": 3} if targets == "classes" else {"n_targets": 2}
    y = Y if targets == "classes" else X[:, :2] * 3 + weights[:, None]
    scale = 1 / 255 if x.dtype == np.uint8 else None

    def train(data, y, **steps):
        net = sae_fast.StackedAutoencoder(SIZES, **top, init="he")
        options = {"sample_weight": weights, "learning_rate": 0.01, "scale": scale}
        net.finetune(data, y, **steps, **options)
        return net.parameters

    asked = ArraySource(y, memory=SMALL) if targets.startswith("a source") else y
    source = ArraySource(x, memory="20KB" if scale or targets == "classes" else SMALL)
    assert source.blocks()[1] < len(Y) / 3
    parameters, batches = replayed(
        monkeypatch, lambda: train(source, asked, steps=29, batch_size=40)
    )
    assert batches.shape == (29, 40)
    assert sorted(batches.ravel()[: len(Y)]) == list(range(len(Y)))
    assert_same(parameters, train(x, y, batches=batches))
    assert_same(parameters, train(x, asked, batches=batches))


def test_explicit_batches_are_gathered_from_a_source():
    batches = np.random.default_rng(0).integers(0, len(X), (50, 20))
    found = []
    for x in (X, ArraySource(X, memory=SMALL)):
        ae = sae_fast.Autoencoder(12, 5, seed=0)
        history = ae.fit(x, batches=batches, eval_every=0)
        found.append((ae.parameters, history.loss))
    assert_same(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1], 1e-12)


class Slow(ArraySource):
    """Takes its time."""

    def take(self, rows, out=None):
        time.sleep(0.002)
        return super().take(rows, out)


def test_neither_threads_nor_the_speed_of_reading_change_a_bit():
    _, parameters, curves = trained(Slow(X, memory=SMALL))
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=3)
    fast = ArraySource(X, memory=SMALL)
    histories = net.pretrain(fast, steps=[9, 12], batch_size=50, eval_every=4)
    assert [one.loss for one in histories] == curves[:2]
    _, again, _ = trained(fast)
    assert_same(parameters, again)
    _, others, _ = trained(ArraySource(X, memory="30KB"))
    assert not np.array_equal(others["W1"], parameters["W1"])


class Counted(ArraySource):
    """Notes how many threads read at once, and has a row that is not there."""

    lost = -1

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.reading, self.most = 0, 0

    def take(self, rows, out=None):
        self.reading += 1
        self.most = max(self.most, self.reading)
        time.sleep(0.0005)
        self.reading -= 1
        if self.lost in np.arange(len(self))[rows]:
            raise DataError(f"row {self.lost} is not there")
        return super().take(rows, out)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_parts_are_computed_on_threads_and_come_in_their_order(n_threads):
    source, labels = Counted(X, memory=SMALL), draw_y(530, 3)
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=n_threads)
    net.finetune(X, labels, steps=3, eval_every=0)
    np.testing.assert_array_equal(net.predict_proba(source), net.predict_proba(X))
    assert net.evaluate(source, labels) == pytest.approx(net.evaluate(X, labels), 1e-12)
    alone = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=1)
    alone.finetune(X, labels, steps=3, eval_every=0)
    assert net.evaluate(source, labels) == alone.evaluate(source, labels)
    assert source.most == 1
    before = threading.active_count()
    source.lost = 300
    with pytest.raises(DataError, match="x: row 300 is not there"):
        net.predict(source)
    assert threading.active_count() == before


def test_where_there_are_no_threads_parts_are_computed_here(monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0)
    net.finetune(X, Y, steps=3, eval_every=0)
    expected = net.predict(X)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    np.testing.assert_array_equal(net.predict(ArraySource(X, memory=SMALL)), expected)
    net.finetune(ArraySource(X, memory=SMALL), Y, steps=30, eval_every=10)


def test_rows_of_bool_are_not_overwritten_while_they_are_read():
    x = np.tile(draw_x(530, 12, zeros=0.3) != 0, (20, 1))
    source = ArraySource(x, memory="64KB")
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=2)
    for _ in range(5):
        np.testing.assert_array_equal(net.predict_proba(source), net.predict_proba(x))


def test_memory_that_is_kept_does_not_grow_with_trainings():
    from sae_fast.core import windows

    source = ArraySource(X, memory=SMALL)
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=4)
    before = set(windows._FREE)
    for epochs in (1, 2, 5, 9):
        net.finetune(source, Y, epochs=epochs, batch_size=7, eval_every=0)
        net.finetune(source, Y, batches=draw_x(40, 12, zeros=0).argsort(1)[:, :5] + epochs)
    (key,) = set(windows._FREE) - before
    assert len(windows._FREE[key]) <= 2
    kept = sum(one.nbytes for each in windows._FREE[key].values() for one in each)
    assert kept <= 24_000


def test_memory_of_rows_is_kept_while_the_source_is():
    from sae_fast.core import windows

    source = ArraySource(X, memory=SMALL)
    net = sae_fast.StackedAutoencoder(SIZES, n_classes=3, seed=0, n_threads=1)
    before = set(windows._FREE)
    net.finetune(source, Y, steps=30, eval_every=0)
    (key,) = set(windows._FREE) - before
    kept = {id(one) for each in windows._FREE[key].values() for one in each}
    assert kept
    net.finetune(source, Y, steps=30, eval_every=0)
    assert {id(one) for each in windows._FREE[key].values() for one in each} == kept
    del source
    gc.collect()
    assert key not in windows._FREE


def test_what_rows_take_at_once_is_bounded(tmp_path):
    n = 40_000
    x = ArraySource(np.broadcast_to(X[:1], (n, 12)), memory="400KB")
    assert n * 48 > 4 * 400_000

    def use():
        net = sae_fast.StackedAutoencoder([12, 4], seed=0)
        net.pretrain(x, steps=500, eval_every=0)
        net.count_dead_units(x)
        net.encode(x, out=tmp_path / "codes.npy")

    assert peak_memory(use) < 450_000  # with what is no row


def test_codes_that_are_more_than_a_window_are_read_in_windows(tmp_path):
    folder = tmp_path / "spill"
    folder.mkdir()
    seen = []

    def look(training):
        assert list(folder.iterdir()) == []  # a file without a name, which nothing leaves behind
        seen.append(training.samples.x)

    net = sae_fast.StackedAutoencoder([12, 10, 4], seed=0)
    x = ArraySource(X, memory=SMALL, folder=folder)
    net.pretrain(x, steps=20, batch_size=50, callbacks=[look], eval_every=0)
    first, codes = seen
    assert codes.window < len(X)
    np.testing.assert_array_equal(first.rows(0, 530), X)
    np.testing.assert_array_equal(codes.rows(0, 530), net.autoencoders[0].encode(X))


def test_codes_that_cannot_be_kept_are_an_output_error(tmp_path):
    net = sae_fast.StackedAutoencoder(SIZES, seed=0)
    x = ArraySource(X, memory=SMALL, folder=tmp_path / "nowhere")
    with pytest.raises(OutputError, match=r"folder: expected to write 530 codes .*nowhere"):
        net.pretrain(x, steps=5)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files")
def test_a_full_disk_while_codes_are_kept_is_an_output_error(tmp_path):
    import resource

    net = sae_fast.StackedAutoencoder(SIZES, seed=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "out.npy"
    path.write_bytes(b"before")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(OutputError, match="File too large"):
            net.pretrain(ArraySource(X, memory=SMALL, folder=tmp_path), steps=5)
        with pytest.raises(OSError, match=r"File too large.*out\.npy"):
            net.autoencoders[0].encode(X, out=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in tmp_path.iterdir()] == ["out.npy"]
    assert path.read_bytes() == b"before"


PENALIZED = [
    sae_fast.penalties.KLSparsity(0.3, 0.1),
    sae_fast.penalties.CodeL1(0.01),
    sae_fast.penalties.L1(0.001),
    sae_fast.penalties.Contractive(0.1),
]


def test_evaluations_in_parts_include_penalties_once():
    found = []
    for x in (X, ArraySource(X, memory=SMALL)):
        ae = sae_fast.Autoencoder(12, 5, activation="sigmoid", init="he", weight_decay=0.1)
        batches = np.arange(500).reshape(10, 50)
        history = ae.fit(x, batches=batches, penalties=PENALIZED, sample_weight=np.arange(530) / 99)
        found.append(history.loss[-1])
    assert found[0] == pytest.approx(found[1], 1e-8)  # slopes are summed in float32


def test_a_training_in_windows_goes_on_where_it_was(tmp_path):
    x = ArraySource(X, memory=SMALL)
    options = {"batch_size": 50, "eval_every": 0, "learning_rate": 0.01}

    def fit(ae, steps, **more):
        ae.fit(x, steps=steps, **options, **more)
        return ae

    expected = fit(sae_fast.Autoencoder(12, 5), 30).parameters
    parts = fit(sae_fast.Autoencoder(12, 5), 13)
    assert_same(fit(parts, 17, continued=True).parameters, expected)

    def interrupt(training):
        if training.step == 10:
            raise KeyboardInterrupt

    class Every(sae_fast.callbacks.Callback):
        every = 5

        def on_step(self, training):
            interrupt(training)

    checkpoint = sae_fast.RunCheckpoint(tmp_path, every=5)
    with pytest.raises(KeyboardInterrupt):
        fit(sae_fast.Autoencoder(12, 5), 30, callbacks=[Every(), checkpoint])
    checkpoint = sae_fast.RunCheckpoint(tmp_path, every=5)
    resumed = fit(sae_fast.Autoencoder(12, 5), 30, callbacks=[checkpoint])
    assert_same(resumed.parameters, expected)
    other = ArraySource(X, memory="30KB")
    checkpoint = sae_fast.RunCheckpoint(tmp_path, every=5)
    with pytest.raises(CheckpointError, match=r"block_size .*window \d+ where it has \d+"):
        sae_fast.Autoencoder(12, 5).fit(other, steps=30, **options, callbacks=[checkpoint])


def test_labels_and_eval_sets_come_from_sources_too(tmp_path):
    write_parquet(tmp_path / "x.parquet", X)
    x = open_source(tmp_path / "x.parquet", columns=NAMES)
    y = open_source(tmp_path / "x.parquet", columns=["label"])
    _, parameters, curves = trained(x, y)
    _, expected, losses = trained(X)
    assert_same(parameters, expected)
    assert curves == losses
    with pytest.raises(DataError, match=r"y: expected 530 labels, one per sample, got 500"):
        sae_fast.StackedAutoencoder(SIZES, 3).finetune(x, ArraySource(Y[:500]), steps=1)


def test_files_follow_each_other(tmp_path):
    paths = [tmp_path / f"{i}.npy" for i in range(3)]
    for path, part in zip(paths, np.split(X, [100, 333]), strict=True):
        np.save(path, part)
    source = open_source(paths)
    assert type(source) is ConcatenatedSource
    rows = np.array([0, 99, 100, 101, 400, 2])
    np.testing.assert_array_equal(source.take(rows), X[rows])
    np.save(paths[2], X[:, :5])
    with pytest.raises(DataError, match=r"2\.npy: expected 12 features of float32 as in .*0\.npy"):
        open_source(paths)


def test_a_matrix_in_three_files(tmp_path):
    matrix = sparse.csr_matrix(X)
    paths = [tmp_path / f"{name}.npy" for name in ("data", "indices", "indptr")]
    for path in paths:
        np.save(path, getattr(matrix, path.stem))
    source = CsrSource(paths, n_features=12)
    assert source.row_bytes == pytest.approx(8 * matrix.nnz / 530 + 4)
    np.testing.assert_array_equal(source.read(100, 200).toarray(), X[100:200])
    with pytest.raises(DataError, match="n_features: expected a number with three files"):
        CsrSource(paths)
    np.save(paths[1], matrix.indices[:-1])
    with pytest.raises(DataError, match="expected as many indices as data"):
        CsrSource(paths, n_features=12)


# Estimators

XL = np.concatenate([X * 5 + 3] * 2)  # far from standard
YL = np.tile(Y, 2)
QUICK = {"units": (6,), "random_state": 0, "eval_every": 100}
ESTIMATORS = {
    "classifier": (
        StackedAutoencoderClassifier(**QUICK, pretrain_steps=20, steps=250),
        YL,
        ["predict_proba", "predict"],
    ),
    "regressor": (
        StackedAutoencoderRegressor(**QUICK, pretrain_steps=20, steps=250),
        XL[:, :2] ** 2,
        ["predict"],
    ),
    "transformer": (
        StackedAutoencoderTransformer(**QUICK, steps=250),
        None,
        ["transform", "score_samples"],
    ),
    "detector": (
        StackedAutoencoderOutlierDetector(**QUICK, steps=250),
        None,
        ["predict", "feature_errors", "score_samples"],
    ),
}


@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_take_a_source_as_x(name, matrix):
    estimator, y, methods = ESTIMATORS[name]
    x = sparse.csr_matrix(XL) if matrix else XL
    expected = clone(estimator).fit(x, y)
    whole = clone(estimator).fit(ArraySource(x), y)
    for one in methods:
        np.testing.assert_array_equal(getattr(whole, one)(x), getattr(expected, one)(x))
    source = ArraySource(x, memory="80KB")
    assert not source.small()
    asked = y if y is None else ArraySource(y)
    windows = clone(estimator).fit(source, asked)
    assert windows.n_features_in_ == 12
    for one in methods:
        found = getattr(windows, one)(source)
        np.testing.assert_allclose(found, getattr(windows, one)(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(windows._standard.zero, expected._standard.zero, rtol=1e-9)
    np.testing.assert_allclose(windows._standard.unit, expected._standard.unit, rtol=1e-9)
    if name in ("classifier", "regressor"):
        scores = [one.score(x, y) for one in (windows, expected)]
        assert scores[0] > scores[1] - 0.15
        assert scores[1] > 0.3
    else:
        errors = [np.abs(one.score_samples(x)).mean() for one in (windows, expected)]
        assert errors[0] < 1.3 * errors[1]


def test_estimators_leave_rows_of_a_source_out_and_set_some_aside():
    y = YL.copy()
    y[::3] = -1
    weight = np.ones(len(y))
    weight[1::3] = 0
    classifier = StackedAutoencoderClassifier(
        **QUICK, steps=300, pretrain_steps=20, early_stopping=True, unlabelled=-1
    )
    source = ArraySource(XL, memory="80KB")
    classifier.fit(source, y, weight)
    assert classifier.history_.n_samples == pytest.approx(0.1 * len(y) / 3, abs=1)
    assert classifier.score(XL, YL) > 0.5
    before = classifier.network_.parameters
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.fit(source, y[:-1])
    with pytest.raises(ValueError, match=r"has 5 features, but .* is expecting 12"):
        classifier.predict(ArraySource(XL[:, :5], memory="30KB"))
    bad = XL.copy()
    bad[1034, 5] = np.inf
    with pytest.raises(DataError, match=r"X: .* got inf in row 1034, column 5 of ArraySource"):
        classifier.fit(ArraySource(bad, memory="80KB"), YL)
    assert_same(classifier.network_.parameters, before)


# What is not what it was


def row_of(error):
    return str(error.value)


def test_what_is_not_finite_is_named_with_file_and_row_before_anything_changes(tmp_path):
    path = tmp_path / "x.npy"
    x = np.zeros((20_000, 12), np.float32)
    x[:530] = X
    x[12_345, 7] = np.nan
    np.save(path, x)
    for memory in ("1GB", "100KB"):
        net = sae_fast.StackedAutoencoder(SIZES, 3, seed=0)
        before = net.parameters
        for call in (
            lambda x, net=net: net.pretrain(x, steps=3),
            lambda x, net=net: net.finetune(x, np.zeros(20_000, int), steps=3),
            lambda x, net=net: net.encode(x),
        ):
            with pytest.raises(DataError, match=rf"x: .* got nan in row 12345, column 7 of {path}"):
                call(open_source(path, memory=memory))
        assert_same(net.parameters, before)
        assert net.predict(X).shape == (530,)


@pytest.mark.parametrize("name", ["npy", "idx", "csr"])
def test_a_file_that_is_cut_off_is_told_with_its_row(name, tmp_path):
    file, write, _, _ = KINDS[name]
    path = tmp_path / file
    write(path, X)
    source = open_source(path, memory=SMALL)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    net = sae_fast.StackedAutoencoder(SIZES, 3)
    before = net.parameters
    with pytest.raises(DataError, match=f"x: {path}: changed while it was in use"):
        net.pretrain(source, steps=3)
    assert_same(net.parameters, before)
    if name != "csr":  # whose end is where its table of contents is
        with pytest.raises(DataError, match=rf"{path}: got .* bytes, the last in row 26\d"):
            open_source(path)
    else:
        with pytest.raises(DatasetUnavailableError, match=str(path)):
            open_source(path)


def test_a_file_that_changes_while_it_is_trained_on_ends_the_training_at_a_step(kind):
    open_it, source_class, path = kind
    if source_class is ZarrSource:
        pytest.skip("a folder of chunks: nothing says when one is written to")
    source = open_it(memory="60KB", block_size=10)
    ae = sae_fast.Autoencoder(12, 5, seed=0)

    class Write(sae_fast.callbacks.Callback):
        every = 5

        def on_step(self, training):
            if training.step == 5:
                with path.open("ab") as file:
                    file.write(b"more")

    with pytest.raises(DataError, match=r"changed while it was in use, noticed at row \d+"):
        ae.fit(source, steps=1000, batch_size=50, callbacks=[Write()])
    steps = ae._state.steps_done
    assert 5 <= steps < 40
    assert all(np.isfinite(value).all() for value in ae.parameters.values())
    ae.fit(X, steps=5, batch_size=50, continued=True)


@pytest.mark.parametrize("name", ["ArrowTypeError", "ArrowKeyError", "ArrowNotImplementedError"])
def test_what_pyarrow_raises_on_a_thread_names_file_and_row(name, tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "x.parquet"
    write_parquet(path, X)
    source = open_source(path, memory="60KB", block_size=10)
    read = source._group

    def broken(group):
        if group and threading.current_thread() is not threading.main_thread():
            raise getattr(pyarrow, name)("as of a damaged file")
        return read(group)

    monkeypatch.setattr(source, "_group", broken)
    message = rf"{path}: cannot be read from row \d+ on: .*as of a damaged file"
    with pytest.raises(DataError, match=message):
        sae_fast.Autoencoder(13, 5).fit(source, steps=100, batch_size=50)


@pytest.mark.parametrize("name", ["npy", "hdf5", "arrow"])
def test_a_damaged_file_is_a_data_error_that_names_it(name, tmp_path):
    """Of each kind, bytes of which its package makes an error of another kind than of most."""
    file, write, options, _ = KINDS[name]
    path = tmp_path / file
    write(path, X)
    whole = path.read_bytes()
    damage = {"npy": (b"}", b"("), "hdf5": (b"SNOD", b"SNO!")}
    old, new = damage.get(name, (b"c3", b"\xae\xae"))
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    with pytest.raises(DataError, match=f"{path}: "):
        open_source(path, **options)
    with pytest.raises(TypeError, match="blocks"):
        open_source(path, blocks=3)


def test_zarr_of_another_shape_is_told(tmp_path):
    zarr = pytest.importorskip("zarr")
    write_zarr(tmp_path / "x.zarr", X)
    source = open_source(tmp_path / "x.zarr")
    zarr.open_array(str(tmp_path / "x.zarr"), mode="r+").resize((100, 12))
    with pytest.raises(DataError, match=r"changed .* got shape \(100, 12\) where it had \(530, 12"):
        source.read(0, 10)


@pytest.mark.parametrize(
    ("package", "name"),
    [("h5py", "hdf5"), ("zarr", "zarr"), ("pyarrow", "parquet"), ("scipy.sparse", "csr")],
)
def test_a_package_that_is_missing_is_named_with_its_extra(package, name, tmp_path, monkeypatch):
    file, write, options, _ = KINDS[name]
    write(tmp_path / file, X)
    monkeypatch.setitem(sys.modules, package, None)
    top = package.partition(".")[0]
    with pytest.raises(ImportError, match=rf"package {top} \(pip install 'sae-fast\[data\]'\)"):
        open_source(tmp_path / file, **options).read(0, 1)


def test_what_is_no_source_is_refused(tmp_path):
    def made(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    np.save(tmp_path / "fortran.npy", np.asfortranarray(X))
    np.save(tmp_path / "words.npy", np.array(["a", "b"], object), allow_pickle=True)
    np.save(tmp_path / "one.npy", np.float32(3))
    sparse.save_npz(tmp_path / "packed.npz", sparse.csr_matrix(X))
    sparse.save_npz(tmp_path / "columns.npz", sparse.csc_matrix(X), compressed=False)
    np.savez(tmp_path / "others.npz", x=X)
    write_parquet(tmp_path / "x.parquet", X)
    write_hdf5(tmp_path / "x.h5", X)
    np.save(tmp_path / "x.npy", X)
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "big.parquet", X, parquet.write_table)  # one group
    for path, options, message in (
        (tmp_path / "fortran.npy", {}, "expected rows one after another"),
        (tmp_path / "words.npy", {}, "expected numbers, got dtype object"),
        (tmp_path / "one.npy", {}, "expected rows, got a single number"),
        (tmp_path / "packed.npz", {}, r"compressed=False"),
        (tmp_path / "columns.npz", {}, "expected a CSR matrix, got b?'csc'"),
        (tmp_path / "others.npz", {}, "expected a CSR matrix .* got arrays x"),
        (made("x.gz", gzip.compress(b"0")), {}, "not packed, got gzip"),
        (
            made("x.csv", b"a,b\n1,2\n"),
            {},
            "expected a .npy, IDX, .* begins with b'a,b.*pandas.read_csv",
        ),
        (made("bad.npy", b"\x93NUMPY\1\0"), {}, "expected a .npy file"),
        (made("bad.h5", b"\x89HDF....."), {}, "expected an HDF5 file"),
        (made("bad.parquet", b"PAR1...."), {}, "expected a Parquet or Arrow file"),
        (tmp_path / "x.parquet", {"columns": ["c1", "no"]}, "columns: expected names of .*'no'"),
        (tmp_path / "x.parquet", {"columns": []}, "columns: expected at least one"),
        (tmp_path / "x.parquet", {"key": "x"}, "key: expected None"),
        (tmp_path / "x.h5", {"key": "z"}, r"key: expected one of \['set/x', 'y'\]"),
        (tmp_path / "x.h5", {}, "key: expected one of .*got None"),
        (tmp_path / "x.h5", {"key": "y", "memory": "much"}, "memory: expected bytes"),
        (tmp_path / "x.h5", {"key": "y", "block_size": 0}, "block_size: expected an integer"),
        (tmp_path / "big.parquet", {"memory": "80KB"}, r"bytes, four .* 530 rows of .*=1000\)"),
        ([tmp_path / "big.parquet"], {"memory": "80KB"}, r"530 rows of .*big.*row_group_size"),
        (tmp_path / "x.npy", {"memory": "2"}, "expected at least .* a block of 1 row of .* got 2$"),
        (tmp_path / "x.npy", {"memory": "2 xb"}, "memory: expected bytes"),
        (tmp_path, {}, "expected a file or a Zarr store, got a folder without zarr.json or"),
    ):
        with pytest.raises(DataError, match=message):
            open_source(path, **options)
    with pytest.raises(DatasetUnavailableError, match="nowhere"):
        open_source(tmp_path / "nowhere")


def test_bytes_are_said_in_capitals_or_not():
    sizes = {ArraySource(X, memory=one).blocks() for one in ("48kb", "48KB", "48 Kb", "0.048mB")}
    assert sizes == {ArraySource(X, memory=48_000).blocks()}
    assert ArraySource(X, memory="48kib").blocks() == ArraySource(X, memory=48 * 1024).blocks()


def test_what_does_not_fit_a_model_is_refused(tmp_path):
    ae = sae_fast.Autoencoder(12, 5)
    before = ae.parameters
    wrong = draw_x(50, 7, zeros=0.5)
    for x, message in (
        (ArraySource(wrong), r"x: expected 12 features, got shape \(50, 7\) of ArraySource"),
        (ArraySource(X[:0]), "x: expected at least one sample"),
        (ArraySource(X.astype(np.uint8)), "x: uint8 needs scale="),
        (ArraySource(X, memory=1000, block_size=50), "memory: expected at least .* four times"),
    ):
        with pytest.raises(DataError, match=message):
            ae.fit(x, steps=1)
    assert_same(ae.parameters, before)
    readonly = np.empty((530, 5), np.float32)
    readonly.flags.writeable = False
    for out, message in (
        (np.empty((3, 5), np.float32), r"out: expected an array of float32 with shape \(530, 5\)"),
        (np.empty((530, 5), np.int32), "out: expected an array of float32"),
        (readonly, "out: expected an array that can be written to"),
        (7, "out: expected an array or a path, got int"),
    ):
        with pytest.raises(DataError, match=message):
            ae.encode(X, out=out)
    with pytest.raises(OSError, match="nowhere"):
        ae.encode(X, out=tmp_path / "nowhere" / "codes.npy")


def test_results_replace_neither_what_they_are_made_of_nor_what_is_no_npy(tmp_path, monkeypatch):
    """Before a row is read."""
    whole, parts = tmp_path / "x.npy", [tmp_path / "0.npy", tmp_path / "1.npy"]
    np.save(whole, X)
    for path, part in zip(parts, np.split(X, [100]), strict=True):
        np.save(path, part)
    soft, hard, pipe, text = (tmp_path / name for name in ("s.npy", "h.npy", "p.npy", "mine.txt"))
    soft.symlink_to(whole)
    hard.hardlink_to(whole)
    os.mkfifo(pipe)
    text.write_text("mine")
    net = sae_fast.StackedAutoencoder(SIZES, 3)
    net.finetune(X, Y, steps=1)
    x = open_source(whole, memory="60KB")
    several = open_source(parts)
    mapped = np.load(whole, mmap_mode="r")
    before = {path: path.read_bytes() for path in (whole, *parts, text)}
    reads = []
    monkeypatch.setattr(FlatSource, "read_into", lambda *args: reads.append(args))
    for source, out, error, message in (
        (x, whole, DataError, r"out: expected another file than x is read from, got .*x\.npy"),
        (x, soft, DataError, r"another file .* got .*s\.npy, which is .*x\.npy"),
        (x, hard, DataError, r"another file .* got .*h\.npy, which is .*x\.npy"),
        (x, os.fsencode(whole), DataError, "another file"),
        (open_source(soft), whole, DataError, "another file"),
        (several, parts[1], DataError, r"another file .* got .*1\.npy"),
        (SubsetSource(several, [3]), parts[0], DataError, "another file"),
        (mapped, whole, DataError, "another file"),
        (ArraySource(mapped[5:]), whole, DataError, "another file"),
        (x, text, DataError, r"out: expected a path that ends in \.npy.*mine\.txt"),
        (x, "/dev/full", DataError, r"ends in \.npy"),
        (x, pipe, OSError, r"not a regular file: .*p\.npy"),
        (x, tmp_path, DataError, r"ends in \.npy"),
    ):
        for method in ("encode", "predict", "predict_proba"):
            with pytest.raises(error, match=message):
                getattr(net, method)(source, out=out)
    ae = sae_fast.Autoencoder(12, 5)
    for method in ("encode", "reconstruct", "feature_errors"):
        with pytest.raises(DataError, match="another file"):
            getattr(ae, method)(x, out=whole)
        with pytest.raises(DataError, match="another file"):
            getattr(ae, method)(x, out=np.load(whole, mmap_mode="r+"))
    with pytest.raises(OSError, match=r"not a regular file: .*p\.npy"):
        ae.save(pipe)
    assert reads == []
    assert before == {path: path.read_bytes() for path in before}
    assert soft.is_symlink()
    assert pipe.is_fifo()
    assert list(tmp_path.glob(".*")) == []


def test_a_file_of_results_that_is_replaced_keeps_its_mode(tmp_path):
    path = tmp_path / "codes.npy"
    path.write_bytes(b"before")
    path.chmod(0o600)
    found = sae_fast.Autoencoder(12, 5).encode(X, out=path)
    np.testing.assert_array_equal(np.load(path), found)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_source_of_ones_own_needs_three_things():
    class Own(DataSource):
        shape, dtype = X.shape, X.dtype

        def read(self, first, last):
            return X[first:last]

    ae = sae_fast.Autoencoder(12, 5, seed=0)
    ae.fit(Own(), steps=20)
    expected = sae_fast.Autoencoder(12, 5, seed=0)
    expected.fit(X, steps=20)
    assert_same(ae.parameters, expected.parameters)
    assert Own().digest() == ArraySource(X).digest()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda rows: rows[:-1], r"expected an array of shape \(6, 12\) for rows 4 to 10, got"),
        (lambda rows: rows[:, :5], r"got ndarray of shape \(6, 5\)"),
        (sparse.csr_matrix, r"got csr_matrix of shape \(6, 12\)"),
        (lambda rows: None, r"got NoneType of shape None"),
    ],
)
def test_what_ones_own_source_gives_is_looked_at(given, message):
    class Own(DataSource):
        shape, dtype = X.shape, X.dtype

        def read(self, first, last):
            return given(X[first:last])

    with pytest.raises(DataError, match=message):
        Own().take(slice(4, 10))
    ae = sae_fast.Autoencoder(12, 5)
    before = ae.parameters
    with pytest.raises(DataError, match=r"x: Own: expected an array of shape"):
        ae.fit(Own(memory=SMALL), steps=1)
    assert_same(ae.parameters, before)


LIMITED = """
import resource, sys
import numpy as np, sae_fast
path, y, folder = sys.argv[1], np.load(sys.argv[2]), sys.argv[3]
net = sae_fast.StackedAutoencoder([784, 16, 8], n_classes=3, n_threads=1)
net.predict(np.zeros((1, 784), np.float32))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = 48_000_000
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
try:
    np.load(path)
    sys.exit("the limit is none")
except MemoryError:
    pass
x = sae_fast.datasets.open_source(path, memory="8MB", folder=folder)
assert x.shape[0] * x.shape[1] * 4 >= 4 * limit
net.pretrain(x, steps=20, eval_every=0)
net.finetune(x, y, steps=20, eval_every=0)
found = net.predict(x, out=folder + "/predicted.npy")
assert found.shape == y.shape
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory")
def test_four_times_the_memory_that_a_process_may_use(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (61_500, 784))
    x[::50, ::7] = 1  # the rest are zeros, which take no time to write
    x.flush()
    del x
    np.save(tmp_path / "y.npy", draw_y(61_500, 3))
    arguments = [str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # or each thread's takes 64 MB of addresses
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "predicted.npy").shape == (61_500,)
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == [
        "predicted.npy",
        "x.npy",
        "y.npy",
    ]
