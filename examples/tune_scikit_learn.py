# SPDX-License-Identifier: BSD-3-Clause
"""Tune a pipeline with scikit-learn: many candidates for few epochs, the better third for more.

`--scheduler` has the workers of a Dask cluster fit them, instead of processes of this machine.
"""

import argparse
import contextlib

import joblib
from sae_fast.optimizers import RMSprop
from sae_fast.schedules import Cosine
from sae_fast.sklearn import StackedAutoencoderClassifier
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingRandomSearchCV, train_test_split
from sklearn.pipeline import Pipeline

SPACE = {
    "pca": ["passthrough", PCA(20), PCA(40)],
    "net__units": [32, 100, (100, 50)],
    "net__learning_rate": [1e-3, 3e-3, Cosine(3e-3), Cosine(1e-2)],
    "net__optimizer": ["adam", RMSprop()],
    "net__weight_decay": loguniform(1e-2, 10),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=27, help="of the last round")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--scheduler", help="address of Dask's")
    args = parser.parse_args()

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y, random_state=0)
    pipeline = Pipeline([("pca", "passthrough"), ("net", StackedAutoencoderClassifier())])
    pipeline.set_params(net__pretrain_epochs=1, net__random_state=0)
    search = HalvingRandomSearchCV(
        pipeline,
        SPACE,
        n_candidates=args.candidates,
        resource="net__epochs",
        min_resources="exhaust",
        max_resources=args.epochs,
        cv=3,
        n_jobs=args.jobs,
        random_state=0,
    )
    with contextlib.ExitStack() as stack:
        if args.scheduler:
            from distributed import Client

            stack.enter_context(Client(args.scheduler))
            stack.enter_context(joblib.parallel_config("dask"))
        search.fit(x_train, y_train)

    for epochs, n in zip(search.n_resources_, search.n_candidates_, strict=True):
        print(f"{n} candidates, {epochs} epochs")
    print(f"best: {search.best_params_}")
    print(f"test accuracy: {search.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
