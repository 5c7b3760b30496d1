"""The network that a run trains: one of ours by its name, or anybody's."""

import contextlib
import dataclasses
import hashlib
import importlib
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_gradattn import models
from keras_gradattn._compat.keras import flatten_layers
from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.specs import DatasetSpec
from keras_gradattn.training._building import MODELS, build_model, precision
from keras_gradattn.training._pretrained import (
    application,
    check_application,
    check_preset,
    hub_preset,
    reason_of,
)
from keras_gradattn.training.recipe import Recipe, look_up

Model: TypeAlias = "str | keras.Model | Callable[..., keras.Model]"

# Modules whose networks are found by name, with their input made to fit.
_LIBRARIES: dict[str, Callable[..., keras.Model]] = {
    "keras.applications": application,
    "keras_hub": hub_preset,
}


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained, before it is built.

    Args:
        model: As `run` takes it.
        options: Further arguments of what makes it.
    """

    model: Model
    options: Mapping[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether it is a network of this package, by name."""
        return isinstance(self.model, str) and ":" not in self.model

    @property
    def is_published(self) -> bool:
        """Whether its name says all, ours or a library's."""
        return isinstance(self.model, str) and (
            self.is_ours or self._library is not None
        )

    @property
    def name(self) -> str:
        """Its name in results."""
        if isinstance(self.model, str):
            return self.model
        if isinstance(self.model, keras.Model):
            return str(self.model.name)
        qualified = getattr(self.model, "__qualname__", type(self.model).__qualname__)
        return f"{getattr(self.model, '__module__', '')}:{qualified}"

    def check(self) -> None:
        """Find out what can be found out before data is read.

        Raises:
            ValueError: If there is no such network; the nearest is suggested.
        """
        if isinstance(self.model, keras.Model):
            if self.options:
                raise ValueError(
                    "A model that is built takes no more options. "
                    f"Received: model_options={dict(self.options)}"
                )
        elif isinstance(self.model, str):
            if self.is_ours:
                constructor = look_up(self.model, MODELS, "model")
                _check_options(getattr(models, constructor), self.options)
            elif self._library is None:
                _check_call(imported(self.model), self.options)
            else:
                self._check_library(self.model.partition(":")[2])
        elif not callable(self.model):
            raise ValueError(
                "`model` should be a name, 'package.module:function', a Keras model or "
                f"a function that makes one. Received: model={self.model!r}"
            )
        else:
            _check_call(self.model, self.options)

    def build(
        self, spec: DatasetSpec, recipe: Recipe, check: bool = True
    ) -> keras.Model:
        """Build the network for a data set.

        Args:
            spec: The data set.
            recipe: The protocol.
            check: Whether to try it with an image. Several processes that train
                together cannot, once it is spread over them.

        Returns:
            A built model with one output a class, not compiled.

        Raises:
            ValueError: If it does not fit the data set.
        """
        if isinstance(self.model, str) and self.is_ours:
            return build_model(self.model, spec, recipe, **self.options)
        with _policy(precision(recipe)):
            network = self._made(spec)
        if not check:
            # Without values: layers that are not built yet make their weights.
            network(keras.Input(spec.input_shape))
            return network
        return _checked(network, spec, self.name)

    def _check_library(self, wanted: str) -> None:
        if self._library is hub_preset:
            check_preset(wanted)
        else:
            check_application(wanted, self.options)

    @property
    def _library(self) -> Callable[..., keras.Model] | None:
        assert isinstance(self.model, str)
        return _LIBRARIES.get(self.model.partition(":")[0])

    def _made(self, spec: DatasetSpec) -> Any:
        if isinstance(self.model, keras.Model):
            return _copy(self.model)
        if isinstance(self.model, str):
            if self._library is not None:
                wanted = self.model.partition(":")[2]
                return self._library(wanted, spec, **self.options)
            function = imported(self.model)
        else:
            function = self.model
        if isinstance(function, keras.Model):
            return _copy(function)
        given = {"num_classes": spec.num_classes, "input_shape": spec.input_shape}
        return function(**_accepted(function, given), **self.options)


