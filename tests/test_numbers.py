# SPDX-License-Identifier: BSD-3-Clause
"""What the processor's float registers hold, what no entry takes, and logits of any size."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import platform
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_identical, draw_x, draw_y, output_of, with_value
from sae_fast import Autoencoder, DataError, DivergenceError, StackedAutoencoder, _core
from scipy import sparse

# The control registers of this thread

# void read(struct {uint32 mxcsr; uint16 x87;} *) and its inverse, as the processor reads them
READ = b"\x0f\xae\x1f\xd9\x7f\x04\xc3"  # stmxcsr [rdi]; fnstcw [rdi+4]; ret
WRITE = b"\x0f\xae\x17\xd9\x6f\x04\xc3"  # ldmxcsr [rdi]; fldcw [rdi+4]; ret

DEFAULT = 0x1F80
#: Values of MXCSR that a program may have set: how it rounds, and whether it flushes denormals.
MODES = {
    "down": 0x2000,
    "up": 0x4000,
    "towards zero": 0x6000,
    "FTZ": 0x8000,
    "FTZ and DAZ": 0x8040,
    "up, flags of past exceptions": 0x403F,
}


class Registers(ctypes.Structure):
    _fields_ = (("mxcsr", ctypes.c_uint32), ("x87", ctypes.c_uint16))

    def __eq__(self, other):
        return (self.mxcsr, self.x87) == (other.mxcsr, other.x87)

    def __repr__(self):
        return f"mxcsr {self.mxcsr:#x}, x87 {self.x87:#x}"


class Processor:
    """Reads and writes the registers of the thread that it is called on."""

    def __init__(self):
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        try:
            self.memory = mmap.mmap(-1, mmap.PAGESIZE, prot=protection)
        except OSError:
            pytest.skip("this system lets nobody write machine code")
        self.memory.write(READ + WRITE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        function = ctypes.CFUNCTYPE(None, ctypes.POINTER(Registers))
        self._read, self._write = function(start), function(start + len(READ))

    def read(self):
        registers = Registers()
        self._read(registers)
        return registers

    def write(self, registers):
        self._write(registers)

    @contextlib.contextmanager
    def set(self, mxcsr):
        """Set what is given of MXCSR, and restore it."""
        before = self.read()
        self.write(Registers(mxcsr, before.x87))
        try:
            yield
        finally:
            self.write(before)


@pytest.fixture(scope="module")
def processor():
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform == "win32":
        pytest.skip("machine code of x86-64, called as on Unix")
    return Processor()


def test_the_registers_are_really_read_and_written(processor):
    third = np.float32(1) / np.float32(3)
    with processor.set(DEFAULT | 0x4000):
        assert processor.read().mxcsr & 0x6000 == 0x4000
        up = np.divide(np.float32([1.0]), np.float32([3.0]))[0]
    with processor.set(DEFAULT | 0x2000):
        down = np.divide(np.float32([1.0]), np.float32([3.0]))[0]
    assert processor.read().mxcsr & 0x6000 == 0
    assert down < up
    assert third in (down, up)


def control(registers):
    """Leave out what exceptions of NumPy and Python set between: sticky flags."""
    return registers.mxcsr & ~0x3F, registers.x87


def interrupt(_):
    raise KeyboardInterrupt


X, Y = draw_x(300, 60, zeros=0.6), draw_y(300, 4)
WIDE = draw_x(60, 300, zeros=0.0)


def make_models(n_threads=2):
    """Draw initial weights: NumPy's work, which follows the caller's mode, as a data start does."""
    return (
        StackedAutoencoder([60, 40, 9], 4, init="he", n_threads=n_threads),
        Autoencoder(300, 280, weight_decay=0.01, init="he", n_threads=n_threads),
    )


def train(net, wide):
    rate = {"learning_rate": 1e-3}
    histories = net.pretrain(X, steps=15, batch_size=50, **rate)
    how = {"eval_set": (X, Y), "loss": "cross_entropy", "weight_decay": 0.01, **rate}
    history = net.finetune(X, Y, steps=15, batch_size=50, **how)
    wide.fit(WIDE, steps=3, batch_size=30, **rate)
    return {
        **net.parameters,
        **wide.parameters,
        "losses": [*(h.loss[-1] for h in histories), history.loss[-1]],
        "proba": net.predict_proba(X),
        "reconstruction": wide.reconstruct(WIDE),
    }


@pytest.mark.parametrize("mode", [0, *MODES.values()], ids=["default", *MODES])
def test_registers_are_left_as_they_were(processor, mode):
    with processor.set(DEFAULT | mode):
        before = control(processor.read())
        model = Autoencoder(60, 40, n_threads=2)
        model.fit(X, steps=10)
        assert control(processor.read()) == before
        model.reconstruct(X)
        assert control(processor.read()) == before
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, steps=10, callbacks=[interrupt])
        assert control(processor.read()) == before
        with pytest.raises(DataError):
            model.fit(np.full((100, 60), np.nan))
        assert control(processor.read()) == before
        with pytest.raises(DivergenceError):
            model.fit(X, steps=10, learning_rate=1e30)
        assert control(processor.read()) == before


def test_native_calls_leave_no_flags(processor):
    """Products that underflow raise flags: ours are not the caller's."""
    model = Autoencoder(60, 40, n_threads=1)
    network, data = model._network, model._samples(X * np.float32(1e-30), None)
    options = {"first_layer": 0, "last_layer": 2, "softmax": False, "n_threads": 1}
    network.predict(data, **options)
    with processor.set(DEFAULT):
        network.predict(data, **options)
        assert processor.read().mxcsr == DEFAULT


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_same_bits_in_every_mode_of_the_caller(processor, mode, n_threads):
    expected, models = train(*make_models(n_threads)), make_models(n_threads)
    with processor.set(DEFAULT | mode):
        found = train(*models)
    assert_identical(found, expected)


