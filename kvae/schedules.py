"""Schedules: functions from the optimizer's step to a weight, such as beta."""

import keras
import tensorflow as tf

from kvae.numerics.arguments import number, whole


@keras.saving.register_keras_serializable("kvae")
class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """From `start` to `end` in a straight line over `steps` optimizer steps, then constant.

    weight(t) = start + (end - start) min(t / steps, 1)

    Any callable of the step can be used in its place, such as the schedules of `keras.optimizers.schedules`.

    Args:
        start, end: the weights at step 0 and from step `steps` on.
        steps: the length of the ramp, at least 1.

    >>> float(Linear(0.0, 1.0, steps=100)(25))
    0.25
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, steps: int = 1000):
        self.start, self.end = number("start", start), number("end", end)
        self.steps = whole("steps", steps, 1)

    def __call__(self, step):
        """The weight at `step`, a float32 scalar."""
        part = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.start + (self.end - self.start) * part

    def get_config(self):
        """The constructor's arguments."""
        return {"start": self.start, "end": self.end, "steps": self.steps}


@keras.saving.register_keras_serializable("kvae")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """`cycles` ramps from `start` to `end`, each linear and then constant; `end` from `steps` on.

    weight(t) = start + (end - start) min(u / rising, 1),   u = cycles t / steps mod 1   for t < steps

    Args:
        start, end: the weights at the beginning and the end of each cycle.
        steps: the length of all cycles together, at least `cycles`.
        cycles: how many, at least 1.
        rising: the part of a cycle in which the weight rises, 0 < rising <= 1.

    Reference: Fu et al. (2019), Cyclical annealing schedule: a simple approach to mitigating KL vanishing,
    arXiv 1903.10145.

    >>> schedule = Cyclical(0.0, 1.0, steps=100, cycles=2)
    >>> [round(float(schedule(step)), 2) for step in (0, 10, 25, 49, 50, 60, 100)]
    [0.0, 0.4, 1.0, 1.0, 0.0, 0.4, 1.0]
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, steps: int = 1000, cycles: int = 4, rising: float = 0.5):
        self.start, self.end = number("start", start), number("end", end)
        self.cycles = whole("cycles", cycles, 1)
        self.steps = whole("steps", steps, 1)
        if self.steps < self.cycles:
            raise ValueError(f"Cyclical needs steps >= cycles, got cycles={self.cycles}, steps={self.steps}.")
        self.rising = number("rising", rising, above=0.0, most=1.0)

    def __call__(self, step):
        """The weight at `step`, a float32 scalar."""
        step = tf.cast(step, tf.float32)
        part = tf.minimum(tf.math.floormod(self.cycles * step / self.steps, 1.0) / self.rising, 1.0)
        return self.start + (self.end - self.start) * tf.where(step < self.steps, part, 1.0)

    def get_config(self):
        """The constructor's arguments."""
        own = {"start": self.start, "end": self.end, "steps": self.steps}
        return own | {"cycles": self.cycles, "rising": self.rising}
