# SPDX-License-Identifier: BSD-3-Clause
"""Studies: their runs are those of the experiment, nothing is lost or done twice, all is told."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import json
import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from data_helpers import write_set
from helpers import TIME_LIMIT, draw_x, draw_y
from sae_fast import (
    ArmResult,
    CheckpointError,
    DataError,
    ExecutorError,
    OutputError,
    cli,
    run_experiment,
    run_study,
)
from sae_fast.datasets import Dataset
from sae_fast.experiment.report import command_line
from sae_fast.experiment.save import claimed_output
from sae_fast.experiment.settings import EXECUTORS, StudySettings, options
from sae_fast.experiment.studies import runs, save, study
from sae_fast.experiment.studies.conclusion import sentences
from sae_fast.experiment.studies.grid import list_pairs, list_tasks, share_of
from sae_fast.experiment.studies.pools import POOLS
from sae_fast.experiment.studies.samples import Pair, Sample, list_leads
from sae_fast.experiment.studies.save import OUTPUT_NAMES, check_folder

N_TRAIN, N_TEST = 200, 60
SMALL = {
    "hidden": [9, 5], "pretrain_steps": 10, "finetune_steps": 150, "batch_size": 20,
    "learning_rate": 0.01, "eval_every": 50, "threads": 1, "quiet": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, y = draw_x(N_TRAIN + N_TEST, 30, zeros=0.6), draw_y(N_TRAIN + N_TEST, 5)
    return Dataset(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], "small")


@pytest.fixture(scope="module")
def whole(data):
    return run_study(dataset=data, seeds=4, arms=["pretrained", "he"], **SMALL)


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory):
    """The files of a study, and their folder: pictures take time."""
    folder = tmp_path_factory.mktemp("study")
    return whole.save(folder), folder


@pytest.fixture(scope="module")
def document(data):
    """A run of a study, and what its file says."""
    [task] = list_tasks(StudySettings(arms="he", seeds=1, **SMALL))
    return task, runs.compute_run(runs.Context(data), task)


def timeless(value):
    """Leave out what a clock says."""
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key != "seconds"}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def saved(folder: Path) -> dict:
    return timeless(json.loads((folder / "study.json").read_text("utf-8")))


# The runs


def test_runs_have_the_bits_of_the_arms_of_the_experiment(data):
    options = {**SMALL, "tune_steps": 10, "arms": ["pretrained", "normal", "he"]}
    expected = run_experiment(dataset=data, seed=3, **options)
    found = run_study(dataset=data, seed=3, seeds=1, **options)
    for run, (name, arm) in zip(found.runs, expected.arms.items(), strict=True):
        assert run.arm == name
        assert dataclasses.replace(run.curve, seconds=0) == dataclasses.replace(arm, seconds=0)
        assert run.collapse == expected.collapse(name)


def test_runs_that_cannot_differ_are_one():
    settings = StudySettings(
        seeds=2,
        grid={"pretrain_steps": [5, 9], "learning_rate": [0.1, 0.2]},
        arms=["pretrained", "he"],
    )
    names = [str(task.variant) for task in list_tasks(settings)][::2]
    assert names == [
        "pretrained, pretrain_steps=5, learning_rate=0.1", "he, learning_rate=0.1",
        "pretrained, pretrain_steps=5, learning_rate=0.2", "he, learning_rate=0.2",
        "pretrained, pretrain_steps=9, learning_rate=0.1",
        "pretrained, pretrain_steps=9, learning_rate=0.2",
    ]  # fmt: skip
    pairs = [(str(a), str(b)) for a, b in list_pairs(settings)]
    assert len(set(pairs)) == len(pairs) == 8
    assert ("he, learning_rate=0.2", "he, learning_rate=0.1") in pairs


def test_a_default_rate_is_that_of_each_optimizer():
    settings = StudySettings(grid={"optimizer": ["adam", "sgd"]}, arms="he")
    rates = {task.settings.optimizer: task.settings.learning_rate for task in list_tasks(settings)}
    assert rates == {"adam": 0.001, "sgd": "auto"}


@pytest.mark.parametrize("n_shards", [1, 3, 7, 50])
def test_shards_are_all_runs_once(n_shards):
    tasks = list_tasks(StudySettings(seeds=5, grid={"hidden": [[5], [6, 7]]}))
    shares = [list(share_of(tasks, (i + 1, n_shards))) for i in range(n_shards)]
    assert sorted(map(len, shares))[-1] - min(map(len, shares)) <= 1
    assert sorted(id(task) for share in shares for task in share) == sorted(map(id, tasks))


def test_files_are_named_for_people(data):
    settings = StudySettings(grid={"hidden": [[9], [5]]}, arms="he", seeds=1, batch_size=100)
    names = [runs.file_of(Path(), task, data).name for task in list_tasks(settings)]
    assert [name.rpartition("-")[0] for name in names] == [
        "he-seed0000-hidden=9",
        "he-seed0000-hidden=5",
    ]
    long = StudySettings(hidden=[100] * 90, arms="he", seeds=1)
    assert len(runs.file_of(Path(), list_tasks(long)[0], data).name) < 120


def test_executors_have_the_names_of_their_pools():
    assert tuple(POOLS) == EXECUTORS


# Order, extension, shards


@pytest.mark.parametrize("seed", range(2))
def test_order_of_ends_has_no_influence(seed, whole, data, monkeypatch):
    def shuffled(tasks, work, context, **_):
        order = np.random.default_rng(seed).permutation(len(tasks)).tolist()
        yield from ((index, work(context, tasks[index])) for index in order)

    monkeypatch.setattr(study, "run_tasks", shuffled)
    again = run_study(dataset=data, seeds=4, arms=["pretrained", "he"], **SMALL)
    assert timeless(again.to_dict()) == timeless(whole.to_dict())


def test_an_extended_study_is_one_made_at_once(whole, data, tmp_path, monkeypatch, no_pictures):
    """Fewer seeds and arms first, by shards; then all, with nothing computed twice."""
    computed = []
    compute = study.compute_run
    monkeypatch.setattr(
        study, "compute_run", lambda c, task: computed.append(task) or compute(c, task)
    )
    part = {"dataset": data, "output": tmp_path, **SMALL}
    found = [run_study(seeds=2, arms="he", shard=(i, 2), **part) for i in (2, 1)]
    assert [len(one.missing) for one in found] == [1, 0]
    assert len(computed) == 2
    extended = run_study(
        dataset=data, seeds=4, arms=["pretrained", "he"], output=tmp_path, resume=True, quiet=True
    )
    assert len(computed) == len({(t.variant, t.seed) for t in computed}) == 8
    assert timeless(extended.to_dict()) == timeless(whole.to_dict()) == saved(tmp_path)
    gathered = run_study(dataset=data, output=tmp_path, resume=True, quiet=True)
    assert len(computed) == 8
    assert gathered.to_dict() == extended.to_dict()


@pytest.mark.parametrize("lost", ["", '{"schema'])
def test_lost_settings_do_not_lose_the_runs(lost, data, tmp_path, monkeypatch, no_pictures):
    """What the error advises is done here."""
    folder, new = tmp_path / "study", tmp_path / "new"
    given = {"dataset": data, "arms": ["pretrained", "he"], "seeds": 2, **SMALL}
    whole = run_study(output=folder, **given)
    if lost:
        (folder / "settings.json").write_text(lost)
    else:
        (folder / "settings.json").unlink()
    with pytest.raises((CheckpointError, DataError), match="move that into a new folder") as found:
        run_study(output=folder, resume=True, quiet=True)
    assert str(folder / "runs") in str(found.value)
    new.mkdir()
    (folder / "runs").rename(new / "runs")
    monkeypatch.setattr(study, "compute_run", None)
    assert timeless(run_study(output=new, **given).to_dict()) == timeless(whole.to_dict())


def test_what_may_not_change(data, tmp_path, no_pictures):
    given = {"dataset": data, "arms": "he", "seeds": 1, "output": tmp_path, **SMALL}
    run_study(**given)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    before[tmp_path / ".sae-fast-1-of-2.lock"] = b""
    other = dataclasses.replace(data, x_train=data.x_train + 1)
    for error, words, changes in [
        (CheckpointError, "resume=True", {}),
        (
            DataError,
            r"^finetune_steps: expected .*settings.json', got finetune_steps 41 where it has 150$",
            {"finetune_steps": 41, "resume": True},
        ),
        (DataError, "^dataset: .*got data with the SHA-256 ", {"dataset": other, "resume": True}),
        (DataError, "^seeds: expected .* got seeds 2 where it has 1", {"seeds": 2, "shard": "1/2"}),
    ]:
        with pytest.raises(error, match=words):
            run_study(**{**given, **changes})
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(OutputError, match="of sae-fast study"):
        run_experiment(dataset=data, arms=["he"], output=tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("error", "words", "changes"),
    [
        (ExecutorError, "executor: 'mpi' has to be started as", {"executor": "mpi"}),
        (OutputError, "is a file", {"output": "file"}),
        (OutputError, "expected a folder that no other run is using", {"output": "taken"}),
        (DataError, "^hidden, .* expected the settings in", {"output": "other", "shard": "1/2"}),
    ],
)
def test_it_is_refused_before_data_are_there(error, words, changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "load_data", None)
    Path("file").touch()
    Path("other").mkdir()
    save.write_settings(Path("other"), StudySettings(output="other").config())
    before = sorted(tmp_path.rglob("*"))
    with claimed_output("taken", check_folder), pytest.raises(error, match=words):
        run_study(**{"dataset": "strokes", "output": "new", **SMALL, **changes})
    assert {*tmp_path.rglob("*")} - {*before} <= {Path("other/.sae-fast-1-of-2.lock").absolute()}


def test_a_folder_is_of_one_study_at_a_time(data, tmp_path, no_pictures):
    given = {"dataset": data, "arms": "he", "seeds": 2, "output": tmp_path, **SMALL}
    with claimed_output(tmp_path, check_folder, "-1-of-2"):
        with pytest.raises(OutputError, match="no other run"):
            run_study(**given, shard="1/2")
        assert len(run_study(**given, shard="2/2").runs) == 1
    new = tmp_path / "new"
    one_class = dataclasses.replace(data, y_train=0 * data.y_train, y_test=0 * data.y_test)
    with pytest.raises(DataError, match="two classes"):
        run_study(**{**given, "dataset": one_class, "output": new})
    assert not new.exists()
    with claimed_output(new, check_folder):
        shutil.rmtree(new)  # whoever does
    assert not new.exists()


def test_a_run_is_found_by_the_name_that_it_has_always_had(tmp_path):
    """A setting that studies do not know is no part of it."""
    settings = StudySettings(arms=["he"], batch_size=100, learning_rate=0.001)
    [task, *_] = list_tasks(settings)
    mnist = "328cffbb9511e9eb2f910d502c501ecbc30d7345983e751ec6414b868bbc1e70"
    found = runs.file_of(tmp_path, task, types.SimpleNamespace(sha256=mnist))
    assert found.name == "he-seed0000-f4ed56a351d4.json"


def test_who_writes_a_run_that_is_there_hurts_nobody(data, tmp_path, monkeypatch, no_pictures):
    """Another process has computed it too, and cleared away what this one was about to rename."""
    write = study.write_run

    def lose(path, document):
        write(path, document)
        raise FileNotFoundError(path)

    monkeypatch.setattr(study, "write_run", lose)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".of-a-process-that-was-killed.tmp").touch()
    assert len(run_study(dataset=data, arms="he", seeds=2, output=tmp_path, **SMALL).runs) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"{}", "damaged"),
        (b"[" * 10**5, "damaged"),
        ("config", "of a run with other config"),
        ("data", "of a run with other data"),
        ("result", "damaged"),
    ],
)
def test_a_run_file_that_is_not_right_is_named_and_computed_again(
    content, words, data, tmp_path, no_pictures
):
    given = {"dataset": data, "arms": "he", "seeds": 2, "output": tmp_path, **SMALL}
    expected = run_study(**given).to_dict()
    [path, _] = sorted((tmp_path / "runs").iterdir())
    whole = path.read_bytes()
    if isinstance(content, str):
        document = json.loads(whole)
        document[content] = {"steps": [1]}
        content = json.dumps(document).encode()
    path.write_bytes(content)
    with pytest.warns(study.RunFileWarning, match=words) as found:
        again = run_study(**given, resume=True)
    assert str(path) in str(found[0].message)
    assert timeless(again.to_dict()) == timeless(expected)
    assert timeless(json.loads(path.read_bytes())) == timeless(json.loads(whole))


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("result", {"test_accuracy": [value, 0.5, 0.5]})
        for value in (99.9, -1, True, None, math.nan, math.inf, "0.5")
    ]
    + [
        ("result", {"test_accuracy": [0.5, 0.5]}),
        ("result", {"test_loss": []}),
        ("result", {"test_loss": [-1, 2, 3]}),
        ("result", {"steps": [50, 150, 100]}),
        ("result", {"steps": [], "test_loss": [], "test_accuracy": []}),
        ("result", {"dead_units": [1, 2, 3]}),
        ("result", {"dead_units": [1, 6]}),
        ("result", {"dead_units": [1, 0.5]}),
        ("result", {"seconds": -1}),
        ("document", {"divergence": {}}),
        ("document", {"result": None}),
        ("document", {"result": None, "divergence": {}}),
        ("document", {"collapse": "foo"}),
        ("document", {"chance": 2}),
        ("document", {"seconds": "1"}),
        ("document", {"environment": []}),
    ],
)
def test_a_run_file_that_says_what_cannot_be_is_damaged(where, changes, data, document):
    task, whole = document
    assert runs.run_of(task, whole, data).curve.steps == [50, 100, 150]
    changed = json.loads(json.dumps(whole))
    (changed["result"] if where == "result" else changed).update(changes)
    with pytest.raises(DataError, match=r"^damaged \("):
        runs.run_of(task, changed, data)


# Outcomes


def test_a_run_that_diverges_is_an_outcome(data, tmp_path, no_pictures):
    found = run_study(
        dataset=data,
        arms="he",
        seeds=3,
        grid={"learning_rate": [1e-3, 1e30]},
        output=tmp_path,
        **SMALL,
    )
    fine, diverged = found.arms.values()
    assert [run.divergence is None for run in found.runs] == [True] * 3 + [False] * 3
    assert (diverged.n_collapsed, diverged.n_never, diverged.n_diverged) == (3, 3, 3)
    chance = np.bincount(data.y_test).max() / N_TEST
    assert diverged.accuracies == [chance] * 3
    [pair] = found.pairs
    expected = [chance - run.accuracy for run in fine.runs]
    assert pair.accuracy.differences == expected
    for table in found.tables()[:4]:
        assert table.rows[1]["runs"] == "3, 3 diverged"
    document = saved(tmp_path)
    assert [run["final_accuracy"] for run in document["runs"][3:]] == [None] * 3
    assert all("finite" in run["how"] for run in document["runs"][3:])
    again = run_study(dataset=data, output=tmp_path, resume=True, quiet=True)
    assert timeless(again.to_dict()) == document


def test_the_conclusion_says_what_diverged(whole):
    """And claims no lead where there is none."""
    fine, other = (dataclasses.replace(sample, name=name) for name, sample in whole.arms.items())
    gone = [dataclasses.replace(run, curve=None, divergence="a loss is NaN") for run in other.runs]

    def concluded(a, b):
        pair = Pair(dataclasses.replace(fine, runs=a), dataclasses.replace(other, runs=b))
        p = {(0, what): one for what, one in pair.p_values().items()}
        return sentences([pair], p, 0)[0]

    assert "diverged" not in concluded(fine.runs, other.runs)
    text = concluded(fine.runs, gone)
    assert "4 pairs of runs. 0 and 4 of them diverged, and count as a guess. " in text
    both = concluded(gone, gone)
    assert both.endswith("4 pairs of runs. All diverged, so that there is nothing to compare.")
    a = [dataclasses.replace(gone[i], chance=chance) for i, chance in enumerate((0.1, 0.3, 0.2))]
    b = [dataclasses.replace(run, chance=0.2) for run in gone[:2]] + [other.runs[2]]
    a[2] = dataclasses.replace(a[2], chance=b[2].accuracy)
    assert "open: neither is ahead in the median (3 pairs" in concluded(a, b)
    [*_, few] = sentences(whole.pairs, whole.corrected, 0)
    assert "4 pairs are few: even if all agreed, a test, corrected" in few
    assert "could end no lower than p = 0." in few


def test_the_best_point_is_named_and_its_lead_is_settled_or_open(whole):
    """By an interval and a test, corrected for the choice of two among all points."""
    [he] = [sample for sample in whole.arms.values() if sample.arm == "he"]

    def point(rate, accuracies):
        curves = [ArmResult([1], [1.0], [one], [0, 0], 0.0) for one in accuracies]
        runs = [
            dataclasses.replace(he.runs[0], seed=seed, curve=curve, collapse=None)
            for seed, curve in enumerate(curves)
        ]
        return Sample(f"he, learning_rate={rate}", "he", {"learning_rate": rate}, runs)

    worst, second, best = (
        point(rate, [level + seed / 1000 for seed in range(12)])
        for rate, level in [(0.1, 0.5), (0.2, 0.7), (0.4, 0.8)]
    )
    assert list_leads([worst]) == []
    [lead] = list_leads([worst, best, second])
    assert lead.points == [best, second, worst]
    p = lead.p_value()
    assert p == pytest.approx(3 * 2**-11)
    [said, *_] = sentences([], {("he", "lead"): p}, 0, [lead])
    assert said.startswith("he is best with learning-rate=0.4: median 80.55 % (95 % interval ")
    assert "of 3 points, learning-rate=0.2, is settled: 10.00 points in the median pair" in said
    [said, *_] = sentences([], {("he", "lead"): 0.06}, 0, [lead])
    assert said.endswith("of 3 points, learning-rate=0.2, is open.")
    [even] = list_leads([best, worst, point(0.3, best.accuracies)])
    [said, *_] = sentences([], {("he", "lead"): 1.0}, 0, [even])
    assert said == ("he is best with no point of the grid alone: 2 of 3 have a median of 80.55 %.")


def test_a_run_that_fails_is_none(data, tmp_path, monkeypatch, no_pictures):
    compute = study.compute_run

    def fail(context, task):
        if task.seed == 1:
            raise MemoryError("too large")
        return compute(context, task)

    given = {"dataset": data, "arms": ["normal", "he"], "seeds": 3, **SMALL}
    with monkeypatch.context() as patch:
        patch.setattr(study, "compute_run", fail)
        found = run_study(output=tmp_path, **given)
    assert [one["seed"] for one in found.missing] == [1, 1]
    assert all("MemoryError: too large" in one for one in found.failures)
    assert [len(pair.runs) for pair in found.pairs] == [2]
    assert found.conclusion.startswith("This is no conclusion yet: 2 runs are missing.")
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert not run_study(dataset=data, output=tmp_path, resume=True, quiet=True).missing


def test_what_is_written(whole, written):
    files, folder = written
    pytest.importorskip("pyarrow")
    assert {file.name for file in files} == set(OUTPUT_NAMES)
    document = saved(folder)
    assert document.keys() == {
        "schema", "command", "dataset", "config", "runs", "arms", "pairs", "best", "conclusion",
        "missing", "environment",
    }  # fmt: skip
    arm = document["arms"]["he"]
    accuracies = [run["final_accuracy"] for run in document["runs"] if run["arm"] == "he"]
    assert arm["n"] == len(accuracies) == 4
    assert arm["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert arm["median_accuracy"] == pytest.approx(np.median(accuracies))
    steps = [run["steps_to_90"] for run in document["runs"] if run["arm"] == "he"]
    median = np.median([math.inf if at is None else at for at in steps])
    assert arm["median_steps_to_90"] == (None if math.isinf(median) else median)
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["final_accuracy"]) for row in rows[4:]] == accuracies
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "runs.parquet").to_pylist()
    assert [row["final_accuracy"] for row in table[4:]] == accuracies
    assert [row["dead_units_2"] for row in table] == [run.dead_units[1] for run in whole.runs]


def test_what_is_no_number_everywhere_is_text_in_parquet(whole):
    parquet = pytest.importorskip("pyarrow.parquet")
    kinds = [(2**64, {"learning_rate": "auto"}), (1, {"learning_rate": 0.001})]
    changed = [
        dataclasses.replace(run, seed=seed, settings=settings)
        for run, (seed, settings) in zip(whole.runs, kinds, strict=False)
    ]
    content = save._parquet([save._row(run) for run in changed])
    rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    assert [row["seed"] for row in rows] == [str(2**64), "1"]
    assert [row["learning_rate"] for row in rows] == ["auto", "0.001"]
    assert [row["final_accuracy"] for row in rows] == [run.accuracy for run in changed]


def test_the_documentation_can_show_it(data, tmp_path, no_pictures):
    grid = {"pretrain_steps": [10, [10, 0]], "learning_rate": [0.01, 1e30]}
    found = run_study(
        dataset=data, seeds=2, arms=["pretrained"], grid=grid, output=tmp_path, **SMALL
    )
    document = json.loads((tmp_path / "study.json").read_text("utf-8"))
    document["config"]["dataset"] = "strokes"
    (tmp_path / "study.json").write_text(json.dumps(document), "utf-8")
    path = Path(__file__).parents[1] / "docs" / "answers.py"
    spec = importlib.util.spec_from_file_location("answers", path)
    answers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(answers)
    pages = [tmp_path / "one.md", tmp_path / "other.md"]
    parts = ["command", *answers.TABLES, "conclusion", "accuracy"]
    pages[0].write_text(f"Before.\n<!-- study it {' '.join(parts)} -->\nold\n<!-- end -->\nAfter.")
    pages[1].write_text("<!-- study another arms -->\nold\n<!-- end -->\n")
    placed = []
    for _ in range(2):  # the second time it finds what it has written
        assert answers.write("it", tmp_path, pages, lambda *where: placed.append(where))
        text = pages[0].read_text("utf-8")
    assert placed == [(tmp_path / "accuracy.png", "study_it_accuracy")] * 2
    assert "old" not in text
    assert text.startswith("Before.\n")
    assert text.endswith("study_it_accuracy.png)\n\n<!-- end -->\nAfter.")
    assert text.count("\n```\nsae-fast study --dataset strokes ") == 1
    assert "--grid pretrain-steps=10,10/0 --grid learning-rate=0.01,1e+30" in text
    point = "| pretrained | 10/0 | 0.01 | 2 |"
    assert text.count(f"\n{point}") == 3  # of arms, points and dead units
    [seed] = [line for line in text.splitlines() if line.startswith("| 1 | ")]
    first = found.runs[1]
    assert seed.startswith(f"| 1 | {'**' * first.collapsed}{100 * first.accuracy:.2f}")
    assert seed.endswith(" | **diverged** | never |")
    assert all(f"\n- {line}\n" in text for line in found.conclusion.splitlines())
    assert not answers.write("third", tmp_path, pages, placed.append)
    pages[1].write_text("<!-- study it arms colours -->\n<!-- end -->\n")
    with pytest.raises(SystemExit, match="nothing is called colours"):
        answers.write("it", tmp_path, pages[1:], placed.append)


def test_what_it_says_of_itself(whole):
    assert repr(whole).startswith("<StudyResult: sae-fast study on small, 200 training samples: 8 ")
    assert "Steps to 90 %" in whole.summary()
    assert "<table>" in whole._repr_html_()
    lines = whole.summary().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(whole.conclusion.split()) in " ".join(whole.summary().split())


def test_the_report_stands_alone_and_repeats(whole, written):
    page = (written[1] / "report.html").read_text("utf-8")
    assert page.count("<img ") == page.count("<figcaption>") == 4
    assert "https:" not in page
    result = dataclasses.replace(whole, config={**whole.config, "dataset": "strokes"})
    result.config["grid"] = {
        "hidden": [[9, 5], [4, 4]],
        "learning_rate": [0.1, 0.2],
        "pretrain_steps": [30, [3, 0]],
        "activation": ["relu", ["sigmoid", "linear"]],
    }
    words = shlex.split(command_line(result))
    read = vars(cli._parser().parse_args(words[1:]))
    again = StudySettings(
        **{
            option.name: read[option.name]
            for option in options(StudySettings)
            if option.name in read
        }
    )
    assert again.config() == result.config


# The command


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_set(folder, n_train=N_TRAIN, n_test=N_TEST, side=(6, 8), labels=range(4))
    return folder


def command(data_dir: Path, output: Path, *more: str) -> list[str]:
    settings = (
        f"study --dataset idx --data-dir {data_dir} --output {output} --seeds 5 --arms normal,he "
        "--hidden 9,5 --finetune-steps 600 --batch-size 20 --grid learning-rate=0.001,0.002"
    )
    return [*settings.split(), *more]


def test_the_command_says_what_it_did(data_dir, tmp_path, capsys, no_pictures):
    out = tmp_path / "study"
    assert cli.main(command(data_dir, out, "--shard=1/2")) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"10 of 20 runs are in {out}; ")
    assert "study: 100%, 10 of 10 runs" in printed.err
    assert cli.main(["study", "--resume", f"--output={out}", "--executor=processes"]) == 0
    printed = capsys.readouterr()
    assert "what is there: 100%, 10 of 20 runs" in printed.err
    assert "Final accuracy" in printed.out
    assert f"report.html are in {out}" in printed.out
    assert cli.main(command(data_dir, out, "--quiet")) == 1
    assert f"`sae-fast study --resume --output {out}` to go on" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_study_that_is_killed_goes_on(data_dir, tmp_path, no_pictures):
    """At a random moment, then by Ctrl-C, which ends what is under way."""
    kept, whole = tmp_path / "killed", tmp_path / "whole"
    assert cli.main(command(data_dir, whole, "--quiet")) == 0
    moments = random.Random(os.getpid())
    for number in (signal.SIGKILL, signal.SIGINT):
        words = command(data_dir, kept, "--quiet", "--threads=2")
        if (kept / "settings.json").exists():
            words.append("--resume")
        process = subprocess.Popen(
            [sys.executable, "-m", "sae_fast", *words], stderr=subprocess.PIPE, text=True
        )
        wanted = len(list(kept.glob("runs/*.json"))) + moments.randint(1, 3)
        ends = time.monotonic() + TIME_LIMIT
        while len(list(kept.glob("runs/*.json"))) < wanted and process.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.001)
        process.send_signal(number)
        _, err = process.communicate(timeout=TIME_LIMIT)
        if process.returncode == 130:
            assert (
                err == f"sae-fast: interrupted; `sae-fast study --resume --output {kept}` goes on\n"
            )
        else:
            assert process.returncode in (0, -number), err
    assert cli.main(["study", "--quiet", "--resume", f"--output={kept}"]) == 0
    assert saved(kept) == saved(whole)
    assert not list(kept.rglob("*.tmp"))
