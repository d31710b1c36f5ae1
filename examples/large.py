"""Train on a data set that is larger than memory: files of rows, which are read as they are used.

    python examples/large.py                                # 300 MB of images, 10 s an epoch on two cores
    python examples/large.py --megabytes 100000 --folder /disk/blobs --batch_size 512
    python examples/large.py --array x.npy --folder shards  # rows of your own, from one array

Writes the data as files of the folder, where it holds none: generated grey images of a blob, piece by piece, or the
array of --array. Trains on them, and goes on from --output where that file is there; SIGTERM saves it in the middle of
an epoch. The weights are those of training with the data in memory, to the last bit. Prints how much anonymous memory
(of the process itself, without pages of files) an epoch takes at most beyond what the process had before it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags

FLAGS = flags.FLAGS
SIDE = 28
PIECE = 4096  # images made at a time


class Memory:
    """Watches the anonymous memory of this process, in bytes: a context whose `growth` is the highest above the first.

    Linux tells it; elsewhere `growth` is None.
    """

    def __enter__(self):
        self._first = self._highest = self._now()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    @property
    def growth(self) -> int | None:
        """The highest value so far minus the first."""
        return None if self._first is None else self._highest - self._first

    def _watch(self):
        while self._first is not None and not self._end.wait(0.01):
            self._highest = max(self._highest, self._now())

    def _now(self) -> int | None:
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), None)


def blobs(count: int, seed: int):
    """Images of one blob each, uint8 `[PIECE, 28, 28, 1]` at a time: place and width are uniform."""
    import numpy as np

    pixels = np.arange(SIDE, dtype=np.float32)
    for number, first in enumerate(range(0, count, PIECE)):
        random = np.random.default_rng([seed, number])
        n = min(PIECE, count - first)
        places = random.uniform(4, SIDE - 4, (2, n, 1)).astype(np.float32)
        width = random.uniform(1.5, 4, (n, 1)).astype(np.float32)
        down, across = np.exp(-np.square((pixels - places) / width) / 2)
        yield (255 * down[:, :, None] * across[:, None, :]).astype(np.uint8)[..., None]


def written(folder: Path, megabytes: int, array: str | None, rows_per_file: int, seed: int):
    """The data of the folder, after they were written to it where there were none."""
    import numpy as np

    import kvae

    if not list(folder.glob("x_train*.npy")):
        x = np.load(array, mmap_mode="r") if array else blobs(megabytes * 10**6 // SIDE**2, seed)
        files = kvae.data.write_shards(folder, x, rows_per_file)
        print(f"Wrote {len(files)} files to {folder}.", flush=True)
    return kvae.data.folder(folder)["x_train"]


def run(
    folder="runs/large/data", megabytes=300, array=None, rows_per_file=50_000, epochs=3, batch_size=256, hidden=64,
    latent_dim=8, seed=0, output="runs/large/model.keras", verbose=1,
) -> list[int | None]:  # fmt: skip
    """Write the data and train on them; return the growth of memory in each epoch. The arguments are the flags."""
    for path in (folder, Path(output).parent):
        command_line.check_writable(path)
    import keras
    import numpy as np

    import kvae

    x = written(Path(folder), megabytes, array, rows_per_file, seed)
    grey = x.dtype == np.uint8
    train = kvae.data.Split(x, scale=1 / 255 if grey else 1.0, batch_size=batch_size, seed=seed)
    if Path(output).exists():
        vae = kvae.load_model(output)
    else:
        keras.utils.set_random_seed(seed)
        networks = kvae.networks.mlp(train.event_shape, latent_dim, (hidden,))
        vae = kvae.VAE(*networks, likelihood="continuous_bernoulli" if grey else "normal", seed=seed)
        vae.compile(keras.optimizers.Adam(1e-3))
    growth = []
    checkpoint = kvae.callbacks.Checkpoint(output, on_sigterm=True)
    for epoch in range(int(vae.passes), epochs):  # a fit each, so that all that one takes is seen
        with Memory() as memory:
            vae.fit(train, initial_epoch=epoch, epochs=epoch + 1, callbacks=[checkpoint], verbose=verbose)
        growth.append(memory.growth)
    for epoch, size in enumerate(growth, start=epochs - len(growth)):
        what = "an unknown amount of" if size is None else f"{size / 1e6:.0f} MB of"
        compiled = " (functions are compiled)" if epoch == epochs - len(growth) else ""
        print(f"Epoch {epoch + 1} took {what} memory for {x.nbytes / 1e6:,.0f} MB of data{compiled}.")
    return growth


def _define_flags():
    most = 2**32 - 1
    flags.DEFINE_string("folder", "runs/large/data", "of the files of rows; written where it holds none")
    flags.DEFINE_integer("megabytes", 300, "of images to generate", lower_bound=1)
    flags.DEFINE_string("array", None, "an .npy file [N, *event_shape] to write instead; it is memory-mapped")
    flags.DEFINE_integer("rows_per_file", 50_000, "of which those of one file are held in memory", lower_bound=1)
    flags.DEFINE_integer("epochs", 3, "passes over the rows, with those of earlier runs", lower_bound=1)
    flags.DEFINE_integer("batch_size", 256, "examples in a step", lower_bound=1)
    flags.DEFINE_integer("hidden", 64, "the size of the hidden layer of either network", lower_bound=1)
    flags.DEFINE_integer("latent_dim", 8, "dimensions of z", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the images, the weights and the order", lower_bound=0, upper_bound=most)
    flags.DEFINE_string("output", "runs/large/model.keras", "the model; training goes on where it is there")
    flags.DEFINE_integer("verbose", 1, "2 for a line an epoch, 0 for silence", lower_bound=0, upper_bound=2)


def main(argv):
    """Read the flags and run."""
    names = (
        "folder", "megabytes", "array", "rows_per_file", "epochs", "batch_size", "hidden", "latent_dim", "seed",
        "output", "verbose",
    )  # fmt: skip
    command_line.start(argv, lambda: run(**{name: FLAGS[name].value for name in names}))


if __name__ == "__main__":
    _define_flags()
    app.run(main)
