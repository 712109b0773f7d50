# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of a model: their names and shapes, what may be assigned, and when.

A network holds them; where samples are measured in units, those that leave or enter the model are
in the samples' own.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_parameter, check_scale
from ..base.text import Described
from ..base.threads import Turns, resolve_threads, sharing
from ..core.activations import Function
from ..core.build import openmp_threads
from ..core.inputs import as_input
from ..core.layers import Layer
from ..core.networks import Network
from ..core.units import PLAIN, Units
from ..errors import DataError
from .claims import Claim, in_turn

if TYPE_CHECKING:
    from typing_extensions import Self

_T = TypeVar("_T")


class ReadOnly(Generic[_T]):
    """A public attribute that says what a model is: its constructor sets it, and nobody else.

    Native code works with the same numbers, which an assignment would not change. What a training
    changes of them, `Parametrized._set` does.
    """

    def __set_name__(self, _: type, name: str) -> None:  # noqa: D105
        self._name = name

    if TYPE_CHECKING:  # without it Python reads the model's own dictionary, and fast

        def __get__(self, model: Parametrized | None, _: type) -> _T: ...  # noqa: D105

    def __set__(self, model: Parametrized, value: _T) -> None:  # noqa: D105
        if self._name in vars(model):
            raise AttributeError(
                f"{self._name}: read-only, expected another {type(model).__name__} for another "
                "value"
            )
        model._set(**{self._name: value})


