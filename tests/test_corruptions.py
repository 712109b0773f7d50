# SPDX-License-Identifier: BSD-3-Clause
"""Corruptions of the core, seen in steps of a training, against the oracle's own draws."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import reference as ref
from helpers import core, core_input, core_optimizer, core_trainer, draw_x, take_steps
from sae_fast import Autoencoder, DataError, StackedAutoencoder, _core
from sae_fast.base.streams import Purpose, stream_key
from sae_fast.core.units import Units
from sae_fast.corruptions import Gaussian, Masking, SaltAndPepper, Swap
from sae_fast.training.corruptions import CORRUPTIONS

KEY = int(np.random.SeedSequence(7).generate_state(1, np.uint64)[0])
N, N_FEATURES, N_HIDDEN = 40, 161, 5
EMPHASES = [(1.0, 1.0), (1.0, 0.5), (0.0, 2.0)]
#: The kinds with settings that a byte alone does not decide.
NOISES = {
    "masking": Masking(0.3),
    "gaussian": Gaussian(0.4),
    "salt_and_pepper": SaltAndPepper(0.2, low=-0.5, high=2),
    "swap": Swap(0.35),
}


def corrupt(noise, x, step, key=KEY):
    """What the oracle makes of the rows of a batch, and factors of their losses."""
    numbers = noise.numbers()
    alpha, beta = numbers.pop("alpha"), numbers.pop("beta")
    noisy, corrupted = ref.CORRUPTIONS[noise.name](x, step, key, **numbers)
    return noisy, np.where(corrupted, alpha, beta)


def test_every_corruption_has_its_oracle():
    names = [kind.name for kind in _core.CorruptionName]
    assert names == list(ref.CORRUPTIONS) == list(CORRUPTIONS) == list(NOISES)


def draw_parameters():
    rng = np.random.default_rng(0)
    shapes = {"W_enc": (N_FEATURES, N_HIDDEN), "b_enc": N_HIDDEN}
    shapes |= {"W_dec": (N_HIDDEN, N_FEATURES), "b_dec": N_FEATURES}
    return {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}


def train(noise, layout, n_threads, *, kind="float64", activation="relu", n_steps=2, **options):
    """Steps of an autoencoder on all samples at once; its data, and its parameters after them."""
    x = np.round(255 * draw_x(N, N_FEATURES, zeros=0.6)).astype(np.uint8)
    data = x if kind == "uint8" else x.astype(kind)
    dtype = "float64" if kind == "uint8" else kind
    functions = [_core.Activation[activation], _core.Activation.linear]
    network = core("Network", dtype)([N_FEATURES, N_HIDDEN, N_FEATURES], functions)
    initial = draw_parameters()
    for layer, name in enumerate(("enc", "dec")):
        w, b = (initial[f"{which}_{name}"].astype(dtype) for which in "Wb")
        network.set_parameters(layer, w / 255 if layer == 0 else w * 255, b)
    corruption = core("Corruption", dtype)(_core.CorruptionName[noise.name], noise.numbers(), KEY)
    loss = _core.Loss.squared_error
    trainer = core_trainer(
        network,
        core_input(data, dtype, layout),
        None,
        dtype=dtype,
        loss=loss,
        batch_size=N,
        corruption=corruption,
        **options,
    )
    take_steps(trainer, np.tile(np.arange(N), (n_steps, 1)), n_threads=n_threads)
    return x.astype(np.float64), parameters(network)


def parameters(network):
    (w_enc, b_enc), (w_dec, b_dec) = map(network.get_parameters, range(2))
    return {"W_enc": w_enc, "b_enc": b_enc, "W_dec": w_dec, "b_dec": b_dec}


def scaled():
    initial = draw_parameters()
    return {**initial, "W_enc": initial["W_enc"] / 255, "W_dec": initial["W_dec"] * 255}


@pytest.mark.parametrize("emphasis", EMPHASES, ids=str)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("kind", ["uint8", "float64"])
@pytest.mark.parametrize("name", NOISES)
def test_a_step_reads_what_is_corrupted_and_restores_what_is_clean(name, kind, layout, emphasis):
    if name == "gaussian" and not emphasis[0]:
        pytest.skip("all features are corrupted: nothing would be restored")
    noise = type(NOISES[name])(**{**vars(NOISES[name]), "emphasis": emphasis})
    x, after = train(noise, layout, 1, kind=kind)
    step = iter((1, 2))

    def gradients_of(p, batch):
        noisy, factors = corrupt(noise, x[batch], next(step))
        return ref.autoencoder_gradients(p, noisy, target=x[batch], emphasis=factors)

    batches = np.tile(np.arange(N), (2, 1))
    expected, _ = ref.run(ref.adam_steps(scaled(), gradients_of, batches))
    for key, value in expected.items():
        np.testing.assert_allclose(after[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("name", NOISES)
def test_the_number_of_threads_has_no_influence(name, kind):
    alone, *many = (train(NOISES[name], "sparse", n, kind=kind, n_steps=5)[1] for n in (1, 2, 3, 7))
    for other in many:
        for key, value in alone.items():
            np.testing.assert_array_equal(other[key], value)


@pytest.mark.parametrize("emphasis", EMPHASES, ids=str)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("name", NOISES)
def test_central_differences(name, layout, emphasis):
    """A step along the gradient shows it; the noise of step 1 is held fixed."""
    if name == "gaussian" and not emphasis[0]:
        pytest.skip("all features are corrupted: nothing would be restored")
    noise = type(NOISES[name])(**{**vars(NOISES[name]), "emphasis": emphasis})
    h = 1e-5
    optimizer = core_optimizer("sgd")
    x, after = train(noise, layout, 1, activation="tanh", n_steps=1, optimizer=optimizer)
    before = scaled()
    noisy, factors = corrupt(noise, x, 1)

    def value(p):
        code = np.tanh(noisy @ p["W_enc"] + p["b_enc"])
        return np.sum(factors * (code @ p["W_dec"] + p["b_dec"] - x) ** 2)

    rng = np.random.default_rng(1)
    for key in before:
        gradient = (before[key] - after[key]) / 1e-3
        change = rng.normal(size=gradient.shape) * (1e-2 if key == "W_enc" else 1)
        up, down = ({**before, key: before[key] + sign * h * change} for sign in (1, -1))
        expected = (value(up) - value(down)) / (2 * h)
        size = np.linalg.norm(gradient) * np.linalg.norm(change)
        assert abs(np.sum(gradient * change) - expected) <= 1e-7 * size, key


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.3, 0.9])
def test_shares(share):
    """As many are chosen as asked for, wherever they stand, and no row as another."""
    chosen = ref.choose(KEY, share, (2000, 256), step=1)
    tolerance = 5 * np.sqrt(share * (1 - share))
    assert abs(chosen.mean() - share) <= tolerance / np.sqrt(chosen.size)
    assert np.abs(chosen.mean(axis=0) - share).max() <= tolerance / np.sqrt(2000)
    assert np.abs(chosen.mean(axis=1) - share).max() <= tolerance / np.sqrt(256)
    if share:
        assert len(np.unique(chosen, axis=0)) == len(chosen)
        assert (chosen != ref.choose(KEY, share, chosen.shape, step=2)).any(axis=1).all()


def test_normal_numbers():
    noise, _ = ref.add_noise(np.zeros((500, 300)), 1, KEY, 1.0)
    n = noise.size
    moments = {1: 0, 2: 1, 3: 0, 4: 3, 6: 15}
    for power, moment in moments.items():
        values = noise**power
        assert abs(values.mean() - moment) <= 5 * values.std() / np.sqrt(n), power
    correlations = np.corrcoef(noise.T)[np.triu_indices(300, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(500)


def test_salt_is_as_frequent_as_pepper():
    noisy, _ = ref.add_salt_and_pepper(np.full((500, 300), 0.5), 1, KEY, 0.2, 0.0, 1.0)
    for extreme in (0, 1):
        assert abs((noisy == extreme).mean() - 0.1) < 5 * 0.3 / np.sqrt(noisy.size)


def test_swaps_are_with_any_other_row():
    x = np.repeat(np.arange(20.0)[:, None], 4000, axis=1)
    noisy, chosen = ref.swap(x, 1, KEY, 0.5)
    assert ((noisy != x) == chosen).all()
    for row in range(20):
        counts = np.bincount(noisy[row][chosen[row]].astype(int), minlength=20)
        assert counts[row] == 0
        assert counts[np.arange(20) != row].min() > 60


def test_through_the_public_interface():
    """Each layer has a stream of its own, and goes on in it where it was."""
    x = draw_x(N, N_FEATURES, zeros=0.6).astype(np.float64)
    ae = Autoencoder(N_FEATURES, N_HIDDEN, seed=3, layer=2, dtype="float64")
    before, noise = ae.parameters, Masking(0.4, emphasis=(1, 0.5))
    batches = np.arange(2 * N).reshape(2, N) % N
    for batch in batches:
        ae.fit(x, batches=batch[None], corruption=noise, continued=True)
    key, step = int(stream_key(3, Purpose.CORRUPTION, 2)[0]), iter((1, 2))

    def gradients_of(p, batch):
        noisy, factors = corrupt(noise, x[batch], next(step), key)
        return ref.autoencoder_gradients(p, noisy, target=x[batch], emphasis=factors)

    expected, _ = ref.run(ref.adam_steps(before, gradients_of, batches))
    for name, value in expected.items():
        np.testing.assert_allclose(ae.parameters[name], value, rtol=1e-9, atol=1e-12)


def test_none_and_a_share_of_zero_change_nothing():
    x = draw_x(N, N_FEATURES, zeros=0.6)
    found = []
    for corruption in (None, Masking(0)):
        net = StackedAutoencoder([N_FEATURES, 8, 4])
        histories = net.pretrain(x, steps=20, batch_size=10, corruption=corruption)
        found.append((net.parameters["W2"], [history.loss for history in histories]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("name", NOISES)
def test_a_batch_of_one(name):
    x = draw_x(3, N_FEATURES, zeros=0.6)
    ae = Autoencoder(N_FEATURES, 2)
    ae.fit(x, steps=3, batch_size=1, corruption=NOISES[name])
    assert np.isfinite(ae.parameters["W_enc"]).all()


@pytest.mark.parametrize("columns", [65_534, 65_535, 70_001])
def test_wide_sparse_rows(columns):
    """Columns in 16 bits and in 32; some rows empty, one the longest."""
    rng = np.random.default_rng(0)
    x = np.zeros((6, columns))
    for row, count in enumerate((0, 5, 900, 0, 40, 1)):
        x[row, rng.choice(columns, count, replace=False)] = rng.normal(size=count)
    x[4, -1] = 3
    found = []
    for layout in ("sparse", "dense"):
        network = core("Network", "float64")([columns, 2, columns], [_core.Activation.relu] * 2)
        w = np.random.default_rng(1).normal(size=(columns, 2))
        for layer, array in enumerate((w, w.T.copy())):
            network.set_parameters(layer, array, np.zeros(array.shape[1]))
        corruption = core("Corruption", "float64")(
            _core.CorruptionName.masking, Masking(0.3).numbers(), KEY
        )
        trainer = core_trainer(
            network,
            core_input(x, "float64", layout),
            None,
            dtype="float64",
            loss=_core.Loss.squared_error,
            batch_size=6,
            corruption=corruption,
        )
        take_steps(trainer, np.tile(np.arange(6), (2, 1)))
        found.append(network.get_parameters(0)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NOISES)
def test_is_a_value(name):
    noise = NOISES[name]
    assert pickle.loads(pickle.dumps(noise)) == noise
    assert noise != type(noise)(**{**vars(noise), "emphasis": (1, 0)})
    assert noise == type(noise)(**{**vars(noise), "emphasis": [1, 1]})


@pytest.mark.parametrize("value", ["mask", 0.25, Masking, [Masking()]])
def test_what_is_no_corruption(value):
    with pytest.raises(DataError, match=r"^corruption: expected (one of masking|None, a name or)"):
        Autoencoder(4, 2).fit(np.ones((3, 4)), batch_size=2, corruption=value)


@pytest.mark.parametrize("kind", [Masking, SaltAndPepper, Swap])
@pytest.mark.parametrize("share", [-0.1, 1, 2, "a", None, float("nan")])
def test_what_is_no_share(share, kind):
    with pytest.raises(DataError, match="share: expected "):
        kind(share)


@pytest.mark.parametrize("emphasis", [1, None, "ab", (1,), (1, 2, 3), (-1, 1), (0, 0), (1, np.inf)])
def test_what_is_no_emphasis(emphasis):
    with pytest.raises(DataError, match="emphasis: expected "):
        Masking(emphasis=emphasis)


def test_noise_on_all_features_with_weight_on_the_others_alone():
    with pytest.raises(DataError, match=r"^emphasis: expected more than 0 .* got \(0.0, 1.0\)$"):
        Gaussian(0.1, emphasis=(0, 1))


@pytest.mark.parametrize("stddev", [-0.1, "a", None, np.inf])
def test_what_is_no_standard_deviation(stddev):
    with pytest.raises(DataError, match="stddev: expected "):
        Gaussian(stddev)


@pytest.mark.parametrize("ends", [(1, 0), (0, 0), (0, np.nan), (None, 1)])
def test_what_are_no_extremes(ends):
    with pytest.raises(DataError, match=r"(low|high): expected "):
        SaltAndPepper(low=ends[0], high=ends[1])


@pytest.mark.parametrize("noise", [Gaussian(1e39), Gaussian(1e-50), SaltAndPepper(high=1e300)])
def test_numbers_that_float32_cannot_hold(noise):
    with pytest.raises(DataError, match="corruption: expected numbers that float32 holds, got "):
        Autoencoder(4, 2).fit(np.ones((3, 4)), batch_size=2, corruption=noise)


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_pytorch_with_the_same_masks(loss):
    """A sigmoid code, masking noise handed over, 60 steps."""
    torch = pytest.importorskip("torch")
    x = draw_x(N, N_FEATURES, zeros=0.6).astype(np.float64)
    batches = np.random.default_rng(4).integers(0, N, (60, 15))
    output = "linear" if loss == "squared_error" else "sigmoid"
    functions = {"activation": "sigmoid", "output": output}
    ae = Autoencoder(N_FEATURES, 8, **functions, init="he", seed=1, dtype="float64")
    p = {name: torch.tensor(value, requires_grad=True) for name, value in ae.parameters.items()}
    ae.fit(x, batches=batches, corruption=Masking(0.25), adam="torch", loss=loss)
    of_z = {
        "squared_error": torch.nn.MSELoss(reduction="sum"),
        "binary_cross_entropy": torch.nn.BCEWithLogitsLoss(reduction="sum"),
    }[loss]
    adam, key = torch.optim.Adam(p.values(), lr=1e-3), int(stream_key(1, Purpose.CORRUPTION, 1)[0])
    for step, batch in enumerate(batches, start=1):
        kept = torch.tensor(~ref.choose(key, 0.25, (15, N_FEATURES), step))
        clean = torch.tensor(x[batch])
        code = torch.sigmoid((clean * kept) @ p["W_enc"] + p["b_enc"])
        adam.zero_grad()
        of_z(code @ p["W_dec"] + p["b_dec"], clean).backward()
        adam.step()
    for name, value in p.items():
        expected = value.detach().numpy()
        assert np.abs(ae.parameters[name] - expected).max() <= 1e-9 * np.abs(expected).max()


def test_noise_has_the_units_of_the_samples():
    units = Units(unit=0.25)
    assert Gaussian(0.3, emphasis=(1, 0)).in_units(units) == Gaussian(1.2, emphasis=(1, 0))
    assert SaltAndPepper(low=0, high=6).in_units(units) == SaltAndPepper(low=0, high=24)
    assert Masking().in_units(units) == Masking()
    far = Units(zero=(5.0, 7.0))
    assert Gaussian(0.3).in_units(far) == Gaussian(0.3)
    with pytest.raises(DataError, match="corruption: expected none with a low and a high"):
        SaltAndPepper().in_units(far)
