# SPDX-License-Identifier: BSD-3-Clause
"""TensorFlow: the article's graph program, and a `tf.function` as its best user would write it.

`graph` is the article's listing on `tf.compat.v1`: a `Session.run` per step, batches fed from
NumPy, the frozen layers below an autoencoder computed again at every step.
`function` keeps the data resident, compiles a loop over the steps between two evaluations, these
included, with XLA, encodes the training set once when a layer is frozen, and gives each arm one
core. Tried, in a single run each: without XLA, Adam by its own operation, 1.0 to 1.7 ms a step; XLA
with two threads in an operation, 1.0 to 1.1; with one, as it is now, 0.6 to 0.7. Both
use Adam in TensorFlow 1's form.
"""

from __future__ import annotations

import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import shared
import tensorflow as tf
from shared import BATCH, BETA1, BETA2, EPSILON, EVAL_EVERY, LEARNING_RATE, SIZES

v1 = tf.compat.v1
VERSION = f"TensorFlow {tf.__version__}"
tf.get_logger().setLevel("ERROR")


def encode(layer, x):
    w, b = layer
    return tf.nn.relu(tf.matmul(x, w) + b)


def logits(layers, x):
    for layer in layers[:-1]:
        x = encode(layer, x)
    w, b = layers[-1]
    return tf.matmul(x, w) + b


def reconstruction_loss(layers, x):
    return tf.reduce_sum(tf.square(x - logits(layers, x)))


def article_loss(z, t):
    p = tf.nn.softmax(z)
    return -tf.reduce_sum(t * tf.math.log(tf.clip_by_value(p, shared.SMALLEST_P, 1.0)))


def classifier_loss(layers, x, t):
    return article_loss(logits(layers, x), t)


def accuracy(z, t):
    return tf.reduce_mean(tf.cast(tf.equal(tf.argmax(z, 1), tf.argmax(t, 1)), tf.float32))


def one_hot(y: np.ndarray) -> np.ndarray:
    return np.eye(shared.N_CLASSES, dtype=np.float32)[y]


# The article's program


class GraphProgram(shared.Peer):
    """One graph and session per phase; what is frozen becomes constants of the next graph."""

    version = VERSION

    def __init__(self, threads: int) -> None:
        self.config = v1.ConfigProto(intra_op_parallelism_threads=threads)

    def load(self, data: shared.Mnist):
        self.x, self.x_test = data.x, data.x_test
        self.t, self.t_test = one_hot(data.y), one_hot(data.y_test)
        return []  # no frozen layers yet

    def train_autoencoder(self, frozen, autoencoder, batches):
        with v1.Graph().as_default(), v1.Session(config=self.config) as session:
            x = v1.placeholder(tf.float32, [None, shared.N_FEATURES])
            codes = x
            for layer in frozen:
                codes = encode(layer, codes)
            layers = variables(autoencoder)
            loss = reconstruction_loss(layers, codes)
            step = v1.train.AdamOptimizer(LEARNING_RATE, BETA1, BETA2, EPSILON).minimize(loss)
            session.run(v1.global_variables_initializer())
            losses = []
            for stretch in shared.stretches(batches):
                for batch in stretch:
                    session.run(step, {x: self.x[batch]})
                losses.append(float(session.run(loss, {x: self.x})))
            encoder = session.run(layers[0])
        return encoder, losses, [*frozen, encoder]

    def train_classifier(self, layers, batches):
        with v1.Graph().as_default(), v1.Session(config=self.config) as session:
            x = v1.placeholder(tf.float32, [None, shared.N_FEATURES])
            t = v1.placeholder(tf.float32, [None, shared.N_CLASSES])
            z = logits(variables(layers), x)
            loss, right = article_loss(z, t), accuracy(z, t)
            step = v1.train.AdamOptimizer(LEARNING_RATE, BETA1, BETA2, EPSILON).minimize(loss)
            session.run(v1.global_variables_initializer())
            curve = []
            for stretch in shared.stretches(batches):
                for batch in stretch:
                    session.run(step, {x: self.x[batch], t: self.t[batch]})
                point = session.run([loss, right], {x: self.x_test, t: self.t_test})
                curve.append(tuple(map(float, point)))
        return curve


