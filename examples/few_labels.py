# SPDX-License-Identifier: BSD-3-Clause
"""Learn from 1,347 digits of which only 50 have a label: the others are marked -1.

All rows take part in pretraining, the labelled ones alone in fine-tuning. Beside it, the same network
that sees nothing but the labelled rows.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sae_fast.sklearn import StackedAutoencoderClassifier

x, y = load_digits(return_X_y=True)
settings = {"units": (64, 32), "pretrain_steps": 2000, "steps": 500}

with_all, with_few = [], []
for seed in range(5):
    x_train, x_test, y_train, y_test = train_test_split(
        x / 16, y, stratify=y, random_state=seed
    )
    labelled, _ = train_test_split(
        np.arange(len(y_train)), train_size=50, stratify=y_train, random_state=seed
    )
    y_few = np.full_like(y_train, -1)
    y_few[labelled] = y_train[labelled]

    classifier = StackedAutoencoderClassifier(**settings, random_state=seed)
    with_all.append(classifier.fit(x_train, y_few).score(x_test, y_test))
    classifier.fit(x_train[labelled], y_train[labelled])
    with_few.append(classifier.score(x_test, y_test))

print(f"50 labels and {len(y_train) - 50} rows without: accuracy {np.mean(with_all):.3f}")
print(f"50 labels alone: accuracy {np.mean(with_few):.3f}")
