# SPDX-License-Identifier: BSD-3-Clause
"""Records, their JSON, their summary as text, and the folder that they are saved in."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_results import FakeModel, fake_reconstruct, fake_run
from sae_fast.base.files import write_file
from sae_fast.errors import DataError, OutputError, SaeFastError
from sae_fast.experiment.results import ArmResult
from sae_fast.experiment.save import OUTPUT_NAMES, ExperimentResult, check_output
from sae_fast.experiment.studies.save import check_folder, write_settings
from sae_fast.training.history import History


def strict_json(text: str) -> dict:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.mark.parametrize("module", ["plot", "experiment.save"])
def test_import_leaves_matplotlib_alone(module: str) -> None:
    code = f"import sys, sae_fast.{module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class TestArmResult:
    def test_derived_numbers(self) -> None:
        arm = ArmResult([100, 200, 300], [3, 2, 1], [0.5, 0.9, 0.96], [0], 1.0)
        assert arm.final_accuracy == 0.96
        assert arm.first_step_at_90 == 200

    def test_never_at_90(self) -> None:
        assert ArmResult([100], [3.0], [0.8999], [0], 1.0).first_step_at_90 is None

    def test_nothing_measured(self) -> None:
        arm = ArmResult([], [], [], [0], 0.0)
        assert math.isnan(arm.final_accuracy)


class TestVerdict:
    """Fewer than 90 % is no collapse by itself."""

    @pytest.mark.parametrize(
        ("accuracy", "dead_units", "verdict"),
        [
            (0.9, [99, 0, 0, 0, 0, 5], "he: 90.00 %, 90 % at step 100"),
            (0.6, [99, 0, 0, 0, 0, 3], "he collapsed: 60.00 %, 99 of 100 units of hidden layer 1"),
            (0.7634, [0, 0, 0, 0, 0, 4], "he collapsed: 76.34 %, 4 of 5 units of hidden layer 6"),
            (0.6, [0, 0, 0, 0, 4, 5], "he collapsed: 60.00 %, all 5 units of hidden layer 6 are"),
            (0.6, [50, 25, 12, 6, 3, 3], "he not finished: 60.00 %, more steps may help"),
            (0.12, [0] * 6, "he not finished: 12.00 %, more steps may help"),
            (0.1, [0] * 6, "he collapsed: 10.00 %, no better than naming the same class every"),
            (math.nan, [0] * 6, "he not finished: nan %"),
        ],
    )
    def test_each(self, accuracy: float, dead_units: list[int], verdict: str) -> None:
        result = fake_run(("he",), ())
        result.y_test = np.arange(500) % 10
        result.arms["he"] = ArmResult([100], [1.0], [accuracy], dead_units, 0.1)
        assert result.verdict("he").startswith(verdict)
        collapsed = "collapsed" in verdict
        assert result.to_dict()["arms"]["he"]["collapsed"] is collapsed
        assert (result.collapse("he") is not None) is collapsed

    def test_no_better_than_a_guess_where_one_class_prevails(self) -> None:
        result = fake_run(("he",), ())
        result.y_test = np.r_[np.zeros(95, int), np.ones(5, int)]
        result.arms["he"] = ArmResult([100], [1.0], [0.95], [0] * 6, 0.1)
        assert result.collapse("he") == "no better than naming the same class every time"

    def test_a_layer_of_one_unit_is_not_dead(self) -> None:
        result = fake_run(("he",), ())
        result.config["hidden"] = [1, 1]
        result.arms["he"] = ArmResult([100], [1.0], [0.6], [0, 0], 0.1)
        assert result.collapse("he") is None

    def test_reconstruct_has_one_for_each_method(self) -> None:
        assert fake_reconstruct().verdicts == [
            "autoencoder: mean squared error 0.00912 per feature",
            "PCA: mean squared error 0.00431 per feature",
        ]


class TestSaysWhatItIs:
    """In a line for repr, with tables for notebooks."""

    def test_result(self) -> None:
        assert repr(fake_run(("he",), ())) == (
            "<ExperimentResult: sae-fast run on mnist: 55,000 training samples, 10,000 test "
            "samples; he: 97.21 %, 90 % at step 800>"
        )
        assert "PCA: mean squared error 0.00431" in repr(fake_reconstruct())

    def test_parts(self) -> None:
        result = fake_run()
        assert repr(result.arms["he"]) == "<ArmResult of 30,000 steps: 97.21 %, 6 dead units>"
        assert repr(result.pretraining[0]) == (
            "<LayerResult 1, 784 → 100: loss 404,958, 15 of 100 units dead>"
        )
        assert repr(result.reconstructions) == (
            "<Reconstructions of 10 samples: autoencoder (MSE 0.00912), PCA (MSE 0.00431)>"
        )
        assert repr(ArmResult([], [], [], [], 0.0)).startswith("<ArmResult of 0 steps: nan %")

    def test_history(self) -> None:
        steps = list(range(1, 301))
        history = History(steps, [5.0 / n for n in steps], [n / 300 for n in steps], 12.34)
        assert repr(history) == "<History of 300 steps, loss 0.01667, accuracy 100.00 %, 12.3 s>"
        lines = history.summary().splitlines()
        assert lines[:4] == [repr(history)[1:-1], "", "Evaluations", "  step     loss  accuracy"]
        assert len(lines) == 14
        assert [lines[4].split()[0], lines[-1].split()[0]] == ["1", "300"]
        history.n_samples = 10
        assert "0.001667" in history.summary()
        assert (
            repr(History())
            == "<History without evaluations (no eval_set), 0.0 s>"
            == f"<{History().summary()}>"
        )

    def test_in_a_notebook(self) -> None:
        result = fake_run()
        result.dataset["name"] = "<b>"
        page = result._repr_html_()
        assert "&lt;b&gt;" in page
        assert "<b>" not in page
        assert page.count("<table>") == len(result.tables())
        assert "normal collapsed: 11.35 %" in page
        assert "<table>" not in History()._repr_html_()


class TestToDict:
    def test_keys_are_those_of_the_interface(self) -> None:
        document = fake_run().to_dict()
        assert list(document) == [
            "schema",
            "command",
            "dataset",
            "config",
            "pretraining",
            "arms",
            "seconds",
            "environment",
        ]
        assert document["schema"] == 1
        assert set(document["dataset"]) == {"name", "n_train", "n_test", "sha256"}
        assert set(document["pretraining"][0]) == {
            "layer",
            "n_in",
            "n_hidden",
            "steps",
            "loss",
            "dead_units",
            "seconds",
        }
        assert set(document["arms"]["he"]) == {
            "steps",
            "test_loss",
            "test_accuracy",
            "final_accuracy",
            "first_step_at_90",
            "seconds",
            "dead_units",
            "collapsed",
        }

    def test_numbers_are_those_of_the_records(self) -> None:
        result = fake_run()
        document = strict_json(json.dumps(result.to_dict(), allow_nan=False))
        for name, arm in result.arms.items():
            assert document["arms"][name]["test_accuracy"] == arm.test_accuracy
            assert document["arms"][name]["first_step_at_90"] == arm.first_step_at_90
        assert document["arms"]["normal"]["collapsed"] is True
        assert document["arms"]["normal"]["dead_units"] == [12, 3, 1, 4, 2, 5]
        assert [layer["layer"] for layer in document["pretraining"]] == [1, 2, 3, 4, 5, 6]

    def test_takes_numpy_numbers_paths_and_nan(self) -> None:
        result = fake_run()
        result.seconds = np.float32(1.5)
        result.config |= {"data_dir": Path("data"), "hidden": np.array([3, 2]), "flag": np.True_}
        result.arms["he"].test_loss = [np.float64(2.5), float("nan"), float("inf")]
        document = strict_json(json.dumps(result.to_dict(), allow_nan=False))
        assert document["seconds"] == 1.5
        assert document["config"]["data_dir"] == "data"
        assert document["config"]["hidden"] == [3, 2]
        assert document["config"]["flag"] is True
        assert document["arms"]["he"]["test_loss"] == [2.5, None, None]


class TestSummary:
    def test_shows_every_arm_and_layer(self) -> None:
        summary = fake_run().summary()
        assert "mnist: 55,000 training samples, 10,000 test samples" in summary
        rows = [line.split() for line in summary.splitlines()]
        assert ["1", "784", "100", "2,037,462", "404,958", "15", "3.0"] in rows
        assert ["pretrained", "96.42", "%", "2,400", "2", "of", "5"] in [row[:7] for row in rows]
        assert "trained in 45.2 s" in summary.splitlines()
        assert max(map(len, summary.splitlines())) <= 100

    def test_counts_from_where_it_was_resumed(self) -> None:
        result = fake_run()
        result.resumed = True
        assert result.summary().endswith("trained in 45.2 s since it was resumed")

    def test_names_a_collapse(self) -> None:
        summary = fake_run().summary()
        assert "normal collapsed: 11.35 %, all 5 units of hidden layer 6 are dead" in summary
        assert summary.count("collapsed") == 1

    def test_names_a_dead_layer_below_the_top(self) -> None:
        result = fake_run()
        result.arms["normal"].dead_units = [12, 3, 1, 12, 5, 5]
        assert "all 12 units of hidden layer 4 are dead" in result.summary()

    def test_names_a_collapse_without_a_dead_layer(self) -> None:
        result = fake_run()
        result.arms["normal"].dead_units = [0, 0, 0, 0, 0, 3]
        assert "collapsed: 11.35 %, no better than naming the same class" in result.summary()

    def test_no_collapse_no_mention(self) -> None:
        assert "collapsed" not in fake_run(collapsed=()).summary()

    def test_reconstruct_shows_both_errors(self) -> None:
        summary = fake_reconstruct().summary()
        assert "Fine-tuning" not in summary
        assert ["autoencoder", "0.00912"] in [line.split() for line in summary.splitlines()]
        assert ["PCA", "0.00431"] in [line.split() for line in summary.splitlines()]

    @pytest.mark.parametrize("arms", [("normal",), ("pretrained",), ("he", "normal")])
    def test_any_arms_one_point(self, arms: tuple[str, ...]) -> None:
        assert arms[0] in fake_run(arms, (), n_points=1).summary()


def quick_run() -> ExperimentResult:
    """Give a run with few pictures, which take their time."""
    result = fake_run(n_points=3)
    result.pretraining, result.reconstructions = [], None
    result.first_weights, result.codes, result.predictions = {}, {}, {}
    return result


def leave_earlier_run(folder: Path, command: str) -> None:
    for name in OUTPUT_NAMES:
        (folder / name).write_text("of an earlier run")
    (folder / "result.json").write_text(json.dumps({"schema": 1, "command": command}))


class TestSave:
    def test_writes_what_a_run_has(self, tmp_path: Path) -> None:
        result = fake_run(n_points=3)
        files = result.save(tmp_path / "new" / "out")
        assert {file.name for file in files} == set(OUTPUT_NAMES) - {"model.safetensors"}
        assert set((tmp_path / "new" / "out").iterdir()) == set(files)
        document = strict_json((tmp_path / "new" / "out" / "result.json").read_text("utf-8"))
        assert document == result.to_dict()
        assert (tmp_path / "new" / "out" / "model-he.safetensors").read_bytes() == b"he"

    def test_one_model_has_the_plain_name(self, tmp_path: Path) -> None:
        names = {file.name for file in fake_reconstruct().save(tmp_path)}
        assert "model.safetensors" in names
        assert not {"accuracy.png", "model-autoencoder.safetensors"} & names

    def test_removes_stale_files_of_its_own_and_no_others(self, tmp_path: Path) -> None:
        leave_earlier_run(tmp_path, "reconstruct")
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / "model-mine.safetensors").write_text("mine")
        files = fake_reconstruct().save(tmp_path)
        mine = {tmp_path / "notes.txt", tmp_path / "model-mine.safetensors"}
        assert set(tmp_path.iterdir()) == {*files, *mine}

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("report.html", "<p>mine</p>"),
            ("model.safetensors", "mine"),
            ("result.json", "{}"),
            ("result.json", '{"schema": 1, "command": "mine"}'),
            ("result.json", "[" * 10_000),
        ],
    )
    def test_refuses_what_is_not_its_own(self, tmp_path: Path, name: str, content: str) -> None:
        (tmp_path / name).write_text(content)
        for write in (fake_run().save, fake_reconstruct().save):
            with pytest.raises(OutputError, match=rf"output: expected a new folder.*\({name}\)"):
                write(tmp_path)
        assert (tmp_path / name).read_text() == content
        assert len(list(tmp_path.iterdir())) == 1

    def test_refuses_the_other_commands_folder(self, tmp_path: Path) -> None:
        leave_earlier_run(tmp_path, "run")
        with pytest.raises(OutputError, match="with files of sae-fast run"):
            fake_reconstruct().save(tmp_path)
        assert {file.name for file in tmp_path.iterdir()} == set(OUTPUT_NAMES)
        assert (tmp_path / "report.html").read_text() == "of an earlier run"

    def test_refuses_the_folder_of_a_study_that_has_not_ended(self, tmp_path: Path) -> None:
        write_settings(tmp_path, {"seeds": 3})
        with pytest.raises(OutputError, match=r"of sae-fast study \(settings\.json\)"):
            fake_run().save(tmp_path)
        assert check_folder(tmp_path) == tmp_path

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_modes_stay(self, tmp_path: Path) -> None:
        leave_earlier_run(tmp_path, "run")
        for file in tmp_path.iterdir():
            file.chmod(0o600)
        files = quick_run().save(tmp_path)
        fakes = {f"model-{arm}.safetensors" for arm in fake_run().arms}  # which are none of ours
        assert {oct(f.stat().st_mode & 0o777) for f in files if f.name not in fakes} == {"0o600"}

    def test_what_fails_to_be_written_loses_nothing_else(self, tmp_path: Path) -> None:
        class FullDisk(FakeModel):
            def save(self, path: Path) -> Path:
                raise OSError(28, "No space left on device", str(path))

        leave_earlier_run(tmp_path, "run")
        result = quick_run()
        result.models["normal"] = FullDisk()
        with pytest.raises(OutputError, match=r"No space left.*normal.*; written: result\.json"):
            result.save(tmp_path)
        document = strict_json((tmp_path / "result.json").read_text("utf-8"))
        assert document == result.to_dict()
        left = {file.name for file in tmp_path.iterdir()}
        assert {"model-he.safetensors", "accuracy.png", "report.html"} <= left
        assert not {"model.safetensors", "model-normal.safetensors"} & left
        assert b"of an earlier run" not in {file.read_bytes() for file in tmp_path.iterdir()}

    @pytest.mark.parametrize("name", ["result.json", "report.html", "accuracy.png"])
    def test_a_full_disk_at_any_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Nothing of the earlier run stands beside the new numbers."""

        def fail(path: Path, data: bytes) -> Path:
            if path.name == name:
                raise OSError(28, "No space left on device", str(path))
            return write_file(path, data)

        leave_earlier_run(tmp_path, "run")
        for module in ("save", "pictures", "report"):
            monkeypatch.setattr(f"sae_fast.experiment.{module}.write_file", fail)
        result = quick_run()
        with pytest.raises(OutputError, match=f"No space left.*{name}"):
            result.save(tmp_path)
        left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        if name == "result.json":
            assert left.keys() == set(OUTPUT_NAMES)
        else:
            assert strict_json(left["result.json"].decode()) == result.to_dict()
            assert name not in left
        assert (b"of an earlier run" in left.values()) is (name == "result.json")

    def test_failing_pictures_lose_no_numbers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("no ink")

        leave_earlier_run(tmp_path, "run")
        monkeypatch.setattr("sae_fast.experiment.save.save_pictures", fail)
        with pytest.raises(RuntimeError, match="no ink"):
            fake_run().save(tmp_path)
        models = {f"model-{arm}.safetensors" for arm in fake_run().arms}
        assert {file.name for file in tmp_path.iterdir()} == {"result.json", *models}

    def test_refuses_a_folder_in_place_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "result.json").mkdir()
        with pytest.raises(OutputError, match=r"result\.json"):
            fake_reconstruct().save(tmp_path)

    @pytest.mark.usefixtures("without_matplotlib")
    def test_without_matplotlib_all_but_pictures(self, tmp_path: Path) -> None:
        names = {file.name for file in fake_reconstruct().save(tmp_path)}
        assert names == {"result.json", "model.safetensors", "report.html"}
        assert "pip install 'sae-fast[plot]'" in (tmp_path / "report.html").read_text("utf-8")

    @pytest.mark.usefixtures("without_matplotlib")
    def test_plot_without_matplotlib_says_how_to_get_it(self) -> None:
        with pytest.raises(ImportError, match=r"pip install 'sae-fast\[plot\]'"):
            fake_run().plot_accuracy()

    def test_record_without_extras(self, tmp_path: Path) -> None:
        result = fake_reconstruct()
        result.reconstructions, result.first_weights, result.models = None, {}, {}
        result.codes = {}
        names = {file.name for file in result.save(tmp_path)}
        assert names == {"result.json", "report.html", "pretraining.png"}


class TestCheckOutput:
    def test_creates_the_folder_and_leaves_it_empty(self, tmp_path: Path) -> None:
        folder = check_output(str(tmp_path / "a" / "b"), "run")
        assert folder == tmp_path / "a" / "b"
        assert list(folder.iterdir()) == []

    def test_takes_a_folder_that_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "kept").write_text("kept")
        check_output(tmp_path, "run")
        assert [file.name for file in tmp_path.iterdir()] == ["kept"]

    def test_refuses_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match=r"file' is a file, expected a folder"):
            check_output(tmp_path / "file", "run")

    def test_refuses_a_path_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match=r"^output: cannot write to .*file/out.*director"):
            check_output(tmp_path / "file" / "out", "run")

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc")
    def test_refuses_what_the_system_refuses(self) -> None:
        with pytest.raises(OutputError, match="/proc"):
            check_output("/proc", "run")

    def test_refuses_an_impossible_name(self) -> None:
        for name in ("a\0b", 3):
            with pytest.raises(DataError, match="output: expected a path"):
                check_output(name, "run")

    def test_error_is_of_both_kinds(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for kind in (OSError, SaeFastError):
            with pytest.raises(kind):
                fake_run().save(tmp_path / "file")
