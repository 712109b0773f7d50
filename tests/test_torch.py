# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules: there, where they compute the same, and back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import assert_identical, draw_x, draw_y
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.core.activations import ACTIVATIONS

torch = pytest.importorskip("torch")
nn = torch.nn

N_FEATURES = 20
X, Y = draw_x(100, N_FEATURES, zeros=0.6), draw_y(100, 3)
KNOWN = " or ".join(row.torch for row in ACTIVATIONS.values() if row.torch)
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def trained(kind, dtype="float32"):
    if kind == "autoencoder":
        ae = Autoencoder(N_FEATURES, 5, dtype=dtype)
        ae.fit(X, steps=100, batch_size=50, learning_rate=0.01)
        return ae
    net = StackedAutoencoder([N_FEATURES, 9, 5], 3, init="he", dtype=dtype)
    net.pretrain(X, steps=100, batch_size=50, learning_rate=0.01)
    net.finetune(X, Y, steps=100, batch_size=50, learning_rate=0.01)
    return net


PARTS = {
    ("autoencoder", "encoder"): ("encode", "Linear ReLU"),
    ("autoencoder", "reconstruction"): ("reconstruct", "Linear ReLU Linear"),
    ("stack", "encoder"): ("encode", "Linear ReLU Linear ReLU"),
    ("stack", "reconstruction"): ("reconstruct", "Linear ReLU Linear ReLU Linear Linear"),
    ("stack", "classifier"): ("predict_proba", "Linear ReLU Linear ReLU Linear Softmax"),
}


# There


@BOTH
@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_pytorch_computes_the_same(kind, part, dtype):
    model = trained(kind, dtype)
    module = model.to_torch(part=part)
    method, layers = PARTS[kind, part]
    assert [type(layer).__name__ for layer in module] == layers.split()
    x = X.astype(dtype)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    expected = getattr(model, method)(x)
    assert expected.std() > 0.01  # something that could differ
    assert found.dtype == dtype
    assert np.abs(found - expected).max() < {"float32": 1e-5, "float64": 1e-12}[dtype]


def test_the_whole_is_the_default():
    assert isinstance(trained("stack").to_torch()[-1], nn.Softmax)
    assert isinstance(trained("autoencoder").to_torch()[-1], nn.Linear)


def test_copies_that_can_be_trained():
    ae = trained("autoencoder")
    before = ae.parameters
    module = ae.to_torch()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.from_numpy(X)).square().sum().backward()
    optimizer.step()
    assert (before["W_enc"] != module[0].weight.detach().numpy().T).any()
    assert_identical(ae.parameters, before)


def test_random_stream_of_pytorch():
    """Building the module draws nothing."""
    state = torch.random.get_rng_state()
    trained("stack").to_torch()
    assert torch.equal(torch.random.get_rng_state(), state)


# And back


@BOTH
def test_an_autoencoder_comes_back(dtype):
    ae = trained("autoencoder", dtype)
    back = Autoencoder.from_torch(ae.to_torch(), weight_decay=0.5, seed=9, n_threads=2)
    assert_identical(back.parameters, ae.parameters)
    assert_identical({"codes": back.encode(X)}, {"codes": ae.encode(X)})
    assert (back.dtype, back.weight_decay, back.seed, back.n_threads) == (dtype, 0.5, 9, 2)


@BOTH
def test_a_classifier_comes_back(dtype):
    net = trained("stack", dtype)
    back = StackedAutoencoder.from_torch(net.to_torch(), seed=9, n_threads=2)
    assert_identical(back.parameters, net.parameters)
    assert_identical({"proba": back.predict_proba(X)}, {"proba": net.predict_proba(X)})
    assert (back.sizes, back.n_classes, back.dtype) == (net.sizes, 3, dtype)
    assert (back.seed, back.n_threads, back.pretrained) == (9, 2, False)


def test_an_encoder_comes_back():
    net = trained("stack")
    back = StackedAutoencoder.from_torch(net.to_torch("encoder"))
    assert back.n_classes is None
    assert_identical({"codes": back.encode(X)}, {"codes": net.encode(X)})
    back.pretrain(X, steps=10)
    assert back.reconstruct(X).shape == X.shape


