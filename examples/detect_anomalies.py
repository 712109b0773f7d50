# SPDX-License-Identifier: BSD-3-Clause
"""Find what is unlike the training rows, by how badly it is reconstructed.

Every digit in turn: once the only normal one, among nine that are anomalies, and once the only
anomaly among nine that are normal.
"""

import functools

import numpy as np
from sae_fast.sklearn import StackedAutoencoderTransformer
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, stratify=y, random_state=0)


def detect(is_normal):
    """Train on normal rows; return scores of the test set, its anomalies, and a threshold."""
    normal = x_train[is_normal(y_train)]
    fitted, aside = train_test_split(normal, test_size=0.25, random_state=0)
    detector = StackedAutoencoderTransformer(units=8, steps=1000, random_state=0).fit(fitted)
    # One in twenty normal rows, of those that were not trained on, is above the threshold.
    threshold = np.quantile(detector.score_samples(aside), 0.95)
    return detector.score_samples(x_test), ~is_normal(y_test), threshold


scores, is_anomaly, threshold = detect(functools.partial(np.equal, 3))
alarm = scores > threshold
print("normal: 3, anomalies: all other digits")
print(f"alarms for {alarm[is_anomaly].mean():.0%} of {is_anomaly.sum()} anomalies", end="")
print(f" and {alarm[~is_anomaly].mean():.0%} of {(~is_anomaly).sum()} normal rows")

for name, compare in (
    ("one digit is normal", np.equal),
    ("one digit is anomalous", np.not_equal),
):
    aucs = []
    for digit in range(10):
        found = detect(functools.partial(compare, digit))
        aucs.append(roc_auc_score(found[1], found[0]))
    print(f"{name}: ROC-AUC {np.mean(aucs):.3f} on average, {min(aucs):.3f} at worst")
