"""Schedules: functions from the optimizer's step to a weight, such as beta."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("kvae")
class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """From `start` to `end` in a straight line over `steps` optimizer steps, then constant.

    weight(t) = start + (end - start) min(t / steps, 1)

    Any callable of the step does the same duty, the schedules of `keras.optimizers.schedules` among them.

    Args:
        start, end: the weights at step 0 and from step `steps` on.
        steps: the length of the ramp, at least 1.

    >>> float(Linear(0.0, 1.0, steps=100)(25))
    0.25
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, steps: int = 1000):
        if steps < 1:
            raise ValueError(f"Linear needs steps >= 1, got {steps}.")
        self.start, self.end, self.steps = float(start), float(end), int(steps)

    def __call__(self, step):
        """The weight at `step`, a float32 scalar."""
        part = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.start + (self.end - self.start) * part

    def get_config(self):
        """The constructor's arguments."""
        return {"start": self.start, "end": self.end, "steps": self.steps}
