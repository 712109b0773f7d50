# SPDX-License-Identifier: BSD-3-Clause
"""Networks for targets: regressions and several labels at once, there and back in every way."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sae_fast
from helpers import Watch, assert_close, assert_identical, draw_batches, draw_x
from sae_fast import DataError, StackedAutoencoder, callbacks
from sae_fast.training.objective import HEADS, losses_of
from scipy import sparse

N, N_FEATURES, N_TARGETS = 300, 20, 3
X = draw_x(N, N_FEATURES, zeros=0.5)
# numbers of at least 0 that depend on the samples, and labels that go by them
T = (X[:, :N_TARGETS] * 2 + X[:, 5:6] * X[:, 6:7]).astype(np.float32)
LABELS = (np.median(T, axis=0) < T).astype(np.int64)
CASES = [(head, loss) for head in HEADS for loss in losses_of(head, head=True)]


def targets_of(head):
    return LABELS if head == "sigmoid" else T


def make(head="linear", dtype="float32", n_targets=N_TARGETS, **options):
    options = {"seed": 0, "init": "he", **options}
    return StackedAutoencoder(
        [N_FEATURES, 16, 8], n_targets=n_targets, head=head, dtype=dtype, **options
    )


def trained(head="linear", dtype="float32", **options):
    net, y = make(head, dtype), targets_of(head)
    net.pretrain(X, steps=30, batch_size=50)
    net.finetune(X, y, steps=60, batch_size=50, eval_set=(X, y), **options)
    return net


@pytest.mark.parametrize(("head", "loss"), CASES)
def test_what_was_trained_is_predicted(head, loss):
    net, y = make(head), targets_of(head)
    history = net.finetune(
        X, y, steps=1500, batch_size=50, learning_rate=3e-3, loss=loss, eval_set=(X, y)
    )
    found = net.predict(X)
    assert found.shape == (N, N_TARGETS)
    value, share = net.evaluate(X, y, loss=loss)
    assert value == history.loss[-1]
    if head == "sigmoid":
        assert found.dtype == np.int64
        assert set(np.unique(found)) == {0, 1}
        assert share == history.accuracy[-1] == np.mean(found == y) > 0.95
        p = net.predict_proba(X).astype(np.float64)
        assert value == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).sum(), rel=1e-3)
    else:
        assert found.dtype == np.float32
        assert np.isnan(share)
        assert np.abs(found - T).mean() < 0.25 * np.abs(T - T.mean(axis=0)).mean()
        assert history.accuracy == []


def test_names_and_sizes():
    for head in HEADS:
        net = make(head)
        assert (net.n_targets, net.n_classes, net.head) == (N_TARGETS, None, head)
        assert f"relu and {head}" in repr(net)
        assert net.parameters["W3"].shape == (8, N_TARGETS)
    assert StackedAutoencoder([9, 4], n_targets=1).head == "linear"
    assert StackedAutoencoder([9, 4], 3).head == "softmax"
    assert StackedAutoencoder([9, 4]).head is None


@pytest.mark.parametrize(
    "y",
    [
        T[:, 0],
        T[:, :1],
        T[:, 0].astype(np.float64),
        sparse.csr_matrix(T[:, :1]),
        np.asfortranarray(T)[:, :1],
        T[:, :1].tolist(),
    ],
    ids=["1-D", "2-D", "float64", "CSR", "strided", "list"],
)
def test_one_target(y):
    found = []
    for one in (T[:, :1].copy(), y):
        net = make(n_targets=1)
        history = net.finetune(X, one, steps=20, batch_size=50, eval_set=(X, one))
        found.append({**net.parameters, "loss": history.loss})
    assert_identical(*found)
    assert net.predict(X).shape == (N, 1)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_labels_of_any_type(dtype):
    found = []
    for y in (LABELS, LABELS.astype(dtype), sparse.csr_matrix(LABELS.astype(dtype))):
        net = make("sigmoid")
        net.finetune(X, y, steps=20, batch_size=50)
        found.append(net.parameters)
    assert_identical(found[1], found[0])
    assert_identical(found[2], found[0])


def test_frames():
    pandas = pytest.importorskip("pandas")
    found = []
    for y in (T, pandas.DataFrame(T, columns=["a", "b", "c"])):
        net = make()
        net.finetune(X, y, steps=20, batch_size=50)
        found.append(net.parameters)
    assert_identical(*found)


@pytest.mark.parametrize(("head", "loss"), CASES)
def test_threads(head, loss):
    found = []
    for n_threads in (1, 2, 3, 7):
        net, y = make(head, n_threads=n_threads), targets_of(head)
        weight = np.linspace(0, 2, N)
        history = net.finetune(
            X, y, steps=10, batch_size=70, loss=loss, sample_weight=weight, eval_set=(X, y)
        )
        evaluated = np.nan_to_num(net.evaluate(X, y, loss=loss))
        found.append({**net.parameters, "loss": history.loss, "evaluated": evaluated})
    for other in found[1:]:
        assert_identical(other, found[0])


@pytest.mark.parametrize("density", [0.02, 0.5])
def test_many_labels_of_which_few_are_set(density):
    """Sparse targets, whose delta reads the non-zeros alone, beside the same as a matrix."""
    rng = np.random.default_rng(0)
    y = rng.random((N, 200)) < density
    found = []
    for one in (y, sparse.csr_matrix(y.astype(np.float32)), y.astype(np.float64)):
        net = make("sigmoid", n_targets=200)
        history = net.finetune(X, one, steps=10, batch_size=50, eval_set=(X, one))
        found.append({**net.parameters, "loss": history.loss, "accuracy": history.accuracy})
    assert_identical(found[1], found[0])
    assert_identical(found[2], found[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", HEADS)
def test_files_and_pickles(head, dtype, tmp_path):
    net = trained(head, dtype)
    loaded = sae_fast.load(net.save(tmp_path / "net"))
    for other in (loaded, pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert (other.n_targets, other.head) == (N_TARGETS, head)
        assert_identical(other.parameters, net.parameters)
        assert_identical({"y": other.predict(X)}, {"y": net.predict(X)})
    twin = pickle.loads(pickle.dumps(net))
    for model in (net, twin):
        model.finetune(X, targets_of(head), steps=10, batch_size=50, continued=True)
    assert_identical(twin.parameters, net.parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", HEADS)
def test_onnx(head, dtype, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = trained(head, dtype)
    session = runtime.InferenceSession(net.export_onnx(tmp_path / "net.onnx"))
    name = "probabilities" if head == "sigmoid" else "targets"
    (found,) = session.run([name], {"x": X.astype(dtype)})
    expected = net.predict_proba(X) if head == "sigmoid" else net.predict(X)
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() < {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert net._part(None).name == "predictor"
    with pytest.raises(DataError, match="part: expected one of encoder, reconstruction, predictor"):
        net.export_onnx(tmp_path / "net.onnx", part="classifier")


@pytest.mark.parametrize("head", HEADS)
def test_pytorch_there_and_back(head):
    torch = pytest.importorskip("torch")
    net = trained(head, "float64")
    module = net.to_torch()
    with torch.no_grad():
        found = module(torch.from_numpy(X.astype(np.float64))).numpy()
    expected = net.predict_proba(X) if head == "sigmoid" else net.predict(X)
    assert np.abs(found - expected).max() < 1e-12
    back = StackedAutoencoder.from_torch(module, head=head)
    assert (back.sizes, back.n_targets, back.head) == (net.sizes, N_TARGETS, head)
    assert_identical(back.parameters, net.parameters)
    other = "softplus" if head == "linear" else "linear"
    with pytest.raises(DataError, match=f"head: expected what the module ends with, got '{other}'"):
        StackedAutoencoder.from_torch(module, head=other)
    with pytest.raises(DataError, match="head: expected one of softmax, linear"):
        StackedAutoencoder.from_torch(module, head="tanh")


@pytest.mark.parametrize(("head", "criterion"), [("linear", "MSELoss"), ("sigmoid", "BCELoss")])
def test_sixty_steps_of_pytorch(head, criterion):
    torch = pytest.importorskip("torch")
    net, y = make(head, "float64"), targets_of(head).astype(np.float64)
    x, batches = X.astype(np.float64), draw_batches(60, 23, N)
    module = net.to_torch()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    measure = getattr(torch.nn, criterion)(reduction="sum")
    for batch in batches:
        optimizer.zero_grad()
        measure(module(torch.from_numpy(x[batch])), torch.from_numpy(y[batch])).backward()
        optimizer.step()
    net.finetune(x, y, batches=batches, adam="torch")
    expected = {}
    for number, layer in enumerate(module[::2][:3], start=1):
        expected[f"W{number}"] = layer.weight.detach().numpy().T
        expected[f"b{number}"] = layer.bias.detach().numpy()
    assert_close(net.parameters, expected, 1e-9)


def test_a_training_goes_on_from_its_checkpoint(tmp_path):
    y, options = T.copy(), {"steps": 40, "batch_size": 50, "eval_every": 10}
    expected = make().finetune(X, y, eval_set=(X, y), **options).loss

    class Break(Exception):
        pass

    def stop(training):
        if training.step == 20:
            raise Break

    checkpoint = sae_fast.RunCheckpoint(tmp_path, every=10)
    with pytest.raises(Break):
        make().finetune(X, y, eval_set=(X, y), callbacks=[checkpoint, Watch(stop, 20)], **options)
    resumed = sae_fast.RunCheckpoint(tmp_path, every=10, resume=True)
    with pytest.raises(sae_fast.CheckpointError, match="y"):
        make().finetune(X, y + 1, eval_set=(X, y), callbacks=[resumed], **options)
    resumed = sae_fast.RunCheckpoint(tmp_path, every=10, resume=True)
    history = make().finetune(X, y, eval_set=(X, y), callbacks=[resumed], **options)
    assert history.loss == expected


def test_early_stopping():
    stopping = callbacks.EarlyStopping(patience=2)
    net = make()
    options = {"batch_size": 50, "eval_every": 10, "learning_rate": 0.05}
    history = net.finetune(X, T, steps=5000, eval_set=(X, T), callbacks=[stopping], **options)
    assert history.steps[-1] < 5000
    assert net.evaluate(X, T)[0] == min(history.loss) == stopping.best
    labels = make("sigmoid")
    best = callbacks.EarlyStopping("accuracy", patience=2)
    history = labels.finetune(
        X, LABELS, steps=5000, eval_set=(X, LABELS), callbacks=[best], **options
    )
    assert labels.evaluate(X, LABELS)[1] == max(history.accuracy) == best.best
    with pytest.raises(DataError, match="EarlyStopping: expected monitor='loss' for fine-tuning"):
        net.finetune(X, T, steps=9, eval_set=(X, T), callbacks=[best])


def test_targets_that_change_meanwhile():
    found = []
    for change in (False, True):
        net, y, y_test = make(), T.copy(), T.copy()

        def write(_, y=y, y_test=y_test, change=change):
            if change:
                y[:] = y_test[:] = 1e30

        history = net.finetune(
            X, y, steps=20, batch_size=50, eval_set=(X, y_test), callbacks=[Watch(write, 1)]
        )
        found.append({**net.parameters, "loss": history.loss})
    assert_identical(*found)


# What does not fit

BAD_Y = {
    "no columns": (T[:, 0], ("y: expected shape (n_samples, n_targets)", "(300, 3)", "(300,)")),
    "too few": (T[1:], ("y: expected shape", "(299, 3)")),
    "too many columns": (np.hstack([T, T]), ("y: expected shape", "(300, 6)")),
    "NaN": (np.where(T[17, 2] == T, np.nan, T), ("y: expected finite", "row", "column")),
    "text": (T.astype(str), ("y: expected numbers",)),
    "complex": (T * 1j, ("y: expected numbers",)),
    "a mask": (np.ma.masked_less(T, 0.1), ("y: expected an array without masked values",)),
    "nothing": (None, ("y: expected",)),
}


@pytest.mark.parametrize(("y", "words"), BAD_Y.values(), ids=BAD_Y)
def test_what_are_no_targets(y, words):
    net = make()
    before = net.parameters
    calls = (
        (lambda: net.finetune(X, y, steps=1), "y"),
        (lambda: net.evaluate(X, y), "y"),
        (lambda: net.finetune(X, T, steps=1, eval_set=(X, y)), "eval_set[1]"),
    )
    for call, name in calls:
        with pytest.raises(DataError) as caught:
            call()
        for word in words:
            assert word.replace("y:", f"{name}:") in str(caught.value)
    assert_identical(net.parameters, before)
    assert net._state is None


@pytest.mark.parametrize(
    ("head", "loss", "value", "span"),
    [
        ("sigmoid", "binary_cross_entropy", 1.5, "values from 0 to 1"),
        ("sigmoid", "binary_cross_entropy", -0.5, "values from 0 to 1"),
        ("softplus", "poisson", -0.5, "values of at least 0"),
    ],
)
def test_targets_out_of_range(head, loss, value, span):
    net, y = make(head), targets_of(head).astype(np.float64)
    before, bad = net.parameters, y.copy()
    bad[17, 1] = value
    for name, given in (("y", (bad, y)), (r"eval_set\[1\]", (y, bad))):
        with pytest.raises(
            DataError, match=f"^{name}: expected {span} .*'{loss}', got {value} in row 17, column 1"
        ):
            net.finetune(X, given[0], steps=1, eval_set=(X, given[1]), loss=loss)
    assert_identical(net.parameters, before)


def test_heads_that_do_not_belong_together():
    refused = (
        ({"n_classes": 3, "n_targets": 2}, "n_targets: expected None beside n_classes=3, got 2"),
        ({"n_classes": 3, "head": "sigmoid"}, "head: expected one of softmax, got 'sigmoid'"),
        ({"n_targets": 3, "head": "softmax"}, "head: expected one of linear, softplus, sigmoid"),
        ({"head": "linear"}, "head: expected None without classes or targets, got 'linear'"),
        ({"n_targets": 0}, "n_targets: expected an integer of at least 1, got 0"),
    )
    for options, message in refused:
        with pytest.raises(DataError, match=message):
            StackedAutoencoder([9, 4], **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("loss", ["article", "binary_cross_entropy", "poisson", "huber"])
def test_losses_that_do_not_fit_a_head(head, loss):
    net, fitting = make(head), losses_of(head, head=True)
    if loss in fitting:
        return
    message = f"loss: expected one of {', '.join(fitting)} with head '{head}', got '{loss}'"
    for call in (
        lambda: net.finetune(X, targets_of(head), steps=1, loss=loss),
        lambda: net.evaluate(X, targets_of(head), loss=loss),
    ):
        with pytest.raises(DataError, match=message):
            call()


def test_what_a_network_of_targets_has_not():
    net = make()
    with pytest.raises(DataError, match="predict_proba: expected a network with classes or head="):
        net.predict_proba(X)
    with pytest.raises(DataError, match="n_classes: expected a network with classes"):
        net.classes = ["a", "b", "c"]
    nothing = StackedAutoencoder([N_FEATURES, 4])
    for call in (nothing.predict, nothing.predict_proba, lambda x: nothing.finetune(x, T)):
        with pytest.raises(DataError, match="expected a network with classes or targets"):
            call(X)
