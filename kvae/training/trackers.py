"""What a model counts while it trains and evaluates."""

from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from kvae.numerics import replicas


class Trackers:
    """Means over examples, in nats: `loss`, `elbo`, `reconstruction`, `kl`, and what is `scheduled`, such as `beta`.

    Without a density q(z|x) (`with_kl=False`) they are `loss` and `reconstruction`. Behind them come the metrics that
    the model's parts have by name (`further`).

    Every mean is sum(w v) / sum(w) over the examples seen, 0 where sum(w) is 0; `elbo` is the difference of
    the means of `reconstruction` and `kl`, so that it equals it in every log.
    """

    def __init__(self, scheduled: Iterable[str] = (), with_kl: bool = True, further: dict | None = None):
        self.with_kl, self.further = with_kl, further or {}
        self.loss = keras.metrics.Mean(name="loss")
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.kl = keras.metrics.Mean(name="kl")
        self.elbo = _Derived("elbo", lambda: self.reconstruction.result() - self.kl.result())
        self.scheduled = {name: keras.metrics.Mean(name=name) for name in scheduled}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics in the order they are logged."""
        of_density = ([self.elbo], [self.kl]) if self.with_kl else ([], [])
        always = [self.loss, *of_density[0], self.reconstruction, *of_density[1]]
        return [*always, *self.scheduled.values(), *self.further.values()]

    def update(self, loss, reconstruction, kl, scheduled, weight, details) -> None:
        """Count a batch: values `[B]` with weights `[B]`; kl is None where there is none.

        `scheduled` and `details` are values by name, the latter for the further metrics.
        """
        for metric, value in ((self.loss, loss), (self.reconstruction, reconstruction), (self.kl, kl)):
            if value is not None:
                metric.update_state(value, sample_weight=weight)
        for name, metric in self.scheduled.items():
            metric.update_state(scheduled[name])
        for name, metric in self.further.items():
            metric.update_state(details[name], sample_weight=weight)

    def logs(self) -> dict:
        """Name to value, as a step returns them."""
        return {metric.name: metric.result() for metric in self.metrics}


class _Derived(keras.metrics.Metric):
    def __init__(self, name: str, result: Callable):
        super().__init__(name=name)
        self._result = result

    def update_state(self, *args, **kwargs):
        """Nothing: it has no state of its own."""

    def result(self):
        return self._result()

    def reset_state(self):
        """Nothing: it has no state of its own."""


class Faults(keras.metrics.Metric):
    """The first step at which a term was not finite, or x or the condition not allowed; 0 where that never happened."""

    KINDS = ("reconstruction", "kl", "support", "condition")

    def __init__(self):
        super().__init__(name="faults")
        self.first = self.add_variable((len(self.KINDS),), "zeros", dtype="int64", name="first")

    def update_state(self, step, *bad):
        """Note `step` for every kind that is bad for the first time."""
        new = tf.logical_and(tf.equal(self.first, 0), replicas.any_of(tf.stack(bad)))
        noted = replicas.once(tf.cast(step, "int64"))  # the replicas' notes are summed
        self.first.assign(tf.where(new, noted, self.first))

    def result(self):
        """The steps, int64 `[4]`, in the order of `KINDS`."""
        return self.first.value

    def found(self) -> dict[str, int]:
        """Kind to step, for what has happened."""
        steps = tf.convert_to_tensor(self.first).numpy()
        return {kind: int(step) for kind, step in zip(self.KINDS, steps, strict=True) if step}