def test_import_leaves_the_registers_alone(processor):
    code = (
        "import ctypes, mmap\n"
        f"memory = mmap.mmap(-1, mmap.PAGESIZE, prot=7); memory.write({READ!r})\n"
        "start = ctypes.addressof(ctypes.c_char.from_buffer(memory))\n"
        "read = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(start)\n"
        "def registers():\n"
        "    into = ctypes.create_string_buffer(6); read(into); return into.raw.hex()\n"
        "import numpy\n"
        "before = registers()\n"
        "import sae_fast\n"
        "print(before == registers())\n"
        "sae_fast.Autoencoder, sae_fast.StackedAutoencoder\n"
        "print(before == registers())\n"
    )
    assert output_of(code) == "True\nTrue\n"


def test_exceptions_that_the_caller_traps(processor):
    """As after `feenableexcept`: what overflows or underflows inside does not end the process."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_numbers import *\n"
        "model = Autoencoder(60, 40, n_threads=2)\n"
        "small, network = model._samples(X * np.float32(1e-30), None), model._network\n"
        "options = dict(first_layer=0, last_layer=2, softmax=False, n_threads=2)\n"
        "with Processor().set(0):\n"
        "    network.predict(small, **options)\n"
        "print('alive')\n"
    )
    assert output_of(code) == "alive\n"


@pytest.fixture
def run_on_team():
    """Give a function that calls another on each of the OpenMP threads of this one."""
    try:
        parallel = ctypes.CDLL(_core.__file__).GOMP_parallel  # of the run-time it is linked to
    except AttributeError:
        pytest.skip("this OpenMP run-time has no GOMP_parallel")
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    return lambda f: parallel(function(lambda _: f()), None, 2, 0)


def test_openmps_threads_get_their_registers_back(processor, run_on_team):
    here = threading.get_native_id()
    expected = train(*make_models())
    found = []

    def set_odd():
        if threading.get_native_id() != here:
            processor.write(Registers(DEFAULT | 0x4000, 0x27F))

    def read():
        if threading.get_native_id() != here:
            found.append((threading.get_native_id(), *control(processor.read())))

    def reset():
        if threading.get_native_id() != here:
            processor.write(Registers(DEFAULT, 0x37F))

    models = make_models()
    run_on_team(set_odd)
    run_on_team(read)
    try:
        same = train(*models)
        run_on_team(read)
    finally:
        run_on_team(reset)
    assert_identical(same, expected)
    [before, after] = found
    assert before[1:] == (DEFAULT | 0x4000, 0x27F)
    assert after == before


# No entry takes NaN or infinity


MODEL, NET = Autoencoder(60, 7), StackedAutoencoder([60, 7], 4)
NET.pretrain(X, steps=1)
ENTRIES = {
    "fit": lambda x: MODEL.fit(x, steps=1),
    "encode": MODEL.encode,
    "reconstruct": MODEL.reconstruct,
    "reconstruction_error": MODEL.reconstruction_error,
    "score_samples": MODEL.score_samples,
    "feature_errors": MODEL.feature_errors,
    "count_dead_units": MODEL.count_dead_units,
    "pretrain": lambda x: NET.pretrain(x, steps=1),
    "finetune": lambda x: NET.finetune(x, Y, steps=1),
    "finetune, eval_set": lambda x: NET.finetune(X, Y, steps=1, eval_set=(x, Y)),
    "evaluate": lambda x: NET.evaluate(x, Y),
    "predict": NET.predict,
    "predict_proba": NET.predict_proba,
    "encode, stack": NET.encode,
    "reconstruct, stack": NET.reconstruct,
    "reconstruction_error, stack": NET.reconstruction_error,
    "score_samples, stack": NET.score_samples,
    "count_dead_units, stack": NET.count_dead_units,
}


@pytest.mark.parametrize("kind", ["C", "F", "float64", "csr", "csc"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entry", ENTRIES)
def test_samples_have_to_be_finite(entry, value, kind):
    x = with_value(X, value)
    x = {
        "C": lambda: x,
        "F": lambda: np.asfortranarray(x),
        "float64": lambda: x.astype(np.float64),
        "csr": lambda: sparse.csr_matrix(x),
        "csc": lambda: sparse.csc_array(x),
    }[kind]()
    before = MODEL.parameters | NET.parameters
    with pytest.raises(DataError, match=r"expected finite.*row 17, column 5"):
        ENTRIES[entry](x)
    assert_identical(MODEL.parameters | NET.parameters, before)


@pytest.mark.parametrize("entry", ENTRIES)
def test_samples_have_to_be_finite_in_float32(entry):
    with pytest.raises(DataError, match=r"expected finite.*row 17, column 5"):
        ENTRIES[entry](with_value(X.astype(np.float64), 1e39))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("model", [MODEL, NET], ids=["autoencoder", "stack"])
def test_codes_have_to_be_finite(model, value):
    code = np.ones((30, 7))
    code[17, 5] = value
    with pytest.raises(DataError, match=r"code: expected finite.*row 17, column 5"):
        model.decode(code)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_of_samples_have_to_be_finite(value):
    weight = np.ones(300)
    weight[17] = value
    with pytest.raises(DataError, match=r"sample_weight: expected finite.*position 17"):
        NET.finetune(X, Y, steps=1, sample_weight=weight)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize(("model", "name"), [(MODEL, "W_dec"), (NET, "W1"), (NET, "b2")])
def test_parameters_have_to_be_finite(model, name, value):
    before = model.parameters
    changed = before[name].astype(np.float64)
    changed.flat[2] = value
    with pytest.raises(DataError, match=rf"parameters\['{name}'\].*finite"):
        model.parameters = {name: changed}
    assert_identical(model.parameters, before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scale_has_to_be_finite(value):
    for call in (
        lambda: setattr(MODEL, "scale", value),
        lambda: setattr(NET, "scale", value),
        lambda: MODEL.encode((X * 255).astype(np.uint8), scale=value),
    ):
        with pytest.raises(DataError, match="scale"):
            call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_estimators_take_no_other(value):
    from sae_fast.sklearn import StackedAutoencoderClassifier, StackedAutoencoderTransformer

    classifier = StackedAutoencoderClassifier(5, steps=2, pretrain_steps=2).fit(X, Y)
    transformer = StackedAutoencoderTransformer(5, steps=2).fit(X)
    x = with_value(X, value)
    for call in (
        lambda: classifier.fit(x, Y),
        lambda: classifier.partial_fit(x, Y),
        lambda: classifier.predict(x),
        lambda: classifier.predict_proba(sparse.csr_matrix(x)),
        lambda: transformer.fit(x),
        lambda: transformer.transform(x),
        lambda: transformer.transform(sparse.csr_matrix(x)),
        lambda: transformer.inverse_transform(np.full((3, 5), value)),
    ):
        with pytest.raises(ValueError, match=r"NaN|infinity|finite"):
            call()


# Logits of any size

LOSSES = ("article", "cross_entropy")


def net_with_logits(logits, dtype):
    """A network whose logits are the rows of `logits`, for the samples of an identity matrix."""
    n, n_classes = logits.shape
    net = StackedAutoencoder([n, n], n_classes, dtype=dtype)
    net.parameters = {"W1": np.eye(n), "b1": np.zeros(n), "W2": logits, "b2": np.zeros(n_classes)}
    return net


LOGITS = np.array(
    [
        [1e4, 0, 0],
        [-1e4, 0, 0],
        [1e4, -1e4, 0],
        [-1e4, -1e4, -1e4],
        [1e4, 1e4, 1e4],
        [-1e4, -1e4, 1e4],
    ]
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_large_logits(label, dtype):
    net, x = net_with_logits(LOGITS, dtype), np.eye(len(LOGITS), dtype=dtype)
    shifted = LOGITS - LOGITS.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(net.predict_proba(x), np.exp(log_p), rtol=1e-6)
    y = np.full(len(x), label)
    expected = {
        "article": np.maximum(log_p[:, label], np.log(1e-10)),
        "cross_entropy": log_p[:, label],
    }
    for loss in LOSSES:
        found, _ = net.evaluate(x, y, loss=loss)
        assert found == pytest.approx(-expected[loss].sum(), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("row", range(len(LOGITS)))
def test_gradients_of_large_logits(row, loss, dtype):
    """Adam's first step is as long as the rate, against the sign of the gradient p - 1{label}."""
    rate = 2.0**-4
    p = net_with_logits(LOGITS, dtype).predict_proba(np.eye(len(LOGITS), dtype=dtype))[row]
    for label in range(3):
        net = net_with_logits(LOGITS, dtype)
        net.finetune(
            np.eye(len(LOGITS), dtype=dtype)[[row]],
            np.array([label]),
            steps=1,
            batch_size=1,
            learning_rate=rate,
            loss=loss,
        )
        gradient = p - np.eye(3)[label]
        if loss == "article" and p[label] < 1e-10:
            gradient[:] = 0
        np.testing.assert_allclose(net.parameters["b2"], -rate * np.sign(gradient), rtol=1e-3)
        for value in net.parameters.values():
            assert np.isfinite(value).all()


