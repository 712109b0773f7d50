# SPDX-License-Identifier: BSD-3-Clause
"""Find digits that were never seen in training, by how badly they are reconstructed.

Trains on the digits 1 to 9 alone and scores a test set in which zeros are the anomalies.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split

from sae_fast.sklearn import StackedAutoencoderTransformer

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, stratify=y, random_state=0)
is_anomaly = y_test == 0

detector = StackedAutoencoderTransformer(units=16, steps=3000, random_state=0)
detector.fit(x_train[y_train != 0])
scores = detector.score_samples(x_test)  # mean squared error of each row

# The threshold comes from normal samples alone: one in twenty of them is above it.
threshold = np.quantile(detector.score_samples(x_train[y_train != 0]), 0.95)
alarm = scores > threshold

print(f"mean score of normal rows {scores[~is_anomaly].mean():.4f}, ", end="")
print(f"of anomalies {scores[is_anomaly].mean():.4f}, threshold {threshold:.4f}")
print(f"ROC-AUC: {roc_auc_score(is_anomaly, scores):.3f}")
print(f"precision: {precision_score(is_anomaly, alarm):.3f}")
print(f"recall: {recall_score(is_anomaly, alarm):.3f}")