def architecture(network: keras.Model) -> str:
    """A short name of a network's layers and weights, whatever they are called.

    Keras numbers layers through a process, so that names say nothing.
    """
    layers = [type(layer).__name__ for layer in flatten_layers(network)]
    weights = [[list(v.shape), str(v.dtype)] for v in network.weights]
    return fingerprint([layers, weights])


def fingerprint(content: Any) -> str:
    """Eight digits of a SHA-256 of plain data, as a word that file names take."""
    text = json.dumps(content, sort_keys=True)
    return f"sha_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def gives_logits(network: keras.Model, spec: DatasetSpec) -> bool:
    """Whether the outputs are logits, not probabilities.

    A layer that ends in a softmax can hide in a function; numbers cannot.
    """
    images = np.random.default_rng(0).normal(size=(4, *spec.input_shape))
    outputs = keras.ops.convert_to_numpy(
        network(images.astype("float32"), training=False)
    ).astype("float64")
    sums = outputs.sum(axis=-1)
    return not (outputs.min() >= 0 and np.allclose(sums, 1, atol=1e-2))


def imported(path: str) -> Any:
    """What `package.module:function` names.

    Raises:
        ValueError: If there is no such module or function; the nearest is suggested.
    """
    place, _, name = path.partition(":")
    # A dot in front means a neighbour, and nothing here has one.
    if not place or not name or place.startswith("."):
        raise ValueError(
            f"A network of your own is 'package.module:function'. Received: {path!r}"
        )
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not place.startswith(error.name):
            raise
        raise ValueError(
            f"There is no module {error.name!r} here. Modules are looked for in the "
            f"present folder and in what is installed. Received: {path!r}"
        ) from None
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [
                own
                for own, value in vars(found).items()
                if callable(value) and not own.startswith("_")
            ]
            raise ValueError(
                f"{place} has no {name!r}.{suggestion(part, known)} Received: {path!r}"
            )
        found = getattr(found, part)
    if not callable(found) or isinstance(found, types.ModuleType):
        raise ValueError(
            f"{path} should be a function that makes a Keras model. "
            f"Received: {type(found).__name__}"
        )
    return found


@contextlib.contextmanager
def _policy(name: str | None) -> Iterator[None]:
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _accepted(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that a function takes by name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return given
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    return {name: value for name, value in given.items() if name in names}


def _check_options(function: Any, options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise ValueError(
                f"{getattr(function, '__name__', 'The model')} has no such option."
                f"{suggestion(name, parameters)} Known: {', '.join(parameters)}. "
                f"Received: {name!r}"
            )


def _check_call(function: Any, options: Mapping[str, Any]) -> None:
    """Whether a function can be called with the options and what data sets give."""
    if isinstance(function, keras.Model):
        return
    _check_options(function, options)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    given = {"num_classes", "input_shape", *options}
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in given
    ]
    if needed:
        name = getattr(function, "__name__", "The model")
        raise ValueError(
            f"{name} needs {' and '.join(needed)}: give them as options of the model. "
            f"Received: {', '.join(options) or 'no option'}"
        )


def _copy(model: keras.Model) -> keras.Model:
    """The model with its weights, so that the caller's stays as it was."""
    try:
        copy = keras.models.clone_model(model)
        if not copy.built:
            copy.build(model.input_shape)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"{model.name} cannot be copied ({error}). Give the function that makes "
            f"it instead. Received: a {type(model).__name__}"
        ) from error
    copy.set_weights(model.get_weights())
    return copy


def _checked(network: Any, spec: DatasetSpec, name: str) -> keras.Model:
    if not isinstance(network, keras.Model):
        raise ValueError(
            f"{name} should make a Keras model. Received: {type(network).__name__}"
        )
    images = np.zeros((1, *spec.input_shape), "float32")
    try:
        shape = tuple(network(images, training=False).shape)
    except Exception as error:
        raise ValueError(
            f"{name} does not take the images of {spec.title} ({reason_of(error)}). "
            f"Received: images of shape {spec.input_shape}"
        ) from error
    if shape != (1, spec.num_classes):
        raise ValueError(
            f"{name} should have one output for each of the {spec.num_classes} classes "
            f"of {spec.title}. Received: an output of shape {(None, *shape[1:])}"
        )
    return network
