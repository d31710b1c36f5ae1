"""What posteriors, likelihoods and priors have in common.

A family turns a feature tensor into a `tfd.Distribution`. It owns the projection from features to the
distribution's parameters, and any weights of its own. Everything from the parameters on is float32, or
float64 under a float64 policy."""

from typing import Any

import keras
import tensorflow as tf

from kvae.numerics.arguments import flag, label, number, shown


class Part(keras.layers.Layer):
    """Abstract: a Keras layer without `call`, used through `.distribution(...)`.

    What is frozen in it (`trainable = False`, its own or that of a layer inside) stays so in files and copies.

    Args:
        name: the name of the layer.
        dtype: "float32" or "float64"; by default float64 under a float64 policy and float32 under any other.
    """

    taken = False  # whether a model uses it already

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(name=label("name", name), dtype=parameter_dtype(dtype))

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return {"name": self.name, "dtype": self.compute_dtype}

    def get_build_config(self):
        """The shapes that `build` was called with, and the names of the layers that are frozen; None before."""
        shapes = super().get_build_config()
        frozen = [layer.name for layer in self._flatten_layers() if not layer.trainable]
        return shapes | {"frozen": frozen} if shapes and frozen else shapes

    def build_from_config(self, config):
        """Build for those shapes, and freeze what was frozen."""
        super().build_from_config({key: value for key, value in config.items() if key != "frozen"})
        self._freeze(config.get("frozen"))

    def _freeze(self, names: list[str] | None) -> None:
        if names:
            for layer in self._flatten_layers():  # from the outside in
                layer.trainable = layer.name not in names


class Family(Part):
    """Abstract: a part with a projection from features to the parameters of its distribution.

    Args:
        project: with True (the default) the family owns one Dense layer from the network's features to the
            parameters. With False the network's output already is the parameters; its size is checked.
        name, dtype: see `Part`.
    """

    def __init__(self, project: bool = True, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)
        self.project = flag("project", project)
        self.projection: Any = None  # a layer, where the family has one

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return {"project": self.project} | super().get_config()

    def _add_projection(self, units: int, bias: list[float] | None = None):
        if self.project:
            init = "zeros" if bias is None else keras.initializers.Constant(bias)
            self.projection = self._linear(units, name="projection", bias_initializer=init)

    def _linear(self, units: int, **options) -> keras.layers.Layer:
        return keras.layers.Dense(units, dtype=self.compute_dtype, **options)

    def parameters(self, features):
        """The parameters of the distribution, in the family's dtype, for a network's features."""
        features = self.projection(features) if self.projection is not None else features
        return tf.cast(features, self.compute_dtype)

    def _wrong_size(self, network: str, got, expected):
        return ValueError(
            f"{type(self).__name__}(project=False) takes its parameters straight from the {network}, so the "
            f"{network}'s output must have shape {expected} for one example, but it has {tuple(got)}. "
            "Give the last layer that size, or leave project=True."
        )


def scale_range(floor, cap) -> tuple[float, float]:
    """The smallest and the largest scale, 0 < floor < cap, checked."""
    floor = number("floor", floor, above=0.0)
    return floor, number("cap", cap, above=floor)


def parameter_dtype(dtype: str | None = None) -> str:
    """The dtype asked for; by default float64 under a float64 policy, float32 under any other."""
    if not (dtype is None or isinstance(dtype, str)) or dtype not in (None, "float32", "float64"):
        raise ValueError(f"Parameters of distributions are float32 or float64, got dtype={shown(dtype)}.")
    if dtype is not None:
        return dtype
    policy = keras.config.dtype_policy()
    return "float64" if policy.compute_dtype == "float64" else "float32"
