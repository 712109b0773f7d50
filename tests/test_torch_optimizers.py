# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers and schedules against PyTorch's own, step for step on the same batches, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, draw_batches, draw_x
from sae_fast import Autoencoder, schedules
from sae_fast.optimizers import SGD, Adam, AdamW, RMSprop
from sae_fast.training.optimizers import RULES

torch = pytest.importorskip("torch")

N_STEPS, L2 = 60, 0.1

#: Of each optimizer: ours, the name of PyTorch's, its options beside the rate, the rate.
OPTIMIZERS = {
    "adam": (Adam("torch", 0.8, 0.99, 1e-6), "Adam", {"betas": (0.8, 0.99), "eps": 1e-6}, 1e-2),
    "adamw": (AdamW(), "AdamW", {"weight_decay": 0.01}, 1e-2),
    "adamw, strong": (
        AdamW(3.0, 0.8, 0.99, 1e-6),
        "AdamW",
        {"weight_decay": 3.0, "betas": (0.8, 0.99), "eps": 1e-6},
        1e-2,
    ),
    "sgd": (SGD(), "SGD", {}, 1e-3),
    "momentum": (SGD(0.9), "SGD", {"momentum": 0.9}, 1e-3),
    "nesterov": (SGD(0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}, 1e-3),
    "rmsprop": (RMSprop(), "RMSprop", {}, 1e-3),
    "rmsprop, other": (RMSprop(0.8, 1e-3), "RMSprop", {"alpha": 0.8, "eps": 1e-3}, 1e-2),
}

_WARMUP = 7


def _risen(t, factor):
    return (t + 1) / (_WARMUP + 1) if t < _WARMUP else factor(t - _WARMUP)


#: Of each schedule from a rate: ours, and PyTorch's own of an optimizer.
SCHEDULES = {
    "cosine": (
        schedules.Cosine,
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, N_STEPS),
    ),
    "cosine, told": (
        lambda rate: schedules.Cosine(rate, steps=90, final=rate / 10),
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, 90, eta_min=optimizer.param_groups[0]["lr"] / 10
        ),
    ),
    "step": (
        lambda rate: schedules.Step(rate, every=13, factor=0.5),
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 13, gamma=0.5),
    ),
    "exponential": (
        lambda rate: schedules.Exponential(rate, every=1, factor=0.97),
        lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.97),
    ),
    "warm-up": (
        lambda rate: schedules.Exponential(rate, every=20, factor=0.5, warmup=_WARMUP),
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: _risen(t, lambda t: 0.5 ** (t / 20))
        ),
    ),
    "function": (
        lambda rate: lambda t: rate / (1 + t),
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
    ),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Let PyTorch's threads not wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case():
    """Samples, batches and an autoencoder whose units are on and off."""
    x = draw_x(50, 30, zeros=0.5).astype(np.float64)
    rng = np.random.default_rng(3)
    shapes = {"W_enc": (30, 8), "b_enc": 8, "W_dec": (8, 30), "b_dec": 30}
    ae = Autoencoder(30, 8, dtype="float64", weight_decay=L2)
    ae.parameters = {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}
    return ae, x, draw_batches(N_STEPS, 12, 50)


def by_torch(ae, x, batches, name, options, rate, schedule=None, weight=None):
    """Return the parameters after as many steps of PyTorch's."""
    p = {name: torch.tensor(value, requires_grad=True) for name, value in ae.parameters.items()}
    optimizer = getattr(torch.optim, name)(list(p.values()), lr=rate, **options)
    if name == "AdamW":  # its decay is for weights alone
        weights = [value for key, value in p.items() if key.startswith("W")]
        biases = [value for key, value in p.items() if key.startswith("b")]
        groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rate, **options)
    scheduler = schedule and schedule(optimizer)
    samples = torch.tensor(x)
    factors = torch.ones(len(x)) if weight is None else torch.tensor(weight)
    for batch in batches:
        optimizer.zero_grad()
        clean = samples[batch]
        code = torch.relu(clean @ p["W_enc"] + p["b_enc"])
        errors = ((code @ p["W_dec"] + p["b_dec"] - clean) ** 2).sum(axis=1)
        decay = (p["W_enc"] ** 2).sum() + (p["W_dec"] ** 2).sum()
        ((errors * factors[batch]).sum() + L2 / 2 * decay).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return {key: value.detach().numpy() for key, value in p.items()}


@pytest.mark.parametrize("case_name", OPTIMIZERS)
def test_optimizer(case_name):
    ours, name, options, rate = OPTIMIZERS[case_name]
    ae, x, batches = case()
    expected = by_torch(ae, x, batches, name, options, rate)
    ae.fit(x, batches=batches, optimizer=ours, learning_rate=rate)
    assert_close(ae.parameters, expected, 1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("case_name", ["adamw", "nesterov"])
def test_schedule(case_name, schedule):
    ours, name, options, rate = OPTIMIZERS[case_name]
    make, make_torch = SCHEDULES[schedule]
    ae, x, batches = case()
    expected = by_torch(ae, x, batches, name, options, rate, make_torch)
    ae.fit(x, batches=batches, optimizer=ours, learning_rate=make(rate))
    assert_close(ae.parameters, expected, 1e-9)


def test_sample_weight():
    ae, x, batches = case()
    weight = np.random.default_rng(0).random(len(x)) * 3
    weight[::7] = 0
    expected = by_torch(ae, x, batches, "AdamW", {}, 1e-2, weight=weight)
    ae.fit(x, batches=batches, optimizer="adamw", learning_rate=1e-2, sample_weight=weight)
    assert_close(ae.parameters, expected, 1e-9)


def test_every_optimizer_and_schedule_has_its_counterpart():
    assert {type(ours) for ours, *_ in OPTIMIZERS.values()} == set(RULES.values())
    made = {type(make(1e-3)).__name__ for make, _ in SCHEDULES.values()}
    assert made >= set(schedules.__all__) - {"Constant"}  # which every test without one has