class Parametrized(Described):
    """Something that has layers, whose parameters have names."""

    _NAME: ClassVar[str]  # of the class, in files

    n_features = ReadOnly[int]()
    dtype = ReadOnly[str]()
    seed = ReadOnly[int]()
    init = ReadOnly[str]()
    tied = ReadOnly[bool]()
    _scale: float | None = None
    _units = PLAIN  # of the samples that its network reads
    _restoring: int | None = None  # the layer that gives samples back, if one does
    _asked_threads: int | None = None
    _n_threads: int
    _network: Network
    _widths: Sequence[int]  # of the samples, and of each layer of the network
    _activations: Sequence[Function]  # of each layer of the network
    _depth: int  # hidden layers: what is above them is no code
    _state: Any = None  # of the optimizer of the latest training
    _turns: Turns  # of who trains it and who sees or changes it as a whole
    _n_assigned: int = 0  # how often parameters have been assigned
    _draws = True  # whether the constructor draws initial parameters
    _drawn = False  # whether it did, and none has been assigned since

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Return an object that has locks before anything else."""
        model = super().__new__(cls)
        model._turns = Turns()
        return model

    def _set(self, **values: Any) -> None:
        """Set attributes that are read-only."""
        vars(self).update(values)

    @classmethod
    def _blank(cls, **arguments: Any) -> Self:
        """Return what the constructor would, without initial parameters: all are 0."""
        model = cls.__new__(cls)
        model._draws = False
        model.__init__(**arguments)  # type: ignore[misc]
        return model

    @classmethod
    def _widths_of(cls, architecture: Mapping[str, Any]) -> Sequence[Any]:
        """Return `_widths`, unchecked, of what a file says of an architecture."""
        raise NotImplementedError

    def _names(self) -> list[tuple[str, str]]:
        """Return what the weights and the biases of each layer of the network are called."""
        raise NotImplementedError

    def _place(self, layer: int) -> tuple[Network, int]:
        """Return the network that holds a layer, and where in it."""
        return self._network, layer

    def _copied(self) -> dict[str, str]:
        """Return the names of weights that are the transposes of others, with theirs."""
        if self._restoring is None or not self.tied:
            return {}
        weights = [w for w, _ in self._names()]
        return dict(zip(weights[self._depth :], weights[self._depth - 1 :: -1], strict=True))

    def _shapes(self, *, copied: bool = False) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by its name, of those that are `copied` if asked."""
        shapes: dict[str, tuple[int, ...]] = {}
        widths = itertools.pairwise(self._widths)
        for (w, b), (n_in, n_out) in zip(self._names(), widths, strict=True):
            shapes |= {w: (n_in, n_out), b: (n_out,)}
        left_out = () if copied else self._copied()
        return {name: shape for name, shape in shapes.items() if name not in left_out}

    def _layer(self, layer: int) -> Layer:
        """Return a layer as the network has it, its parameters copied."""
        network, at = self._place(layer)
        w, b = network.get_parameters(at)
        return Layer(w, b, self._activations[layer])

    def _own_layer(self, layer: int) -> Layer:
        """Return a layer that reads samples, or gives them back, in their own units."""
        found = self._layer(layer)
        if self._units and layer == 0:
            found = self._units.read(found)
        if self._units and layer == self._restoring:
            found = self._units.restore(found)
        return found

    def _adopt(self, layers: Sequence[Layer]) -> Self:
        """Take over the parameters of as many layers."""
        self.parameters = {
            name: value
            for names, layer in zip(self._names(), layers, strict=True)
            for name, value in zip(names, layer[:2], strict=True)
        }
        return self

    @property
    @in_turn
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters by their names, all of one moment.

        Assignable with all or some of these names; DataError if a name, a shape or a value is
        wrong, or another thread trains the model, and then nothing has changed.
        """
        return self._named(self._own_layer)

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        self._assign(self._checked(values), self._units)

    @property
    @in_turn
    def _values(self) -> dict[str, NDArray[Any]]:
        """The parameters as the network has them, each once; assignable like `parameters`."""
        named = self._named(self._layer)
        return {name: named[name] for name in self._shapes()}

    @_values.setter
    def _values(self, values: Mapping[str, Any]) -> None:
        self._assign(self._checked(values))

    def _named(self, layer_of: Callable[[int], Layer]) -> dict[str, NDArray[Any]]:
        return {
            name: value
            for layer, names in enumerate(self._names())
            for name, value in zip(names, layer_of(layer)[:2], strict=True)
        }

    def _checked(self, values: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        if not isinstance(values, Mapping):
            raise DataError(f"parameters: expected a mapping, got {type(values).__name__}")
        shapes = self._shapes(copied=True)
        unknown = [name for name in values if name not in shapes]
        if unknown:
            raise DataError(f"parameters: expected names of {list(shapes)}, got {unknown}")
        dtype = np.dtype(self.dtype)
        return {
            name: check_parameter(name, value, shapes[name], dtype)
            for name, value in values.items()
        }

    @in_turn
    def _assign(self, new: dict[str, NDArray[Any]], units: Units | None = None) -> None:
        """Take over some parameters, which have been checked and may end the use of units."""
        for model in self._trained():
            claim = Claim.of(model)
            if claim is not None and claim.thread != threading.get_ident():
                raise DataError(
                    "parameters: expected a model that is not in training, got one that is being "
                    "trained on another thread"
                )
        for name, source in self._copied().items():
            w = new[source] if source in new else self._named(self._layer)[source]
            if name in new and not np.array_equal(new[name], w.T):
                raise DataError(
                    f"parameters[{name!r}]: expected the transpose of {source}, to which it is "
                    "tied, got another matrix"
                )
        if units:
            new, self._units = {**self._named(self._own_layer), **new}, PLAIN
        for model in self._trained():
            model._n_assigned += 1
            model._drawn = False
        for layer, names in enumerate(self._names()):
            if not new.keys() >= set(names):
                new = {**dict(zip(names, self._layer(layer)[:2], strict=True)), **new}
            network, at = self._place(layer)
            network.set_parameters(at, *(new.pop(name) for name in names))

    @property
    def n_threads(self) -> int:
        """Most threads to compute on, in a stack's `autoencoders` too.

        Assignable at any time, during a training as well. Where it was not given, a limit
        that `threadpoolctl` has set on the thread that calls is an upper bound.
        """
        if self._asked_threads is None:
            return min(self._n_threads, sharing.get(), openmp_threads())
        return self._n_threads

    @n_threads.setter
    def n_threads(self, n_threads: int | None) -> None:
        resolved = resolve_threads(n_threads)
        for model in self._trained():
            model._n_threads, model._asked_threads = resolved, n_threads

    @property
    def scale(self) -> float | None:
        """The `scale` of the latest training: how uint8 samples are read where none is given.

        None if that was a training without uint8. Assignable; it travels with the model.
        """
        return self._scale

    @scale.setter
    def scale(self, scale: float | None) -> None:
        self._scale = None if scale is None else check_scale(scale, self.dtype)

    def _input(self, name: str, x: Any, n_features: int, *more: Any) -> Any:
        """Return the core's input for an argument, shape (n_samples, n_features)."""
        return as_input(name, x, n_features, self.dtype, self.n_threads, *more)

    @property
    def _untouched(self) -> bool:
        """Whether all parameters are as they were drawn."""
        return self._drawn and all(model._state is None for model in self._trained())

    def _drew(self, drawn: bool) -> None:
        """Say whether the parameters are as they were drawn, after they have been assigned."""
        for model in self._trained():
            model._drawn = drawn

    def _trained(self) -> Sequence[Any]:
        """Return all that has an optimizer's state of its own: the model and those in it."""
        return [self]