def variables(layers):
    return [tuple(v1.Variable(array) for array in layer) for layer in layers]


# Its best user's


def adam(state, gradients):
    """One step of Adam in TensorFlow 1's form; state is (parameters, m, v, t), all flat."""
    parameters, m, v, t = state
    t = t + 1.0
    rate = LEARNING_RATE * tf.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    m = [BETA1 * a + (1 - BETA1) * g for a, g in zip(m, gradients, strict=True)]
    v = [BETA2 * a + (1 - BETA2) * g * g for a, g in zip(v, gradients, strict=True)]
    parameters = [
        p - rate * a / (tf.sqrt(b) + EPSILON) for p, a, b in zip(parameters, m, v, strict=True)
    ]
    return parameters, m, v, t


def fresh_state(layers):
    parameters = [tf.constant(array) for layer in layers for array in layer]
    zeros = [tf.zeros_like(p) for p in parameters]
    return parameters, zeros, zeros, tf.constant(0.0)


def as_layers(parameters):
    return list(zip(parameters[::2], parameters[1::2], strict=True))


def train(loss, state, batches, *arrays):
    """Train a stretch; `loss` takes the layers and a batch of each of `arrays`."""
    for batch in batches:  # AutoGraph makes a loop in the graph of this
        parameters = state[0]
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            value = loss(as_layers(parameters), *[tf.gather(array, batch) for array in arrays])
        state = adam(state, tape.gradient(value, parameters))
    return state


@tf.function(jit_compile=True)
def pretrain_stretch(state, x, batches):
    state = train(reconstruction_loss, state, batches, x)
    return state, reconstruction_loss(as_layers(state[0]), x)


@tf.function(jit_compile=True)
def finetune_stretch(state, x, t, batches, x_test, t_test):
    state = train(classifier_loss, state, batches, x, t)
    z = logits(as_layers(state[0]), x_test)
    return state, tf.stack([article_loss(z, t_test), accuracy(z, t_test)])


class FunctionProgram(shared.Peer):
    """A call per stretch between two evaluations; one core for each arm."""

    version = VERSION
    arms_at_once = len(shared.ARMS)

    def __init__(self, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(max(1, threads // self.arms_at_once))

    def compile(self, data: shared.Mnist) -> None:
        """Run a stretch of everything once: XLA compiles when it first sees a shape."""
        rng = np.random.default_rng(0)
        batches = tf.zeros([EVAL_EVERY, BATCH], tf.int32)
        for n_in, n_hidden in itertools.pairwise(SIZES[:-1]):
            state = fresh_state(shared.draw_autoencoder(rng, n_in, n_hidden))
            pretrain_stretch(state, tf.zeros([len(data.x), n_in]), batches)
        test = tf.constant(data.x_test), tf.constant(one_hot(data.y_test))
        train = tf.constant(data.x), tf.constant(one_hot(data.y))
        finetune_stretch(fresh_state(shared.draw_article(rng)), *train, batches, *test)

    def load(self, data: shared.Mnist):
        self.train = tf.constant(data.x), tf.constant(one_hot(data.y))
        self.test = tf.constant(data.x_test), tf.constant(one_hot(data.y_test))
        return self.train[0]

    def train_autoencoder(self, codes, autoencoder, batches):
        state, losses = fresh_state(autoencoder), []
        for stretch in shared.stretches(batches):
            state, loss = pretrain_stretch(state, codes, tf.constant(stretch))
            losses.append(loss)
        encoder = as_layers(state[0])[0]
        return encoder, [float(loss) for loss in losses], encode(encoder, codes)

    def train_classifier(self, layers, batches):
        state, curve = fresh_state(layers), []
        for stretch in shared.stretches(batches):
            state, point = finetune_stretch(state, *self.train, tf.constant(stretch), *self.test)
            curve.append(point)
        return [tuple(point.numpy().tolist()) for point in curve]


VARIANTS = {"function": FunctionProgram, "graph": GraphProgram}
