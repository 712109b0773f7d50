# SPDX-License-Identifier: BSD-3-Clause
"""Find what is unlike the training rows, by how badly it is reconstructed.

Every digit in turn: once the only normal one, among nine that are anomalies, and once the only
anomaly among nine that are normal.
"""

import functools

import numpy as np
from sae_fast.sklearn import StackedAutoencoderOutlierDetector
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, stratify=y, random_state=0)


def detect(is_normal, contamination=0.1):
    """Train on normal rows; return the detector, and which of the test set are anomalies."""
    detector = StackedAutoencoderOutlierDetector(
        8, contamination=contamination, random_state=0
    ).fit(x_train[is_normal(y_train)])
    return detector, ~is_normal(y_test)


detector, is_anomaly = detect(functools.partial(np.equal, 3), contamination=0.02)
alarm = detector.predict(x_test) == -1
print("normal: 3, anomalies: all other digits")
print(f"alarms for {alarm[is_anomaly].mean():.0%} of {is_anomaly.sum()} anomalies", end="")
print(f" and {alarm[~is_anomaly].mean():.0%} of {(~is_anomaly).sum()} normal rows")
scores, threshold = -detector.score_samples(x_test), detector.threshold_

strange = x_test[~is_anomaly][:1].copy()
strange[0, 30] = 1 - strange[0, 30]
print("a 3 with one pixel changed is odd at pixel", detector.feature_errors(strange).argmax())

for name, compare in (
    ("one digit is normal", np.equal),
    ("one digit is anomalous", np.not_equal),
):
    aucs = []
    for digit in range(10):
        found, odd = detect(functools.partial(compare, digit))
        aucs.append(roc_auc_score(odd, -found.score_samples(x_test)))
    print(f"{name}: ROC-AUC {np.mean(aucs):.3f} on average, {min(aucs):.3f} at worst")
