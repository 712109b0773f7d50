# SPDX-License-Identifier: BSD-3-Clause
"""Classify scikit-learn's digits: a pretrained network, its units by search."""

from sae_fast.sklearn import StackedAutoencoderClassifier
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, train_test_split

x, y = load_digits(return_X_y=True)  # (1797, 64), 0 ... 16
x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y, random_state=0)

classifier = StackedAutoencoderClassifier(steps=2000, early_stopping=True, random_state=0)
search = GridSearchCV(classifier, {"units": [(32,), (64, 32), (128, 64)]}, cv=3)
search.fit(x_train, y_train)

classifier = search.best_estimator_
print(f"best units: {classifier.units}")
print(f"stopped after {classifier.history_.steps[-1]} of at most {classifier.steps} steps")
print(f"test accuracy: {search.score(x_test, y_test):.3f}")
print(confusion_matrix(y_test, search.predict(x_test)))
