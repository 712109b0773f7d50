# SPDX-License-Identifier: BSD-3-Clause
"""Learn from 1,347 digits of which only 30 have a label: the others are marked -1.

All rows take part in pretraining, the labelled ones alone in fine-tuning. Beside it, the same
network without pretraining, which sees nothing but the labelled rows. Means over five seeds.
"""

import numpy as np
from sae_fast.sklearn import StackedAutoencoderClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)

for units in ((32, 16, 8), (200,)):
    scores = []
    for seed in range(5):
        x_train, x_test, y_train, y_test = train_test_split(
            x / 16, y, stratify=y, random_state=seed
        )
        labelled, _ = train_test_split(
            np.arange(len(y_train)), train_size=30, stratify=y_train, random_state=seed
        )
        y_few = np.full_like(y_train, -1)
        y_few[labelled] = y_train[labelled]

        pretrained = StackedAutoencoderClassifier(
            units, pretrain_steps=1000, steps=300, unlabelled=-1, random_state=seed
        ).fit(x_train, y_few)
        plain = StackedAutoencoderClassifier(
            units, pretrain_steps=0, steps=300, random_state=seed
        ).fit(x_train[labelled], y_train[labelled])
        scores.append([pretrained.score(x_test, y_test), plain.score(x_test, y_test)])
    with_all, with_few = np.mean(scores, axis=0)
    print(f"{units}: accuracy {with_all:.3f} with all rows, {with_few:.3f} with the labelled alone")
