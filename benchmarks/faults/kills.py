"""Training that is killed at a random moment (SIGKILL) and started again ends with the same bytes.

    python benchmarks/faults/kills.py --kills 20  # some eight minutes
    python benchmarks/faults/kills.py --kills 20 --disk  # the killed runs stream their rows from disk

Each trial trains on the digits in a process of its own, with `kvae.callbacks.Checkpoint` at every epoch, and kills it
at a random moment after its first epoch, in the middle of a step or of a save. It is started again until it comes to
the end; then the SHA-256 of all weights, the optimizer's among them, is compared with a run that nobody killed, with
its rows in memory.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import hashlib
import pathlib
import random
import subprocess
import sys
import tempfile
import time

EPOCHS = 40


def train(path: str, disk: bool) -> None:
    """Train to the last epoch, from the file where there is one, and print the digest of the result."""
    import keras
    import numpy as np

    import kvae
    from kvae.training import loop, streamed

    train = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50).train
    if disk:
        stored = pathlib.Path(path).with_name("x.npy")
        if not stored.exists():
            np.save(stored, train.array)
        train = train.replace(array=np.load(stored, mmap_mode="r"))
        loop.LARGEST_HELD, streamed._BLOCK = 0, 7 * 50 * 64  # seven steps a block
    if os.path.exists(path):
        vae = kvae.load_model(path)
    else:
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp(train.event_shape, 10, hidden=(200, 200))
        vae = kvae.VAE(*networks, likelihood="bernoulli")
        vae.compile(optimizer=keras.optimizers.Adam(1e-3))

    def tell(epoch, logs):
        print("epoch", epoch, flush=True)

    callbacks = [kvae.callbacks.Checkpoint(path), keras.callbacks.LambdaCallback(on_epoch_end=tell)]
    vae.fit(train, epochs=EPOCHS, initial_epoch=int(vae.passes), verbose=0, callbacks=callbacks)
    digest = hashlib.sha256()
    for weight in [*vae.weights, *vae.optimizer.variables]:
        digest.update(weight.numpy().tobytes())
    print("digest", digest.hexdigest(), flush=True)


def run(path: pathlib.Path, patience: float | None, disk: bool = False) -> str | None:
    """The digest of a run; None where it was killed, `patience` seconds after its first epoch."""
    program = [sys.executable, __file__, "--train", str(path), *["--disk"] * disk]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        first = process.stdout.readline()
        if patience is not None and first.startswith("epoch"):
            time.sleep(patience)
            process.kill()
        rest = process.stdout.read().splitlines()
    last = (rest or [first])[-1].split()
    return last[1] if last[:1] == ["digest"] else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk", action="store_true", help="stream the rows of the killed runs from disk")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.disk)
        return
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        expected = run(pathlib.Path(folder, "whole.keras"), None)
        print(f"not killed: {expected[:16]}", flush=True)
        kills = same = trials = 0
        while kills < options.kills:
            path = pathlib.Path(folder, f"{trials}.keras")
            found = run(path, moments.uniform(0.0, 3.0), options.disk)
            trials += 1
            if found is not None:
                continue  # it had come to the end before
            kills += 1
            found = run(path, None, options.disk)
            same += found == expected
            print(f"killed {kills}: {found[:16] if found else found}", flush=True)
        print(f"{same} of {kills} killed runs ended with the same bytes; {time.time() - started:.0f} s")
    sys.exit(same != kills)


if __name__ == "__main__":
    main()