@pytest.mark.parametrize("top", [[], [nn.Softmax(1)], [nn.Softmax(-1)], [nn.LogSoftmax(1)]])
def test_a_module_of_ones_own(top):
    """Nested, and one layer without biases."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Sequential(nn.Linear(N_FEATURES, 8), nn.ReLU()),
        nn.Sequential(nn.Sequential(nn.Linear(8, 6, bias=False)), nn.ReLU(inplace=True)),
        nn.Linear(6, 4),
        *top,
    )
    net = StackedAutoencoder.from_torch(module)
    with torch.no_grad():
        expected = module(torch.from_numpy(X))
        if not top:
            expected = expected.softmax(1)
        elif isinstance(top[0], nn.LogSoftmax):
            expected = expected.exp()
    assert np.abs(net.predict_proba(X) - expected.numpy()).max() < 1e-5
    assert not net.parameters["b2"].any()


def test_copies_that_do_not_move():
    module = trained("stack").to_torch()
    net = StackedAutoencoder.from_torch(module)
    before = net.parameters
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert_identical(net.parameters, before)


MISFITS = {
    "no module": (5, "module: expected a torch.nn.Sequential, got int"),
    "one layer": (nn.Linear(4, 3), "module: expected a torch.nn.Sequential, got Linear"),
    "empty": (nn.Sequential(), "module: expected at least one Linear, got none"),
    "an empty one inside": (
        nn.Sequential(nn.Sequential()),
        "module: expected at least one Linear, got none",
    ),
    "another activation": (
        nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 4)),
        f"module[1]: expected Linear, a {KNOWN} after one, or at the end Softmax or LogSoftmax of "
        "dim 1 after one, got GELU(approximate='none')",
    ),
    "another slope": (
        nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(0.2), nn.Linear(3, 4)),
        "module[1]: expected negative_slope=0.01, got LeakyReLU(negative_slope=0.2)",
    ),
    "another alpha": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4), nn.ELU(0.5)),
        "module[3]: expected alpha=1.0, got ELU(alpha=0.5)",
    ),
    "another beta": (
        nn.Sequential(nn.Linear(4, 3), nn.Softplus(2), nn.Linear(3, 4)),
        "module[1]: expected beta=1.0, got Softplus(beta=2",
    ),
    "another layer, nested": (
        nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Dropout(0.5))),
        "module[1][1]: expected Linear, .* got Dropout(",
    ),
    "ReLU first": (nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), "module[0]: expected .* got ReLU()"),
    "ReLU twice": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.ReLU()),
        "module[2]: expected .* got ReLU()",
    ),
    "softmax in between": (
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Linear(3, 4)),
        "module[1]: expected .* got Softmax(dim=1)",
    ),
    "softmax on ReLU": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Softmax(1)),
        "module[2]: expected .* got Softmax(dim=1)",
    ),
    "softmax over samples": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Softmax(0)),
        "module[3]: expected .* of dim 1 after one, got Softmax(dim=0)",
    ),
    "widths": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 4)),
        "module[2]: expected 3 in_features, what comes before it returns, got 5",
    ),
    "half precision": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4)).half(),
        "module[0]: expected torch.float32 or torch.float64, got torch.float16",
    ),
    "two precisions": (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4).double()),
        "module[2]: expected torch.float32, as before it, got torch.float64",
    ),
}


@pytest.mark.parametrize("model_class", [Autoencoder, StackedAutoencoder])
@pytest.mark.parametrize(("module", "message"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit(model_class, module, message):
    pattern = "^" + re.escape(message).replace(re.escape(" .* "), " .* ")
    with pytest.raises(DataError, match=pattern):
        model_class.from_torch(module)


@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, output):
    """Each comes back as what it was, and PyTorch computes the same."""
    ae = Autoencoder(N_FEATURES, 5, activation=activation, output=output)
    back = Autoencoder.from_torch(ae.to_torch())
    assert (back.activation, back.output) == (activation, output)
    assert_identical(back.parameters, ae.parameters)
    net = StackedAutoencoder([N_FEATURES, 9, 5], 3, init="he", activation=activation)
    assert StackedAutoencoder.from_torch(net.to_torch()).activation == activation
    for model, method in ((ae, "reconstruct"), (net, "predict_proba")):
        with torch.no_grad():
            found = model.to_torch()(torch.from_numpy(X)).numpy()
        assert np.abs(found - getattr(model, method)(X)).max() < 1e-5


def test_an_activation_for_each_layer():
    names = ("sigmoid", "linear", "selu")
    net = StackedAutoencoder([N_FEATURES, 9, 7, 5], 3, activation=names)
    back = StackedAutoencoder.from_torch(net.to_torch())
    assert (back.activation, back.n_classes) == (names, 3)
    assert_identical(back.parameters, net.parameters)
    net.pretrain(X, steps=20, batch_size=50)
    with torch.no_grad():
        found = net.to_torch("reconstruction")(torch.from_numpy(X)).numpy()
    assert np.abs(found - net.reconstruct(X)).max() < 1e-5


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 4)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4), nn.Softmax(1)),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 5)),
    ],
)
def test_no_autoencoder(module):
    with pytest.raises(DataError, match="module: expected Linear, an activation or none, Linear "):
        Autoencoder.from_torch(module)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(4, 3)), "sizes: expected features and at least one hidden layer"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
            "n_classes: expected an integer of at least 2, got 1",
        ),
    ],
)
def test_no_stack(module, message):
    with pytest.raises(DataError, match=message):
        StackedAutoencoder.from_torch(module)


def test_not_finite():
    module = trained("stack").to_torch()
    with torch.no_grad():
        module[2].weight[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"parameters\['W2'\]: expected finite values"):
        StackedAutoencoder.from_torch(module)
