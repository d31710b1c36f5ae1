"""What the peers share: the jobs, the data, and the conversation with `benchmarks/speed/speed.py`. NumPy alone.

Every peer is a program of its own in an environment of its own. It reads one JSON line at a time:
{"start": job} prepares a job and answers with the names of its programs, {"run": name} runs one of them once and
answers with the seconds it took and the number it computed.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

LEARNING_RATE = 1e-3
PIXELS = 784
RESIDUAL_ENCODER = ((32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))  # filters in, filters out, stride
RESIDUAL_DECODER = ((64, 64, 1), (64, 32, 2), (32, 32, 1), (32, 32, 2))


class Job(NamedTuple):
    """One measurement.

    Attributes:
        task: "train"; "likelihood", importance sampling; "encode", posterior means; "sample", means of p(x|z).
        network: "mlp" (784-400-20), "deep" (784-200-200-50, tanh), "conv" (32-64, stride 2, 2 latents) or "resnet"
            (residual blocks of 32 and 64 filters, 32 latents).
        batch: of training.
        images: trained on, encoded, sampled or scored in one run.
        samples: draws of z for each image.
        epochs: of training in one run.
    """

    task: str
    network: str
    batch: int
    images: int
    samples: int = 1
    epochs: int = 1

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the hidden layers of the two dense networks."""
        return {"mlp": (400,), "deep": (200, 200)}[self.network]

    @property
    def latents(self) -> int:
        """The number of latent dimensions."""
        return {"mlp": 20, "deep": 50, "conv": 2, "resnet": 32}[self.network]

    @property
    def activation(self) -> str:
        """Of the hidden layers."""
        return "tanh" if self.network == "deep" else "relu"

    @property
    def convolves(self) -> bool:
        """Whether the networks hold convolutions."""
        return self.network in ("conv", "resnet")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return (28, 28, 1) if self.convolves else (PIXELS,)

    def data(self) -> np.ndarray:
        """Binary images, float32."""
        return images(self.images).reshape(-1, *self.event_shape)

    def order(self, epoch: int) -> np.ndarray:
        """The rows of every whole batch of an epoch, int32 `[steps, batch]`."""
        steps = self.images // self.batch
        rows = np.random.default_rng(epoch).permutation(self.images)[: steps * self.batch]
        return rows.reshape(steps, self.batch).astype(np.int32)


def images(n: int) -> np.ndarray:
    """Binary images `[n, 784]` with some structure: thresholded random low-rank fields."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(10, PIXELS)).astype(np.float32)
    return (random.normal(size=(n, 10)).astype(np.float32) @ mixing > 2.0).astype(np.float32)


def repeated(epoch: Callable[[], float], epochs: int) -> Callable[[], float]:
    """A run of several epochs; the value is the last one's."""

    def run():
        return [float(epoch()) for _ in range(epochs)][-1]

    return run


def serve(tasks: dict[str, Callable[[Job], dict[str, Callable[[], float]]]]) -> None:
    """Answer until the input ends; `tasks[task](job)` gives the programs that can be run."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between
    ready: dict = {}
    for line in sys.stdin:
        command = json.loads(line)
        if "start" in command:
            ready.clear()
            job = Job(**command["start"])
            ready = tasks[job.task](job) if job.task in tasks else {}
            answer = {"names": list(ready)}
        else:
            program = ready[command["run"]]
            start = time.perf_counter()
            value = float(program())
            answer = {"seconds": time.perf_counter() - start, "value": value}
        print(json.dumps(answer), file=answers, flush=True)
