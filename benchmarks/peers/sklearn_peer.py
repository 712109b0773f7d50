# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn: the article's network as an `MLPClassifier`, fine-tuning alone.

A call of `partial_fit` takes the samples of a whole stretch in their order, so its checks are paid
once for all steps between two evaluations. Same steps, batch, rate and Adam (TensorFlow 1's form);
its own initial weights (Glorot's, of He's size), no penalty, and the mean over a batch where the
article has the sum, which Adam cancels. Tried: a call per batch takes 2.5 times as long, float64
samples twice as long, and one BLAS thread or two make no clear difference.
"""

from __future__ import annotations

import time

import numpy as np
import shared
import sklearn
from shared import BATCH, BETA1, BETA2, EPSILON, HIDDEN, LEARNING_RATE, N_CLASSES
from sklearn.neural_network import MLPClassifier


def classifier(hidden: tuple[int, ...], seed: int, batch: int = BATCH) -> MLPClassifier:
    return MLPClassifier(
        hidden,
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=LEARNING_RATE,
        shuffle=False,
        random_state=seed,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPSILON,
    )


class Peer(shared.Peer):
    """scikit-learn on its BLAS's threads."""

    version = f"scikit-learn {sklearn.__version__}"

    def finetune(self, options):
        data = shared.Mnist.read(options.data_dir)
        started = time.perf_counter()
        model = classifier(HIDDEN, options.seed)
        rng = np.random.default_rng([options.seed, 3])
        batches = shared.draw_batches(rng, len(data.x), options.finetune_steps, BATCH)
        losses, accuracies = [], []
        for stretch in shared.stretches(batches):
            order = stretch.ravel()
            model.partial_fit(data.x[order], data.y[order], classes=np.arange(N_CLASSES))
            p = model.predict_proba(data.x_test)
            right = p[np.arange(len(p)), data.y_test]
            losses.append(-float(np.log(np.maximum(right, shared.SMALLEST_P)).sum()))
            accuracies.append(float(np.mean(p.argmax(axis=1) == data.y_test)))
        seconds = time.perf_counter() - started
        return {"arms": {"he": shared.arm_record(losses, accuracies, seconds)}, "seconds": seconds}

    def stepper(self, point, x, y, batches):
        model = classifier(point.sizes[1:-1], 0, point.batch)
        order = batches.ravel()
        samples, labels, classes = x[order], y[order], np.arange(point.sizes[-1])
        return lambda: model.partial_fit(samples, labels, classes=classes)

    def predictor(self, layers):
        sizes = [w.shape[1] for w, _ in layers]
        model = classifier(tuple(sizes[:-1]), 0, batch=1)
        row = np.zeros((1, len(layers[0][0])), np.float32)
        model.partial_fit(row, [0], classes=np.arange(sizes[-1]))  # to have parameters at all
        model.coefs_, model.intercepts_ = map(list, zip(*layers, strict=True))
        return model.predict


VARIANTS = {"default": Peer}
