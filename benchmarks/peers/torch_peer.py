# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch on the CPU: eager with fused Adam, or with the whole step compiled.

The data is resident, the training set is encoded once when a layer is frozen, evaluations run under
`inference_mode` in chunks of rows (less than half the time of the whole training set at once),
gradients are set to none, and no step waits for a number. The eager Adam is PyTorch's own, which
adds epsilon to the corrected root of v: TensorFlow 1's form, the article's, with an epsilon of
1e-8 sqrt(1 - beta2^t), of no account where gradients are sums over a batch. The compiled step
(gather, loss, gradients, the article's Adam in place) is one graph without a tape; in runs that
took turns with the eager one, it took 0.76 of its time. Inductor's C++ wrapper in place of its
Python one gained 4 % there, less than the runs' scatter. Seen in single runs only: compiling the
loss alone, or unrolling ten steps into the graph, gains little or nothing over eager. Arms run one
after the other on all cores, or (`side-by-side`) each in a thread and on a core of its own.

Prediction calls `addmm` on the layers, which takes half the time of an `nn.Sequential` (`module`).
In single runs a traced, frozen TorchScript was level with it, and `torch.compile` took twice as
long or more for one row.
"""

from __future__ import annotations

import itertools

import numpy as np
import shared
import torch
from shared import BETA1, BETA2, EPSILON, LEARNING_RATE
from torch.nn import functional

torch.set_flush_denormal(True)  # or units that died would slow Adam down

CHUNK = 1000  # rows evaluated at once


def encode(layer, x):
    w, b = layer
    return torch.addmm(b, x, w).relu_()


def logits(layers, x):
    for layer in layers[:-1]:
        x = encode(layer, x)
    w, b = layers[-1]
    return torch.addmm(b, x, w)


def reconstruction_loss(layers, x):
    return functional.mse_loss(logits(layers, x), x, reduction="sum")


def article_loss(z, y):
    p = functional.softmax(z, dim=1).gather(1, y[:, None])
    return -p.clamp(shared.SMALLEST_P, 1.0).log().sum()


def classifier_loss(layers, x, y):
    return article_loss(logits(layers, x), y)


def tensors(layers):
    """Layers as tensors of their own, weights (n_in, n_out) as they are drawn."""
    return [tuple(torch.tensor(array) for array in layer) for layer in layers]


class EagerTrainer:
    """Autograd and PyTorch's own fused Adam."""

    def __init__(self, loss, layers) -> None:
        self.loss, self.layers = loss, layers
        parameters = [p.requires_grad_() for layer in layers for p in layer]
        self.optimizer = torch.optim.Adam(
            parameters, lr=LEARNING_RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=True
        )

    def step(self, batch, *arrays) -> None:
        self.loss(self.layers, *(a.index_select(0, batch) for a in arrays)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def compiled_step(loss):
    """Gather, loss, gradients and Adam as one graph without autograd's tape."""

    def step(layers, moments, t, batch, *arrays):
        x = [a[batch] for a in arrays]
        gradients = torch.func.grad(loss)(layers, *x)
        t.add_(1)
        rate = LEARNING_RATE * torch.sqrt(1 - BETA2**t) / (1 - BETA1**t)
        for layer, layer_moments, layer_gradients in zip(layers, moments, gradients, strict=True):
            for p, (m, v), g in zip(layer, layer_moments, layer_gradients, strict=True):
                m.mul_(BETA1).add_(g, alpha=1 - BETA1)
                v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                p.sub_(rate * m / (v.sqrt() + EPSILON))

    return torch.compile(step, dynamic=False, options={"cpp_wrapper": True})


class CompiledTrainer:
    """A compiled step on parameters and moments that it updates in place."""

    def __init__(self, step, layers) -> None:
        self.compiled, self.layers = step, layers
        self.moments = [
            tuple((torch.zeros_like(p), torch.zeros_like(p)) for p in layer) for layer in layers
        ]
        self.t = torch.zeros(())

    @torch.no_grad()
    def step(self, batch, *arrays) -> None:
        self.compiled(self.layers, self.moments, self.t, batch, *arrays)


class Eager(shared.Peer):
    """Eager execution."""

    version = f"PyTorch {torch.__version__}"

    def experiment(self, options):
        torch.set_num_threads(max(1, self.threads // self.arms_at_once))
        return super().experiment(options)

    def trainer(self, loss, layers):
        return EagerTrainer(loss, layers)

    def load(self, data: shared.Mnist):
        self.x, self.x_test = torch.from_numpy(data.x), torch.from_numpy(data.x_test)
        self.y, self.y_test = (torch.from_numpy(y).long() for y in (data.y, data.y_test))
        return self.x

    def train_autoencoder(self, codes, autoencoder, batches):
        trainer = self.trainer(reconstruction_loss, tensors(autoencoder))
        losses = []
        for stretch in shared.stretches(batches):
            for batch in torch.from_numpy(stretch).long():
                trainer.step(batch, codes)
            losses.append(evaluate_reconstruction(trainer.layers, codes))
        encoder = trainer.layers[0]
        with torch.inference_mode():
            codes = torch.cat([encode(encoder, x) for x in codes.split(CHUNK)])
        return [p.numpy(force=True) for p in encoder], torch.stack(losses).tolist(), codes.clone()

    def train_classifier(self, layers, batches):
        trainer = self.trainer(classifier_loss, tensors(layers))
        curve = []
        for stretch in shared.stretches(batches):
            for batch in torch.from_numpy(stretch).long():
                trainer.step(batch, self.x, self.y)
            curve.append(evaluate_classifier(trainer.layers, self.x_test, self.y_test))
        return torch.stack(curve).tolist()

    def stepper(self, point, x, y, batches):
        arrays = torch.from_numpy(x), torch.from_numpy(y).long()
        trainer = self.trainer(classifier_loss, tensors(shared.draw_network(point.sizes, 0)))
        batches = torch.from_numpy(batches).long()

        def run() -> None:
            for batch in batches:
                trainer.step(batch, *arrays)

        return run

    def predictor(self, layers):
        layers = tensors(layers)

        @torch.inference_mode()
        def predict(rows):
            return logits(layers, torch.from_numpy(rows)).argmax(dim=1).numpy()

        return predict

    def multiplier(self, a, b):
        a, b = torch.from_numpy(a), torch.from_numpy(b)
        return lambda: torch.matmul(a, b)


class Compiled(Eager):
    """The step compiled, once for each loss and shape."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.steps = {}

    def trainer(self, loss, layers):
        key = loss, tuple(w.shape for w, _ in layers)
        if key not in self.steps:
            self.steps[key] = compiled_step(loss)
        return CompiledTrainer(self.steps[key], layers)

    def compile(self, data: shared.Mnist) -> None:
        """Take a step of everything once."""
        rng, batch = np.random.default_rng(0), torch.arange(shared.BATCH)
        for n_in, n_hidden in itertools.pairwise(shared.SIZES[:-1]):
            layers = tensors(shared.draw_autoencoder(rng, n_in, n_hidden))
            codes = torch.zeros(len(data.x), n_in)
            self.trainer(reconstruction_loss, layers).step(batch, codes)
        trainer = self.trainer(classifier_loss, tensors(shared.draw_article(rng)))
        trainer.step(batch, torch.from_numpy(data.x), torch.from_numpy(data.y).long())


class Module(Eager):
    """Prediction by the `nn.Sequential` that most people write, at its cost per module."""

    def predictor(self, layers):
        modules = []
        for w, b in tensors(layers):
            linear = torch.nn.Linear(*w.shape)
            linear.load_state_dict({"weight": w.T, "bias": b})
            modules += [linear, torch.nn.ReLU()]
        network = torch.nn.Sequential(*modules[:-1]).eval()

        @torch.inference_mode()
        def predict(rows):
            return network(torch.from_numpy(rows)).argmax(dim=1).numpy()

        return predict


class EagerSideBySide(Eager):
    """Each arm in a thread of its own, its operations on one core."""

    arms_at_once = len(shared.ARMS)


class CompiledSideBySide(Compiled):
    """Each arm in a thread of its own, its compiled step on one core."""

    arms_at_once = len(shared.ARMS)


VARIANTS = {
    "eager": Eager,
    "module": Module,
    "eager-side-by-side": EagerSideBySide,
    "compile": Compiled,
    "compile-side-by-side": CompiledSideBySide,
}


@torch.inference_mode()
def evaluate_reconstruction(layers, x):
    """Loss over the whole set, summed in float64 over the chunks."""
    return sum(reconstruction_loss(layers, chunk).double() for chunk in x.split(CHUNK))


@torch.inference_mode()
def evaluate_classifier(layers, x, y):
    """Loss and accuracy, as a tensor of both."""
    loss, correct = 0.0, 0
    for x_chunk, y_chunk in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        z = logits(layers, x_chunk)
        loss += article_loss(z, y_chunk).double()
        correct += (z.argmax(dim=1) == y_chunk).sum()
    return torch.stack([loss, correct / len(x)])
