"""The weight of a term of a loss: a number, or a schedule of the optimizer's step."""

import json
from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import WIDEST, is_number, shown

_LATE = 10**6  # an optimizer step after the end of most schedules


class Weight:
    """A number that is at least 0; or a schedule, any callable from the optimizer's step to such a number.

    Args:
        owner, name: the objective's class and the argument's name, for messages.
        value: the number or the schedule. A schedule is called at its ends: step 0, `end` and a million.

    Attributes:
        value: as it was given.
        moves: whether it is a schedule.

    Raises:
        ValueError: for a number, or a value of the schedule at one of its ends, that is negative or not finite.
    """

    def __init__(self, owner: str, name: str, value: float | Callable):
        self.owner, self.name, self.moves = owner, name, callable(value)
        if not self.moves and not _allowed(value):
            raise ValueError(f"{owner} needs {name} >= 0 or a schedule (a callable of the step), got {shown(value)}.")
        self.value = value if callable(value) else float(value)
        if self.moves:
            self._check_ends()

    def __call__(self, step):
        """The weight at `step`, a scalar."""
        if not callable(self.value):
            return self.value
        try:
            return self.value(step)
        except TypeError as error:
            raise TypeError(
                f"The schedule {self.value!r} failed on a step that is a tensor ({error}). Write it with TensorFlow's "
                "functions, for example tf.minimum(1.0, tf.cast(step, tf.float32) / 1000)."
            ) from error

    @property
    def positive(self) -> bool:
        """Whether it is ever above 0, as far as is known."""
        return callable(self.value) or self.value > 0.0

    @property
    def end(self) -> int:
        """The length of a schedule that ends at a constant (kvae's, some of Keras'); 0 for others and for a number."""
        schedules = keras.optimizers.schedules
        if isinstance(self.value, (schedules.PolynomialDecay, schedules.CosineDecay)):
            return int(self.value.decay_steps + getattr(self.value, "warmup_steps", 0))
        steps = getattr(self.value, "steps", 0)
        return int(steps) if is_number(steps) else 0

    def held(self, step: int) -> "Weight":
        """The weight that stays as it is at `step`."""
        return Weight(self.owner, self.name, float(self(tf.constant(step, tf.int64))))

    def config(self):
        """The number, or the schedule as Keras serialises it."""
        if not callable(self.value):
            return self.value
        if not hasattr(self.value, "get_config"):
            raise ValueError(
                f"This model cannot be saved: {self.name} is {self.value!r}, a plain function, which has no "
                "configuration to write down. Use kvae.schedules.Linear, a schedule of keras.optimizers.schedules, or "
                "a subclass of LearningRateSchedule registered with keras.saving.register_keras_serializable."
            )
        config = keras.saving.serialize_keras_object(self.value)
        json.dumps(config)
        return config

    def _check_ends(self) -> None:
        """Raise a ValueError where the schedule leaves [0, inf) at one of its ends."""
        with tf.init_scope():  # eagerly, also where a graph is being built
            for step in sorted({0, self.end, _LATE}):
                try:
                    value = self(tf.constant(step, tf.int64))
                except (IndexError, tf.errors.InvalidArgumentError) as error:
                    if step:  # a table of weights that ends before
                        continue
                    value = error
                if not _allowed(value):
                    value = float(value) if is_number(value) else value
                    raise ValueError(
                        f"{self.owner} needs a schedule of finite weights >= 0, but {shown(self.value)} is "
                        f"{shown(value)} at step {step}. Keep it in bounds, for example with tf.maximum(0.0, ...)."
                    )


def _allowed(value) -> bool:
    return is_number(value) and 0.0 <= float(value) <= WIDEST
