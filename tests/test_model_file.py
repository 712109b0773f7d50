# SPDX-License-Identifier: BSD-3-Clause
"""Model files: what is saved comes back bit for bit; what is no model is refused, whatever it is.

A safetensors file is 8 bytes of header length, a JSON header, and the arrays. In the header is a
SHA-256 of all bytes but its own; the tests sign what they alter, to get at the checks behind it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sae_fast
from helpers import assert_identical, draw_x, draw_y
from sae_fast import (
    Autoencoder,
    DataError,
    DivergenceError,
    ModelFileError,
    StackedAutoencoder,
    load,
)
from sae_fast.callbacks import Callback
from sae_fast.exchange.model_file import from_bytes, to_bytes
from safetensors.numpy import save_file

N_FEATURES = 14
X, Y = draw_x(70, N_FEATURES, zeros=0.6), draw_y(70, 3)


def trained_autoencoder(dtype="float32"):
    ae = Autoencoder(N_FEATURES, 5, weight_decay=0.3, output="relu", seed=7, dtype=dtype, layer=2)
    ae.fit(X, steps=20, batch_size=20)
    return ae


def trained_stack(dtype="float32", *, pretrained=True, **functions):
    net = StackedAutoencoder([N_FEATURES, 6, 4], 3, seed=2**70, init="he", dtype=dtype, **functions)
    if pretrained:
        net.pretrain(X, steps=10, batch_size=20, weight_decay=0.01)
    net.finetune(X, Y, steps=20, batch_size=20)
    return net


MODELS = {
    "autoencoder": trained_autoencoder,
    "stack": trained_stack,
    "stack, each layer its own": lambda dtype="float32": trained_stack(
        dtype, activation=["sigmoid", "linear"], output=("sigmoid", "tanh")
    ),
    "stack, not pretrained": lambda dtype="float32": trained_stack(dtype, pretrained=False),
}


def outputs(model):
    """Everything that a model computes from samples."""
    values = {"codes": model.encode(X), "dead": model.count_dead_units(X)}
    if getattr(model, "pretrained", True):
        values["reconstruction"] = model.reconstruct(X)
        values["error"] = model.reconstruction_error(X)
    if isinstance(model, StackedAutoencoder):
        values["proba"], values["classes"] = model.predict_proba(X), model.predict(X)
    return values


def settings(model):
    names = ("n_features", "n_hidden", "weight_decay", "activation", "output", "seed", "layer")
    if isinstance(model, StackedAutoencoder):
        names = ("sizes", "n_classes", "seed", "init", "activation", "output", "pretrained")
    return {name: getattr(model, name) for name in (*names, "dtype")}


@pytest.mark.skipif(os.name != "posix", reason="others have no such files")
def test_what_has_no_length_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            load(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    path = Autoencoder(5, 3).save(tmp_path / "private.safetensors")
    path.chmod(0o600)
    Autoencoder(5, 3).save(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="others have no such files")
class TestWhereAFileMayGo:
    """Into a regular file, new or old, or through a link to one."""

    @pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
    @pytest.mark.parametrize("linked", [False, True], ids=["itself", "through a link"])
    def test_no_regular_file(self, kind, linked, tmp_path):
        path = tmp_path / kind
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        elif os.access("/dev", os.W_OK) and os.geteuid() == 0:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # a /dev/null of our own
        else:
            path.symlink_to("/dev/null")
        before = path.lstat()
        if linked:
            (tmp_path / "link").symlink_to(path)
            path = tmp_path / "link"
        with pytest.raises(OSError, match=f"'{path}'"):
            Autoencoder(5, 3).save(path)
        assert os.path.samestat((tmp_path / kind).lstat(), before)
        assert len(list(tmp_path.iterdir())) == 1 + linked

    def test_a_link_is_followed(self, tmp_path):
        (tmp_path / "there").mkdir()
        link = tmp_path / "model"
        link.symlink_to("there/model")  # also while nothing is there yet
        for n_hidden in (3, 4):
            assert Autoencoder(5, n_hidden).save(link) == link
            assert link.is_symlink()
            assert load(tmp_path / "there" / "model").n_hidden == n_hidden
        assert [path.name for path in (tmp_path / "there").iterdir()] == ["model"]

    @pytest.mark.parametrize("path", ["", ".", "..", "/"])
    def test_what_is_no_file(self, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises((DataError, IsADirectoryError), match=f"'{path}'$"):
            Autoencoder(5, 3).save(path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("character", ["a", "ü", "\U0001f9e0"])
    @pytest.mark.parametrize("n_bytes", [200, 255])
    def test_long_names(self, character, n_bytes, tmp_path):
        """What the file's own name may have, its temporary one must not exceed."""
        name = character * (n_bytes // len(character.encode()))
        assert load(Autoencoder(5, 3).save(tmp_path / name)).n_hidden == 3
        with pytest.raises(OSError, match="name too long") as caught:
            Autoencoder(5, 3).save(tmp_path / (name * 2))
        assert caught.value.filename == str(tmp_path / (name * 2))

    def test_an_error_names_the_file_itself(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            Autoencoder(5, 3).save(tmp_path / "nowhere" / "model")
        assert caught.value.filename == str(tmp_path / "nowhere" / "model")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_root_leaves_a_file_to_its_owner(tmp_path):
    path = Autoencoder(5, 3).save(tmp_path / "theirs")
    path.chmod(0o640)
    os.chown(path, 12345, 23456)
    Autoencoder(5, 3).save(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12345, 23456, 0o640)


class TestFileObjects:
    def test_there_and_back(self, tmp_path):
        ae = trained_autoencoder()
        path = ae.save(tmp_path / "model")
        memory = io.BytesIO()
        assert ae.save(memory) is memory
        assert memory.getvalue() == path.read_bytes()
        memory.seek(0)
        with path.open("rb") as file:
            for source in (memory, file, path.read_bytes(), bytearray(path.read_bytes())):
                assert_identical(load(source).parameters, ae.parameters)

    def test_inside_an_archive(self, tmp_path):
        ae = trained_autoencoder()
        with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
            with archive.open("model", "w") as file:
                ae.save(file)
            with pytest.raises(ModelFileError, match=r"^bytes: expected a model of sae_fast"):
                load(b"")
        with zipfile.ZipFile(tmp_path / "zip") as archive, archive.open("model") as file:
            assert_identical(load(file).parameters, ae.parameters)

    def test_text(self, tmp_path):
        for call in (Autoencoder(5, 3).save, load):
            with pytest.raises(DataError, match="path: expected a file opened in binary mode"):
                call(io.StringIO())

    def test_an_error_is_a_line(self):
        """Not the whole of what came."""
        for source in (bytes(10**6), list(range(10**6)), {"a": "b" * 10**6}):
            with pytest.raises(sae_fast.SaeFastError) as caught:
                load(source)
            assert len(str(caught.value)) < 500


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
class TestRoundTrip:
    def test_the_same_model(self, build, dtype, tmp_path):
        model = build(dtype)
        path = model.save(tmp_path / "model.safetensors")
        assert path == tmp_path / "model.safetensors"
        loaded = load(path)
        assert type(loaded) is type(model)
        assert settings(loaded) == settings(model)
        assert_identical(loaded.parameters, model.parameters)
        assert_identical(outputs(loaded), outputs(model))
        for ours, theirs in zip(
            getattr(model, "autoencoders", ()), getattr(loaded, "autoencoders", ()), strict=True
        ):
            assert theirs.weight_decay == ours.weight_decay
            if model.pretrained:
                assert_identical(theirs.parameters, ours.parameters)

    def test_training_goes_on_the_same(self, build, dtype, tmp_path):
        model = build(dtype)
        loaded = load(model.save(tmp_path / "model"))
        for either in (model, loaded):
            if isinstance(either, Autoencoder):
                either.fit(X, steps=10, batch_size=20)
            else:
                either.finetune(X, Y, steps=10, batch_size=20)
        assert_identical(loaded.parameters, model.parameters)

    def test_the_same_file(self, build, dtype, tmp_path):
        first = build(dtype).save(tmp_path / "first")
        second = load(first).save(tmp_path / "second")
        assert first.read_bytes() == second.read_bytes()
        assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_paths(tmp_path, monkeypatch):
    ae = trained_autoencoder()
    monkeypatch.chdir(tmp_path)
    for path in ("relative", str(tmp_path / "text"), tmp_path / "ünïcode name.safetensors"):
        assert_identical(load(ae.save(path)).parameters, ae.parameters)
        assert_identical(load(str(path)).parameters, ae.parameters)


def test_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "model"
    trained_stack().save(path)
    ae = trained_autoencoder()
    ae.save(path)
    assert_identical(load(path).parameters, ae.parameters)


# Files that are no models


def split(data: bytes) -> tuple[dict, bytes]:
    """Header and arrays of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


BEFORE_CHECKSUM = rb"\"sha256\": \""


def sign(data: bytes) -> bytes:
    """Give a file the checksum that fits it, if it has a place for one."""
    before, found, after = data.partition(BEFORE_CHECKSUM)
    if not found:
        return data
    checksum = hashlib.sha256(before + found + after[64:]).hexdigest()
    return before + found + checksum.encode() + after[64:]


def join(header: dict, arrays: bytes) -> bytes:
    text = json.dumps(header).encode()
    return sign(struct.pack("<Q", len(text)) + text + arrays)


def with_description(data: bytes, change) -> bytes:
    """Replace the description of the model by `change(description)`."""
    header, arrays = split(data)
    description = json.loads(header["__metadata__"]["sae_fast"])
    header["__metadata__"]["sae_fast"] = json.dumps(change(description))
    return join(header, arrays)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: build().save(folder / name).read_bytes() for name, build in MODELS.items()}


def assert_refused(path: Path, data: bytes, *, by_checksum: bool = False) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert "expected" in str(caught.value)
    assert str(path) in str(caught.value)
    assert ("bytes that do not fit its checksum" in str(caught.value)) == by_checksum
    assert path.read_bytes() == data


@pytest.mark.parametrize("name", MODELS)
class TestDamaged:
    def test_truncated(self, files, name, tmp_path):
        data = files[name]
        for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
            assert_refused(tmp_path / "model", data[:length])

    def test_longer(self, files, name, tmp_path):
        assert_refused(tmp_path / "model", files[name] + b"\0")

    @pytest.mark.parametrize("length", [0, 1, 2**16, 2**40, 2**63, 2**64 - 1])
    def test_length_of_the_header(self, files, name, tmp_path, length):
        assert_refused(tmp_path / "model", struct.pack("<Q", length) + files[name][8:])

    def test_not_finite(self, files, name, tmp_path):
        header, arrays = split(files[name])
        for value in (np.nan, np.inf):
            assert_refused(
                tmp_path / "model", join(header, arrays[:-4] + np.float32(value).tobytes())
            )

    def test_a_missing_array(self, files, name, tmp_path):
        header, arrays = split(files[name])
        last = max((n for n in header if n != "__metadata__"),
                   key=lambda n: header[n]["data_offsets"][1])  # fmt: skip
        start, _ = header.pop(last)["data_offsets"]
        assert_refused(tmp_path / "model", join(header, arrays[:start]))

    def test_an_array_too_many(self, files, name, tmp_path):
        header, arrays = split(files[name])
        end = len(arrays)
        header["W9"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}
        assert_refused(tmp_path / "model", join(header, arrays + b"\0" * 4))

    def test_a_renamed_array(self, files, name, tmp_path):
        header, arrays = split(files[name])
        for array in [n for n in header if n != "__metadata__"]:
            renamed = {("X" if n == array else n): value for n, value in header.items()}
            assert_refused(tmp_path / "model", join(renamed, arrays))

    @pytest.mark.parametrize(
        ("dtype", "shape", "n_bytes"),
        [
            ("F32", [0, 2**62], 0), ("F32", [2**62, 0], 0), ("F32", [2**62, 2**62], 0),
            ("F32", [], 4), ("F32", [1] * 100, 4), ("F64", [1], 8), ("F16", [1], 2),
            ("BF16", [1], 2), ("F8_E4M3", [1], 1), ("F4", [2], 1), ("I64", [1], 8), ("U8", [1], 1),
            ("BOOL", [1], 1), ("C64", [1], 8), ("", [1], 4), ("O", [1], 8), (None, [1], 4),
        ],
    )  # fmt: skip
    def test_an_array_of_any_kind(self, files, name, dtype, shape, n_bytes, tmp_path):
        header, arrays = split(files[name])
        end = len(arrays)
        extra = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + n_bytes]}
        for array in ("X", "b1"):
            data = join({**header, array: extra}, arrays + b"\0" * n_bytes)
            assert_refused(tmp_path / "model", data)

    def test_a_transposed_array(self, files, name, tmp_path):
        header, arrays = split(files[name])
        array = next(n for n in header if n.startswith("W"))
        header[array]["shape"].reverse()
        assert_refused(tmp_path / "model", join(header, arrays))


def small_models():
    """Each kind of model in less than a kilobyte or two."""
    net = StackedAutoencoder([3, 2], 2)
    net.pretrain(X[:, :3], steps=2, batch_size=5)
    net.scale, net.classes = 1 / 255, ["ä", 'b"']
    return {"autoencoder": Autoencoder(2, 1, weight_decay=1e-5), "stack": net}


@pytest.mark.parametrize("name", ["autoencoder", "stack"])
class TestEveryBit:
    def test_flipped(self, name):
        data = to_bytes(small_models()[name])
        assert len(data) < 1500
        assert from_bytes(data, "test").parameters
        for at in range(len(data)):
            for bit in range(8):
                altered = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
                with pytest.raises(ModelFileError):
                    from_bytes(altered, "test")

    def test_cut_off(self, name):
        data = to_bytes(small_models()[name])
        for length in range(len(data)):
            with pytest.raises(ModelFileError):
                from_bytes(data[:length], "test")

    def test_the_checksum_is_what_the_format_says(self, name):
        data = to_bytes(small_models()[name])
        assert sign(data) == data

    def test_other_bytes_that_mean_the_same(self, name, tmp_path):
        """Another writing of the same JSON is an altered file, too; if it is signed, it is ours."""
        header, arrays = split(to_bytes(small_models()[name]))
        text = json.dumps(header, indent=1).encode()
        data = struct.pack("<Q", len(text)) + text + arrays
        assert_refused(tmp_path / "model", data, by_checksum=True)
        assert from_bytes(sign(data), "test").parameters


def test_a_label_like_a_checksum(tmp_path):
    """What looks like the place of the checksum may stand in a label, before or after it."""
    net = StackedAutoencoder([3, 2], 2)
    net.classes = ['"sha256": "' + "0" * 64, r"\"sha256\": \"" + "1" * 64]
    assert load(net.save(tmp_path / "model")).classes == net.classes


def architecture(**changes):
    """Change the architecture; None: leave the entry away."""

    def change(description):
        new = {**description["architecture"], **changes}
        new = {name: value for name, value in new.items() if value != "nothing"}
        return {**description, "architecture": new}

    return change


DESCRIPTIONS = {
    "nothing": lambda _: None,
    "a number": lambda _: 5,
    "a list": lambda _: [1],
    "text": lambda _: "sae_fast",
    "empty": lambda _: {},
    "another format": lambda d: {**d, "format": 2},
    "no format": lambda d: {k: v for k, v in d.items() if k != "format"},
    "no checksum": lambda d: {k: v for k, v in d.items() if k != "sha256"},
    "no architecture": lambda d: {k: v for k, v in d.items() if k != "architecture"},
    "architecture is a list": lambda d: {**d, "architecture": [1, 2]},
    "architecture is nothing": lambda d: {**d, "architecture": None},
    "architecture is a number": lambda d: {**d, "architecture": 5},
    "no class": architecture(**{"class": "nothing"}),
    "another class": architecture(**{"class": "Transformer"}),
    "class is a list": architecture(**{"class": ["Autoencoder"]}),
    "no scale": lambda d: {k: v for k, v in d.items() if k != "scale"},
    "scale is 0": lambda d: {**d, "scale": 0},
    "scale is negative": lambda d: {**d, "scale": -1},
    "scale is infinite": lambda d: {**d, "scale": float("inf")},
    "scale is not a number": lambda d: {**d, "scale": float("nan")},
    "scale is too large": lambda d: {**d, "scale": 10**400},
    "scale is text": lambda d: {**d, "scale": "1/255"},
}
CLASSES = [
    "abc",
    5,
    [],
    ["a", "b"],
    ["a", "b", "c", "d"],
    ["a", "b", "b"],
    ["a", "b", 3],
    [1.0, 2.0, 3.0],
    [True, False, 2],
    [None, None, None],
    [["a"], ["b"], ["c"]],
    {"a": 0, "b": 1, "c": 2},
]
ARGUMENTS = {
    "autoencoder": [
        {"n_hidden": 6},
        {"n_hidden": -5},
        {"n_hidden": 0},
        {"n_hidden": 5.5},
        {"n_hidden": "5"},
        {"n_hidden": "x"},
        {"n_hidden": None},
        {"n_hidden": [5]},
        {"n_hidden": float("inf")},
        {"n_hidden": 10**15},
        {"n_features": 10**15},
        {"n_features": 10**400},
        {"n_features": -14, "n_hidden": -5},
        {"weight_decay": -1},
        {"weight_decay": "much"},
        {"seed": -1},
        {"dtype": "float16"},
        {"layer": 0},
        {"layer": "first"},
        {"activation": "swish"},
        {"output": None},
        {"colour": "blue"},
        {"n_threads": 0},
    ],
    "stack": [
        {"sizes": [14, 6]},
        {"sizes": [14, 6, 4, 4]},
        {"sizes": [14, 6, -4]},
        {"sizes": [14, "x", 4]},
        {"sizes": "14,6,4"},
        {"sizes": 14},
        {"sizes": None},
        {"sizes": []},
        {"sizes": [1] * 1001},
        {"sizes": [1] * 100_000},
        {"sizes": [14, 10**15, 4]},
        {"sizes": [14, 6, None]},
        {"n_classes": 4},
        {"n_classes": 1},
        {"n_classes": 10**15},
        {"n_classes": "three"},
        {"seed": 1.5},
        {"init": "xavier"},
        {"activation": 3},
        {"dtype": None},
    ],
}


class TestDescription:
    @pytest.mark.parametrize("change", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
    @pytest.mark.parametrize("name", ["autoencoder", "stack"])
    def test_what_it_is(self, files, name, change, tmp_path):
        assert_refused(tmp_path / "model", with_description(files[name], change))

    @pytest.mark.parametrize(
        ("name", "change"),
        [(name, change) for name, changes in ARGUMENTS.items() for change in changes],
        ids=lambda value: str(value)[:30],
    )
    def test_architecture(self, files, name, change, tmp_path):
        assert_refused(tmp_path / "model", with_description(files[name], architecture(**change)))

    @pytest.mark.parametrize("name", ["autoencoder", "stack"])
    def test_a_missing_argument(self, files, name, tmp_path):
        needed = ("n_features", "n_hidden") if name == "autoencoder" else ("sizes", "n_classes")
        for argument in needed:
            change = architecture(**{argument: "nothing"})
            assert_refused(tmp_path / "model", with_description(files[name], change))

    @pytest.mark.parametrize("classes", CLASSES, ids=str)
    def test_classes(self, files, classes, tmp_path):
        assert_refused(
            tmp_path / "model",
            with_description(files["stack"], lambda d: {**d, "classes": classes}),
        )

    def test_no_classes_entry(self, files, tmp_path):
        def without(description):
            return {name: value for name, value in description.items() if name != "classes"}

        assert_refused(tmp_path / "model", with_description(files["stack"], without))

    @pytest.mark.parametrize("value", [5, [0.1], [0.1, -1], [0.1, "much"], [0.1] * 3])
    def test_weight_decay(self, files, value, tmp_path):
        data = with_description(files["stack"], lambda d: {**d, "weight_decay": value})
        assert_refused(tmp_path / "model", data)

    def test_what_is_signed_is_read(self, files, tmp_path):
        """The checks above are not refusals of everything."""
        path = tmp_path / "model"
        path.write_bytes(with_description(files["stack"], lambda d: {**d, "classes": [7, 5, 6]}))
        assert load(path).classes == [7, 5, 6]

    def test_pretrained_without_decoders(self, files, tmp_path):
        data = files["stack, not pretrained"]
        assert_refused(
            tmp_path / "model", with_description(data, lambda d: {**d, "pretrained": True})
        )

    def test_decoders_without_pretrained(self, files, tmp_path):
        data = files["stack"]
        assert_refused(
            tmp_path / "model", with_description(data, lambda d: {**d, "pretrained": False})
        )

    @pytest.mark.parametrize("text", ["", "{", "[[[[", "nan", "\udcff", "[" * 100_000])
    def test_no_json(self, files, text, tmp_path):
        header, arrays = split(files["autoencoder"])
        header["__metadata__"]["sae_fast"] = text
        assert_refused(tmp_path / "model", join(header, arrays))

    def test_another_precision(self, tmp_path):
        """Numbers of 64 bits under a description of 32 would be rounded."""

        data = Autoencoder(5, 3, dtype="float64").save(tmp_path / "double").read_bytes()
        change = architecture(dtype="float32")
        assert_refused(tmp_path / "model", with_description(data, change))

    def test_a_later_release(self, files, tmp_path):
        def later(description):
            return {**description, "format": 2, "version": "9.8.7"}

        path = tmp_path / "model"
        path.write_bytes(with_description(files["stack"], later))
        with pytest.raises(ModelFileError, match=r"format 2 of release '9\.8\.7'.* format 1"):
            load(path)

    def test_a_promise_costs_no_memory(self, files, tmp_path):
        """The header says a terabyte, the file holds a kilobyte."""
        resource = pytest.importorskip("resource", reason="Windows does not tell")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes

        huge = architecture(n_features=10**6, n_hidden=10**5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert_refused(tmp_path / "model", with_description(files["autoencoder"], huge))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * unit < 100e6

    @pytest.mark.parametrize("name", ["autoencoder", "stack"])
    def test_numbers_of_another_type_promise_nothing(self, files, name, tmp_path):
        """A byte each, where the model takes 200: its layers, and rows as wide as a vector."""
        resource = pytest.importorskip("resource", reason="Windows does not tell")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes
        n = 2_000_000
        metadata = {"__metadata__": split(files[name])[0]["__metadata__"]}
        entry = {"dtype": "BOOL", "shape": [2 * n], "data_offsets": [0, 2 * n]}
        narrow = {
            "autoencoder": architecture(n_features=n, n_hidden=1),
            "stack": architecture(sizes=[n, 1], n_classes=None),
        }
        data = with_description(join({**metadata, "W1": entry}, bytes(2 * n)), narrow[name])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert_refused(tmp_path / "model", data)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * unit < 10 * len(data)

    def test_a_long_error_is_cut(self, files, tmp_path):
        change = architecture(**{"a" * 10**6: 1})
        with pytest.raises(ModelFileError, match="got aaaa") as caught:
            load(with_description(files["stack"], change))
        assert len(str(caught.value)) < 2000

    def test_depth_costs_no_memory(self, files, tmp_path):
        """One array with as many numbers as a hundred thousand layers would have."""
        header, _ = split(files["stack"])
        n_layers = 100_000
        header = {
            "__metadata__": header["__metadata__"],
            "W1": {"dtype": "F32", "shape": [n_layers], "data_offsets": [0, 4 * n_layers]},
        }
        deep = architecture(sizes=[1] * n_layers, n_classes=None)
        data = with_description(join(header, b"\0" * 4 * n_layers), deep)
        tracemalloc.start()
        assert_refused(tmp_path / "model", data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 * len(data)

    @pytest.mark.parametrize(
        ("build", "most"),
        [
            (lambda: Autoencoder(500, 400), 2.3),
            (lambda: StackedAutoencoder([500, 400, 300], 4), 5),  # draws its decoders
        ],
        ids=["autoencoder", "stack"],
    )
    def test_what_a_model_costs(self, build, most, tmp_path):
        """Beside the core's own memory: the file, its arrays, a byte for each of their numbers."""
        path = build().save(tmp_path / "model")
        load(path)  # what is imported late is not counted
        tracemalloc.start()
        load(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * path.stat().st_size

    def test_a_large_header(self, files, tmp_path):
        """JSON takes more than its text, but in proportion."""
        classes = [[]] * 300_000
        data = with_description(files["stack"], lambda d: {**d, "classes": classes})
        tracemalloc.start()
        assert_refused(tmp_path / "model", data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 32 * len(data)


class TestOtherFiles:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load(tmp_path / "nowhere")

    def test_a_folder(self, tmp_path):
        with pytest.raises(OSError, match=str(tmp_path)):
            load(tmp_path)

    def test_anothers_safetensors(self, tmp_path):
        path = tmp_path / "model"
        for metadata in (None, {}, {"format": "pt"}):
            save_file({"W1": np.zeros((3, 2), np.float32)}, path, metadata)
            assert_refused(path, path.read_bytes())

    @pytest.mark.parametrize("n_bytes", [1, 8, 50, 5000])
    def test_random_bytes(self, n_bytes, tmp_path):
        rng = np.random.default_rng(0)
        for _ in range(20):
            assert_refused(tmp_path / "model", rng.bytes(n_bytes))

    def test_a_pickle_is_not_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "exploded"),)

        assert_refused(tmp_path / "model", pickle.dumps(Bomb()))
        assert not (tmp_path / "exploded").exists()


# Saving that fails


class TestSaving:
    def test_a_link_under_the_temporary_name_is_not_followed(self, tmp_path, monkeypatch):
        victim = tmp_path / "victim"
        victim.write_text("precious")
        monkeypatch.setattr(os, "getpid", lambda: 1)
        monkeypatch.setattr(threading, "get_ident", lambda: 2)
        (tmp_path / ".model.1.2.tmp").symlink_to(victim)
        trained_autoencoder().save(tmp_path / "model")
        assert victim.read_text() == "precious"
        assert not (tmp_path / "model").is_symlink()
        assert load(tmp_path / "model").n_hidden == 5

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            trained_autoencoder().save(tmp_path / "nowhere" / "model")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_in_the_way(self, tmp_path):
        (tmp_path / "model").mkdir()
        with pytest.raises(OSError, match="model"):
            trained_autoencoder().save(tmp_path / "model")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert list((tmp_path / "model").iterdir()) == []

    def test_an_error_names_the_file_that_was_asked_for(self, tmp_path, monkeypatch):
        path = tmp_path / "nowhere" / "model"
        with pytest.raises(FileNotFoundError) as caught:
            Autoencoder(3, 2).save(path)
        assert str(caught.value) == f"[Errno 2] No such file or directory: {str(path)!r}"

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path / 'model'}'$"):
            Autoencoder(3, 2).save(tmp_path / "model")

    @pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
    @pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
    def test_the_older_file_stays(self, call, error, tmp_path, monkeypatch):
        path = tmp_path / "model"
        old = trained_autoencoder()
        old.save(path)

        def fail(*_):
            raise error

        monkeypatch.setattr(call, fail)
        with pytest.raises(type(error)):
            trained_stack().save(path)
        monkeypatch.undo()
        assert [p.name for p in tmp_path.iterdir()] == ["model"]
        assert_identical(load(path).parameters, old.parameters)

    def test_what_diverged_is_not_written(self, tmp_path):
        ae = trained_autoencoder()

        def stop_before_it_is_seen(training):
            assert not np.isfinite(training.model.parameters["W_enc"]).all()
            raise KeyboardInterrupt

        callback = Callback()
        callback.on_step = stop_before_it_is_seen
        with pytest.raises(KeyboardInterrupt):
            ae.fit(X * np.float32(1e30), steps=50, batch_size=20, callbacks=[callback])
        with pytest.raises(DivergenceError, match=r"save: expected finite parameters, .* in [Wb]_"):
            ae.save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []


def test_load_is_public():
    assert sae_fast.load is load


def test_threads_that_write_one_file(tmp_path):
    path = tmp_path / "model"
    models = [Autoencoder(30, n) for n in range(3, 7)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            list(pool.map(lambda model: model.save(path), models))
            assert load(path).n_hidden in range(3, 7)
    assert list(tmp_path.iterdir()) == [path]


def test_an_argument_that_no_architecture_has(files, tmp_path):
    data = with_description(files["autoencoder"], architecture(n_threads=3))
    assert_refused(tmp_path / "model", data)


@pytest.mark.parametrize("name", ["autoencoder", "stack"])
def test_what_an_older_release_did_not_know(files, name, tmp_path):
    """It has its default."""
    path = tmp_path / "model"
    path.write_bytes(with_description(files[name], architecture(activation="nothing")))
    assert load(path).activation == "relu"


def test_what_a_later_release_knows(files, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(with_description(files["stack"], architecture(gates=False, dropout=0)))
    with pytest.raises(ModelFileError, match="got gates, dropout in its architecture, which this"):
        load(path)


@pytest.mark.parametrize("name", ["autoencoder", "stack"])
def test_loading_is_the_first_thing_that_a_program_does(files, name, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(files[name])
    code = f"import sae_fast; print(type(sae_fast.load({str(path)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == type(from_bytes(files[name], "test")).__name__


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("age,city\n30,Rome\n" * 9)
    with pytest.raises(ModelFileError, match=r"data.csv: .* no whole safetensors file"):
        sae_fast.load(path)
