# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints and pickles of every release so far are taken up, with the bits of today's runs.

`make_checkpoints.py` writes them for a release: runs that were broken off in the midst.
"""

from __future__ import annotations

import pickle
import platform
import shutil

import make_checkpoints as made
import pytest
import sae_fast
from helpers import assert_identical

pytestmark = pytest.mark.skipif(
    (platform.machine(), sae_fast.info()["isa"] != "baseline") != ("x86_64", True),
    reason="the files hold what fused arithmetic on x86-64 gave",
)

RELEASES = sorted(path.name for path in made.FOLDER.iterdir())


def assert_same_histories(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one.steps, one.loss, one.accuracy) == (other.steps, other.loss, other.accuracy)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("dtype", made.DTYPES)
@pytest.mark.parametrize("phase", made.PHASES)
def test_a_program_goes_on(release, dtype, phase, tmp_path):
    net, histories = made.program(tmp_path / "whole", dtype)
    folder = shutil.copytree(made.FOLDER / release / f"{phase}-{dtype}", tmp_path / "broken")
    again, found = made.program(folder, dtype, checks=[made.Resumes(phase)])
    assert_identical(again.parameters, net.parameters)
    for one, other in zip(again.autoencoders, net.autoencoders, strict=True):
        assert_identical(one.parameters, other.parameters)
    assert_same_histories(found, histories)


@pytest.mark.parametrize("release", RELEASES)
def test_an_experiment_goes_on(release, tmp_path):
    whole = made.experiment()
    folder = shutil.copytree(made.FOLDER / release / "run", tmp_path / "run")
    again = made.experiment(output=folder, resume=True)
    for arm, model in whole.models.items():
        assert_identical(again.models[arm].parameters, model.parameters)
        for name in ("steps", "test_loss", "test_accuracy"):
            assert getattr(again.arms[arm], name) == getattr(whole.arms[arm], name)


@pytest.mark.parametrize("release", RELEASES)
def test_settings_that_an_experiment_lacks_were_their_defaults(release, tmp_path):
    folder = shutil.copytree(made.FOLDER / release / "run", tmp_path / "run")
    with pytest.raises(sae_fast.CheckpointError, match="got activation 'tanh' where it has 'relu'"):
        made.experiment(output=folder, resume=True, activation="tanh")


@pytest.mark.parametrize("release", RELEASES)
def test_a_result_is_what_it_was(release):
    old = pickle.loads((made.FOLDER / release / "result.pickle").read_bytes())
    new = made.experiment()
    for arm, run in new.arms.items():
        assert old.arms[arm].test_loss == run.test_loss
        assert old.arms[arm].dead_units == run.dead_units
    for one, other in zip(old.pretraining, new.pretraining, strict=True):
        assert (one.steps, one.loss) == (other.steps, other.loss)
    assert len(old.summary().splitlines()) == len(new.summary().splitlines())


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("dtype", made.DTYPES)
def test_a_pickle_goes_on(release, dtype):
    path = made.FOLDER / release / f"stack-{dtype}.pickle"
    old, new = pickle.loads(path.read_bytes()), made.short_training(dtype)
    for net in (old, new):
        made.go_on(net)
    assert_identical(old.parameters, new.parameters)
    for one, other in zip(old.autoencoders, new.autoencoders, strict=True):
        assert_identical(one.parameters, other.parameters)
