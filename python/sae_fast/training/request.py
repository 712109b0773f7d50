# SPDX-License-Identifier: BSD-3-Clause
"""What a training is asked for: a field for each argument that trainings have in common.

A method that trains hands over what it was called with, ``Request.of(locals(), ...)``. What needs
neither samples nor a model is checked here, everything else by the record that it becomes part of:
an objective, samples, a schedule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..base.checks import check_array, check_bool, per_layer
from ..errors import DataError
from .callbacks import Callback, as_callbacks
from .objective import check_dropout
from .optimizers import Optimizer
from .rates import check_rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of a training, as they came but for those that have a type here."""

    # what is read
    sets: Mapping[str, Any]  # x and, if there is one, the samples of eval_set, by their names
    targets: Mapping[str, Any]  # what these are compared with; empty: with themselves
    sample_weight: Any
    scale: Any
    corruption: Any = None
    # what is minimized
    loss: Any
    weight_decay: Any
    dropout: Any
    penalties: Any
    # how, and how long
    optimizer: Optimizer
    steps: Any
    epochs: Any
    default_steps: int
    least: int = 1  # of steps or epochs; 0 where a layer may be left as it is
    batch_size: Any
    eval_every: Any
    batches: Any
    continued: bool
    # who looks on
    callbacks: Sequence[Callback]
    title: str | None = None  # None: the model's own

    @classmethod
    def of(cls, arguments: Mapping[str, Any], *, default_steps: int, least: int = 1) -> Request:
        """Check the arguments of a method that trains, `self` among them."""
        rest = dict(arguments)
        del rest["self"]
        x, eval_set = rest.pop("x"), rest.pop("eval_set")
        sets, targets, evaluated = {"x": x}, {}, {"eval_set": eval_set}
        if "y" in rest:
            targets["y"] = rest.pop("y")
        pair = isinstance(eval_set, (tuple, list)) and len(eval_set) == 2
        listed = isinstance(eval_set, (tuple, list)) and len(eval_set) > 0
        if listed and not targets and getattr(eval_set[0], "ndim", 1) == 2:
            got = "a pair" if pair else f"a {type(eval_set).__name__} of {len(eval_set)}"
            raise DataError(f"eval_set: expected samples alone, since no y is learned, got {got}")
        if eval_set is not None and targets:
            if not pair:
                raise DataError(f"eval_set: expected a pair (x, y), got {type(eval_set).__name__}")
            evaluated = {"eval_set[0]": eval_set[0]}
            targets["eval_set[1]"] = eval_set[1]
        return cls(
            sets=sets if eval_set is None else sets | evaluated,
            targets=targets,
            optimizer=Optimizer.check(*map(rest.pop, ("optimizer", "adam", "learning_rate"))),
            callbacks=as_callbacks(rest.pop("callbacks"), rest.pop("progress")),
            continued=check_bool("continued", rest.pop("continued")),
            default_steps=default_steps,
            least=least,
            **rest,
        )

    @classmethod
    def of_layers(
        cls, arguments: Mapping[str, Any], n_layers: int, *, default_steps: int
    ) -> list[Request]:
        """Check those of a method that trains layers one by one, and return what each is asked."""
        callbacks = as_callbacks(arguments["callbacks"], arguments["progress"])
        shared = {**arguments, "callbacks": callbacks, "progress": False}
        each = {
            name: per_layer(name, arguments[name], n_layers)
            for name in ("steps", "epochs", "learning_rate", "loss")
        }
        rates = each["learning_rate"]
        if any(rate is not arguments["learning_rate"] for rate in rates):  # one for each
            each["learning_rate"] = [
                rate if rate is None else check_rate(f"learning_rate[{at}]", rate)
                for at, rate in enumerate(rates)
            ]
        each["dropout"] = [*check_dropout(arguments["dropout"], n_layers)] or [0.0] * n_layers
        batches = arguments["batches"]
        listed = isinstance(batches, (list, tuple))
        if listed and any(check_array("batches", item).ndim == 2 for item in batches):
            each["batches"] = per_layer("batches", list(batches), n_layers)
        return [
            cls.of(
                shared | {name: values[at] for name, values in each.items()},
                default_steps=default_steps,
                least=0,
            )
            for at in range(n_layers)
        ]

    @property
    def length(self) -> dict[str, Any]:
        """What a schedule is made of."""
        names = "steps", "epochs", "default_steps", "least", "batch_size", "eval_every", "batches"
        return {name: getattr(self, name) for name in names}
