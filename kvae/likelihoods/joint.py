"""The likelihood of columns of several kinds."""

import functools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data.column_supports import ColumnSupports
from kvae.likelihoods.base import Likelihood
from kvae.numerics.arguments import shown, sizes
from kvae.numerics.columns import Columns, Order


@keras.saving.register_keras_serializable("kvae")
class Joint(Likelihood):
    """Rows x `[D]` of a table whose groups of columns have likelihoods of their own, independent given z.

    log p(x|z) = sum_g log p_g(x_g|z)

    A mass where all groups have masses, else a density: of the real columns, times the probability of the others. Each
    group has its own projection of the decoder's features, its unit, scale and support. The encoder sees each column as
    its likelihood says. Training reports `reconstruction_<name>`, E_q log p_g(x_g|z) in nats, for each group, and
    `kvae.evaluate.summary` estimates it.

    ```
    kvae.likelihoods.Joint({
        "age": (0, kvae.likelihoods.LogNormal()),
        "children": (1, kvae.likelihoods.Poisson()),
        "measured": ((2, 3, 4), kvae.likelihoods.Normal(per="element")),
        "job": (5, kvae.likelihoods.Categorical(7)),
    })
    ```

    Args:
        groups: name to (columns, likelihood). Columns are numbers from 0 on, one or more; each of the D columns is in
            one group. The likelihoods are copied, as they are before they are built.
        project: with False the decoder's output is the parameters of the first group, then of the second, ..., along
            the last axis.
        schema: of the `kvae.data.Table` that it was made for, which gives it.
        name, dtype: see `kvae.families.Part`.

    Raises:
        ValueError: for columns that are in no group or in two, and for rows of another number of columns.
    """

    def __init__(
        self,
        groups: Mapping,
        project: bool = True,
        schema: dict | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(project=project, name=name, dtype=dtype)
        if not isinstance(groups, Mapping) or not groups:
            raise ValueError(f"groups must be a dictionary of name to (columns, likelihood), got {shown(groups)}.")
        if schema is not None and not isinstance(schema, Mapping):
            raise ValueError(f"schema must be that of a kvae.data.Table, or None, got {shown(schema)}.")
        self.schema = None if schema is None else dict(schema)
        made = {name: self._group(name, group) for name, group in groups.items()}
        every = sorted(column for columns, _ in made.values() for column in columns)
        if every != list(range(len(every))):
            raise ValueError(
                f"Each column must be in one group of Joint, but the groups have the columns {shown(every)}. "
                "Number them 0, 1, 2, ... without gaps."
            )
        self.names = tuple(made)
        self.order = Order([columns for columns, _ in made.values()])
        self.parts = [part for _, part in made.values()]
        self.support = ColumnSupports({name: (columns, part.support) for name, (columns, part) in made.items()})
        self.measure = "mass" if all(part.measure == "mass" for part in self.parts) else "density"

    def _group(self, name, group) -> tuple[list[int], Likelihood]:
        try:
            columns, likelihood = group
        except (TypeError, ValueError):
            columns, likelihood = None, None
        if not isinstance(likelihood, Likelihood) or isinstance(likelihood, Joint):
            raise ValueError(
                f"A group of Joint is (columns, likelihood), but {name!r} is {shown(group)}. Give for example "
                f"{{{name!r}: (0, kvae.likelihoods.Normal())}}."
            )
        if not likelihood.project or likelihood.kernel_size > 1:
            raise ValueError(
                f"The likelihood of group {name!r} must have project=True and kernel_size=1, got {shown(likelihood)} "
                f"with project={likelihood.project}, kernel_size={likelihood.kernel_size}. Give project=False to Joint."
            )
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"The name of a group of Joint must be text without '/', got {shown(name)}.")
        columns = list(sizes(f"The columns of group {name!r}", columns, 0))
        return columns, _copy(likelihood, project=self.project, dtype=self.compute_dtype)

    @functools.cached_property
    def groups(self):
        """Name to (columns, likelihood). One object: Keras' files tell containers apart by their identity."""
        return dict(zip(self.names, zip(self.order.groups, self.parts, strict=True), strict=True))

    @property
    def has_unit(self):
        """Whether a group has."""
        return any(part.has_unit for part in self.parts)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        groups = {
            name: [list(columns), keras.saving.serialize_keras_object(_copy(part, project=True))]
            for name, (columns, part) in self.groups.items()
        }
        config = {"groups": groups, "project": self.project, "name": self.name, "dtype": self.compute_dtype}
        return config | {"schema": self.schema}

    @classmethod
    def from_config(cls, config):
        """The likelihood that `get_config` described."""
        groups = {
            name: (columns, keras.saving.deserialize_keras_object(part))
            for name, (columns, part) in config["groups"].items()
        }
        return cls(**config | {"groups": groups})

    def get_build_config(self):
        """Those of `Likelihood`, and of each group, which knows what is frozen in it."""
        config = super().get_build_config()
        return config and config | {"parts": [part.get_build_config() for part in self.parts]}

    def build_from_config(self, config):
        """Build for those shapes, and freeze what was frozen."""
        super().build_from_config({key: value for key, value in config.items() if key != "parts"})
        for part, own in zip(self.parts, config["parts"], strict=True):
            part._freeze(own.get("frozen", [""]))

    def build(self, feature_shape, event_shape):
        """Make the projections of the groups."""
        if tuple(event_shape) != (self.order.size,):
            raise ValueError(
                f"This Joint has {self.order.size} columns and explains rows of shape {(self.order.size,)}, but one "
                f"example has shape {tuple(event_shape)}. Put each column of x in one group."
            )
        super().build(feature_shape, event_shape)
        for columns, part in self.groups.values():
            own = feature_shape if self.project else (part.parameter_count(len(columns)),)
            part.build(own, (len(columns),))

    def _add_projection(self, units, bias=None):
        """The groups have their own."""

    def parameter_count(self, units):
        """Those of the groups."""
        del units
        return sum(part.parameter_count(len(columns)) for columns, part in self.groups.values())

    def distribution(self, features) -> tfd.Distribution:
        """p(x|z) for decoder features `[..., *feature_shape]`: batch `[...]`, event `[D]`."""
        each = [features] * len(self.parts)
        if not self.project:
            counts = [part.parameter_count(len(columns)) for columns, part in self.groups.values()]
            each = tf.split(features, counts, axis=-1)
        return self._joined([part.distribution(some) for part, some in zip(self.parts, each, strict=True)])

    def _joined(self, groups) -> tfd.Distribution:
        return self._independent(Columns([p.distribution for p in groups], self.order))

    def _each(self, p, *arrays):
        """Each group's likelihood and distribution, and its columns of arrays `[..., D]` or None."""
        split = [[None] * len(self.parts) if one is None else self.order.split(one) for one in arrays]
        groups = [part._independent(one) for part, one in zip(self.parts, p.distribution.parts, strict=True)]
        return zip(self.parts, groups, *split, strict=True)

    def log_prob_by_group(self, p, x, mask=None):
        """log p_g(x_g|z) of each group, or of what was observed of it: name to `[...]`, in nats."""
        each = [part.log_prob(group, *own) for part, group, *own in self._each(p, x, mask)]
        return dict(zip(self.groups, each, strict=True))

    def trackers(self):
        """`reconstruction_<name>` for each group."""
        names = [f"reconstruction_{name}" for name in self.groups]
        return {name: keras.metrics.Mean(name=name) for name in names}

    def details(self, p, x, mask=None):
        """E_q log p_g(x_g|z), `[B]`, of each group."""
        found = self.log_prob_by_group(p, x, mask)
        return {f"reconstruction_{name}": tf.reduce_mean(each, axis=0) for name, each in found.items()}

    def seen(self, x):
        """What each group's encoder would get, `[..., D]`."""
        return self.order.join([part.seen(some) for part, some in zip(self.parts, self.order.split(x), strict=True)])

    @property
    def neutral(self):
        """The x of a missing value, `[D]`."""
        each = [tf.broadcast_to(tf.cast(part.neutral, self.compute_dtype), part.event_shape) for part in self.parts]
        return self.order.join(each)

    def calibrated(self, x, p, weight, mask=None):
        """The p to train on, in which each group is calibrated."""
        each = self._each(p, x, mask)
        return self._joined([part.calibrated(some, group, weight, own) for part, group, some, own in each])

    def fitted(self, mean_of, count):
        """The parameters of the groups, one group after the other."""
        groups = self.groups.values()
        each = [part.fitted(_mean_of(mean_of, columns), count[columns]) for columns, part in groups]
        return np.concatenate(each, axis=-1)

    def adapt(self, mean_of):
        """Adapt each group that has a projection or a unit."""
        for columns, part in self.groups.values():
            if part.project or part.has_unit:
                part.adapt(_mean_of(mean_of, columns))

    def point(self, p, weight=None):
        """That of each group."""
        return self.order.join([part.point(group, weight) for part, group in self._each(p)])

    def draw(self, p, uniform):
        """A sample of each group."""
        return self.order.join([part.draw(group, some) for part, group, some in self._each(p, uniform)])


def _copy(likelihood: Likelihood, **changes) -> Likelihood:
    return type(likelihood).from_config(likelihood.get_config() | changes)


def _mean_of(mean_of, columns):
    """`mean_of` for functions of some columns, see `Likelihood.adapt`."""

    def of_group(function):
        def whole(x):
            found = np.zeros(x.shape)
            found[:, columns] = function(x[:, columns])
            return found

        return mean_of(whole)[columns]

    return of_group
