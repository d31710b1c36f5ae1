"""Steps on the batches of a pipeline under a strategy of `tf.distribute`.

Keras 3 reduces the logs of a step over the replicas, which fails with several workers (keras 20585). Here a step
returns nothing. The logs are the trackers', read once behind it: their sums go over the replicas.
"""

from collections.abc import Callable

import tensorflow as tf


def pipeline_function(model, step: Callable) -> Callable:
    """What Keras calls with an iterator of batches, in place of its own `train_function` or `test_function`."""

    def once(iterator):
        model.on_replicas(step, next(iterator))
        return model.trackers.logs()

    run = once if model.run_eagerly else tf.function(once, autograph=False)

    def function(iterator):
        logs = {}
        for _ in range(model.steps_per_execution):
            logs = run(iterator)
        return logs

    return function