@pytest.mark.parametrize(
    ("logits", "dtype"),
    [
        ([[3e38, 3e38, 0]], "float32"),
        ([[0, 3e38, 3e38]], "float32"),
        ([[0, 1, 3e38], [1, 2, 3]], "float32"),
        ([[0, 1, 1e308]], "float64"),
    ],
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_logits_that_overflow(logits, dtype, n_threads):
    """The largest of them is not known: no class is right, and no probability."""
    net = net_with_logits(np.array(logits), dtype)
    net.n_threads = n_threads
    x = np.eye(len(logits), dtype=dtype)[np.zeros(1000, int)]
    x[701:] *= 4
    for call in (net.predict, net.predict_proba):
        with pytest.raises(DataError, match=rf"^x: row 701 has logits beyond what {dtype} holds"):
            call(x)
        call(x[:701])
    loss, _ = net.evaluate(x, np.zeros(1000, int))
    assert not np.isfinite(loss)


def test_logits_that_overflow_downwards():
    """Their probability is 0, and that of the others what it was."""
    net = net_with_logits(np.array([[-3e38, 0, 1]]), "float32")
    x = np.ones((3, 1), np.float32)
    expected = net.predict_proba(x)
    net.parameters = {"W1": [[4.0]], "W2": [[-3e38, 0, 0.25]]}
    np.testing.assert_array_equal(net.predict_proba(x), expected)
    assert net.predict(x).tolist() == [2, 2, 2]
