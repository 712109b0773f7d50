# SPDX-License-Identifier: BSD-3-Clause
"""JAX as its best user would: `jit` around `lax.scan`, a call per stretch between two evaluations.

Everything is float32 and resident on the device, the training state is donated, the training set is
encoded once when a layer is frozen (the article encodes each batch again at every step), losses
stay on the device until a phase ends, and every function is compiled before the clock starts. Adam
has TensorFlow 1's form, as the article's. Arms run one after the other, or (`side-by-side`) each in
a thread of its own. Tried, in a single run each, without a gain: evaluations in chunks, one thread
for XLA, and `--xla_cpu_multi_thread_eigen=false`.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import shared
from shared import BATCH, BETA1, BETA2, EPSILON, EVAL_EVERY, LEARNING_RATE, SIZES


def dense(layer, x):
    w, b = layer
    return x @ w + b


def encode(layer, x):
    return jax.nn.relu(dense(layer, x))


def logits(layers, x):
    for layer in layers[:-1]:
        x = encode(layer, x)
    return dense(layers[-1], x)


def reconstruction_loss(layers, x):
    return jnp.sum((x - logits(layers, x)) ** 2)


def article_loss(z, y):
    p = jax.nn.softmax(z)
    t = jax.nn.one_hot(y, z.shape[1])
    return -jnp.sum(t * jnp.log(jnp.clip(p, shared.SMALLEST_P, 1.0)))


def classifier_loss(layers, x, y):
    return article_loss(logits(layers, x), y)


def adam(state, gradients):
    """One step of Adam in TensorFlow 1's form; state is (parameters, m, v, t)."""
    parameters, m, v, t = state
    t = t + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), parameters, m, v
    )
    return parameters, m, v, t


def fresh_state(layers):
    layers = jax.tree.map(jnp.array, layers)
    zeros = jax.tree.map(jnp.zeros_like, layers)
    return layers, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0)


def scan_steps(loss, state, batches, *arrays):
    """Train a stretch; `loss` takes the layers and a batch of each of `arrays`."""

    def step(state, batch):
        return adam(state, jax.grad(loss)(state[0], *(array[batch] for array in arrays))), None

    return jax.lax.scan(step, state, batches)[0]


def pretrain_stretch(state, x, batches):
    """EVAL_EVERY steps of an autoencoder, then its loss over the whole set."""
    state = scan_steps(reconstruction_loss, state, batches, x)
    return state, reconstruction_loss(state[0], x)


def finetune_stretch(state, x, y, batches, x_test, y_test):
    """EVAL_EVERY steps of the network, then loss and accuracy on the test set."""
    state = scan_steps(classifier_loss, state, batches, x, y)
    z = logits(state[0], x_test)
    return state, (article_loss(z, y_test), jnp.mean(z.argmax(axis=1) == y_test))


def compiled(function, *arguments, donate=()):
    return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()


class Peer(shared.Peer):
    """JAX on its CPU backend."""

    version = f"JAX {jax.__version__}"

    def compile(self, data: shared.Mnist) -> None:
        n, rng = len(data.x), np.random.default_rng(0)
        batches = jnp.zeros((EVAL_EVERY, BATCH), jnp.int32)
        self.pretrain_stretch, self.encode = {}, {}
        for n_in, n_hidden in itertools.pairwise(SIZES[:-1]):
            x = jax.ShapeDtypeStruct((n, n_in), jnp.float32)
            state = fresh_state(shared.draw_autoencoder(rng, n_in, n_hidden))
            shape = n_in, n_hidden
            self.pretrain_stretch[shape] = compiled(pretrain_stretch, state, x, batches, donate=0)
            self.encode[shape] = compiled(encode, state[0][0], x)
        state = fresh_state(shared.draw_article(rng))
        self.finetune_stretch = compiled(
            finetune_stretch, state, data.x, data.y, batches, data.x_test, data.y_test, donate=0
        )

    def load(self, data: shared.Mnist):
        self.x, self.y, self.x_test, self.y_test = map(
            jax.device_put, (data.x, data.y, data.x_test, data.y_test)
        )
        return self.x

    def train_autoencoder(self, codes, autoencoder, batches):
        state, losses = fresh_state(autoencoder), []
        shape = autoencoder[0][0].shape
        for stretch in shared.stretches(batches):
            state, loss = self.pretrain_stretch[shape](state, codes, stretch)
            losses.append(loss)
        encoder = state[0][0]
        return encoder, np.array(losses, np.float64).tolist(), self.encode[shape](encoder, codes)

    def train_classifier(self, layers, batches):
        state, curve = fresh_state(layers), []
        for stretch in shared.stretches(batches):
            state, point = self.finetune_stretch(
                state, self.x, self.y, stretch, self.x_test, self.y_test
            )
            curve.append(point)
        return np.array(curve, np.float64).tolist()

    def stepper(self, point, x, y, batches):
        arrays = jax.device_put((x, y))
        batches = jax.device_put(batches)
        state = fresh_state(shared.draw_network(point.sizes, 0))
        train = functools.partial(scan_steps, classifier_loss)
        train = compiled(train, state, batches, *arrays, donate=0)

        def run() -> None:
            nonlocal state
            state = jax.block_until_ready(train(state, batches, *arrays))

        return run

    def predictor(self, layers):
        layers = jax.device_put(layers)
        predict = jax.jit(lambda x: logits(layers, x).argmax(axis=1))
        return lambda rows: np.asarray(predict(rows))

    def multiplier(self, a, b):
        a, b = jax.device_put(a), jax.device_put(b)
        multiply = jax.jit(jnp.matmul)
        return lambda: multiply(a, b).block_until_ready()


class SideBySide(Peer):
    """Both arms at one time, sharing XLA's threads."""

    arms_at_once = len(shared.ARMS)


VARIANTS = {"serial": Peer, "side-by-side": SideBySide}
