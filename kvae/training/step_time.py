"""How long a step takes: an estimate from the networks, then what was seen."""

import math
import time

import keras

_FIRST_SECONDS = 0.05  # what the first call aims at, by this estimate of a step's time:
_FLOPS_PER_SECOND = 1e11
_SECONDS_PER_STEP = 1e-4


def steps_per_call(model, batch_size: int, steps: int) -> int:
    """How many steps take about a twentieth of a second, from a count of multiply-adds; at most `steps`."""
    adds = model.objective.samples * multiply_adds(model.decoder, model.likelihood)
    adds += multiply_adds(model.encoder, model.posterior)
    seconds = _SECONDS_PER_STEP + 6.0 * adds * batch_size / _FLOPS_PER_SECOND
    return max(1, min(steps, round(_FIRST_SECONDS / seconds)))


def multiply_adds(network, family) -> int:
    """Of one example in a network and the family's projection behind it."""
    total = 0
    for layer in network._flatten_layers(include_self=False):
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and not isinstance(layer, keras.Model):
            total += math.prod(kernel.shape) * math.prod(_places(layer))
    if family.projection is not None:
        total += math.prod(family.projection.kernel.shape) * math.prod(network.output_shape[1:-1])
    return total


def _places(layer) -> list[int]:
    """The places at which a layer's kernel acts: the shape of its output without batch and channels, where known.

    For a transposed convolution, it is the shape of its input.
    """
    side = "input" if "Transpose" in type(layer).__name__ else "output"
    shape = getattr(getattr(layer, "_inbound_nodes", None) and getattr(layer, side), "shape", ())
    return [size for size in shape[1:-1] if size is not None]


class StepTime:
    """The shortest measured time of a step, including everything between two calls."""

    def __init__(self):
        self._best = math.inf
        self._begun: tuple[float, int] | None = None
        self._warm = False  # the first call compiles

    def restart(self) -> None:
        """Forget the current call: the time until the next one is not only that of steps."""
        self._begun = None

    def start(self, steps: int) -> None:
        """A call of so many steps begins now."""
        now = time.perf_counter()
        if self._begun is not None and self._warm:
            self._best = min(self._best, (now - self._begun[0]) / self._begun[1])
        self._warm = self._warm or self._begun is not None
        self._begun = now, steps

    def steps(self, seconds: float) -> int:
        """How many steps take `seconds`; 0 while the time of a step is not known."""
        return 0 if self._best == math.inf else int(seconds / self._best)
