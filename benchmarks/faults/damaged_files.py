"""Damage files, 200 times each way: what was in them comes back, or a clear error.

    python benchmarks/faults/damaged_files.py --count 200 --seed 0  # about four minutes

A file is cut off at a random byte, or one to three of its bits are flipped. Of a SavedModel that happens to one of its
files; it is read through `kvae.export.verify`, and once more by TensorFlow alone, in a process of its own.
"right" is what was put in, "refused" a sentence of kvae's, "theirs" an error of TensorFlow's, "wrong" other numbers.
`.npy` files have no checksum, and neither has a graph: there wrong numbers are possible, and the table says how many.
So they are of a TFRecord file that is cut before its first record, or between two: it is only shorter.
Elsewhere "wrong", "theirs" (but for TFRecord, which TensorFlow reads) and "crash" must be 0.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import collections
import gzip
import pathlib
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import keras
import numpy as np
import tensorflow as tf

import kvae

OUTCOMES = ("right", "refused", "theirs", "wrong", "crash")
WAYS = ("truncated", "flipped")
UNCHECKED = (".npy", "SavedModel, TensorFlow alone")


class Reader:
    """A process that reads files, as they may be its end."""

    def __init__(self):
        self.process = None

    def __call__(self, kind, path: pathlib.Path, expected: bytes) -> str:
        """As `outcome`, with "crash" where the process ended."""
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, __file__, "--read", kind.name]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        self.process.stdin.write(f"{path}\t{expected.hex()}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            self.process.wait()
        return answer or "crash"

    def end(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.communicate()


class Kind(NamedTuple):
    """How a file is written, and how what is in it is read, as bytes."""

    name: str
    file: str
    write: Callable[[pathlib.Path], object]
    read: Callable[[pathlib.Path], bytes]


X = np.random.default_rng(0).random((24, 6)).astype(np.float32)


def model(hidden: int = 4) -> kvae.VAE:
    """A small one, with an optimizer."""
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(hidden,)))
    vae.compile("adam", jit_compile=False)
    return vae


def _weights(found: keras.Model) -> bytes:
    return b"".join(weight.numpy().tobytes() for weight in [*found.weights, *found.optimizer.variables])


def _detector(path) -> bytes:
    found = kvae.anomaly.Detector.load(path)
    return _weights(found.vae) + repr((found.kind, found.samples, found.seed, found.calibration)).encode()


def _served(path) -> bytes:
    found = tf.saved_model.load(str(path)).signatures["sample"](seed=tf.range(4))
    return b"".join(found[name].numpy().tobytes() for name in sorted(found))


def _verified(path) -> bytes:
    kvae.export.verify(path)
    return _served(path)


def _data(path) -> bytes:
    data = kvae.data.load(path, validation=0)
    return data.train.x.tobytes() + repr((data.train.x.shape, data.train.x.dtype)).encode()


def _records(path) -> bytes:
    parsed = tf.data.TFRecordDataset(str(path)).map(lambda record: tf.io.parse_tensor(record, tf.float32))
    return b"".join(record.numpy().tobytes() for record in parsed)


def _write_records(path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.io.serialize_tensor(X).numpy())


def _write_idx(path) -> None:
    path.write_bytes(gzip.compress(b"\0\0\x08\x02\0\0\0\x18\0\0\0\x06" + (255 * X).astype(np.uint8).tobytes()))


KINDS = (
    Kind(".keras, a VAE", "m.keras", lambda path: model().save(path), lambda path: _weights(kvae.load_model(path))),
    Kind(
        ".keras, a detector", "m.keras", lambda path: kvae.anomaly.Detector(model()).calibrate(X).save(path), _detector
    ),
    Kind(
        ".keras, dynamics",
        "m.keras",
        lambda path: kvae.dynamics.Dynamics(model(), "linear").save(path),
        lambda path: _weights(kvae.load_model(path)),
    ),
    Kind("SavedModel", "1", lambda path: model().export(path, verbose=False), _verified),
    Kind("SavedModel, TensorFlow alone", "1", lambda path: model().export(path, verbose=False), _served),
    Kind(".npz", "x.npz", lambda path: np.savez(path, x_train=X), _data),
    Kind(".npz, compressed", "x.npz", lambda path: np.savez_compressed(path, x_train=X), _data),
    Kind(".npy", "x_train.npy", lambda path: np.save(path, X), lambda path: _data(path.parent)),
    Kind("IDX, gzip", "train-images-idx2-ubyte.gz", _write_idx, lambda path: _data(path.parent)),
    Kind("TFRecord", "x.tfrecord", _write_records, _records),
)


def outcome(kind: Kind, path: pathlib.Path, expected: bytes) -> str:
    """What reading a file comes to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Keras, on its way to an error
            found = kind.read(path)
    except (ValueError, FileNotFoundError) as error:
        ours = str(path.parent) in str(error) and str(error).endswith((".", ")"))
        return "refused" if ours else "theirs"
    except Exception:
        return "theirs"
    return "right" if found == expected else "wrong"


def damage(random: np.random.Generator, way: str, content: bytes) -> bytes:
    """The content, cut off or with one to three bits flipped."""
    if way == "truncated":
        return content[: random.integers(len(content))]
    changed = bytearray(content)
    for place in random.choice(len(content), min(len(content), random.integers(1, 4)), replace=False):
        changed[place] ^= 1 << random.integers(8)
    return bytes(changed)


def damaged(kind: Kind, way: str, count: int, seed: int = 0, read=outcome) -> collections.Counter:
    """Outcomes of so many damages."""
    random = np.random.default_rng(seed)
    found: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name, "folder", kind.file)
        path.parent.mkdir()
        kind.write(path)
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        expected = kind.read(path)
        for _ in range(count):
            file = files[random.integers(len(files))]
            whole = file.read_bytes()
            file.write_bytes(damage(random, way, whole))
            found[read(kind, path, expected)] += 1
            file.write_bytes(whole)
        assert kind.read(path) == expected  # the file that was put together again
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", help="by default all", choices=[kind.name for kind in KINDS])
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        kind = next(one for one in KINDS if one.name == options.read)
        for line in sys.stdin:
            path, expected = line.rstrip("\n").split("\t")
            print(outcome(kind, pathlib.Path(path), bytes.fromhex(expected)), flush=True)
        return
    failed = False
    print(f"| | | {' | '.join(OUTCOMES)} |\n|---|---|{'---|' * len(OUTCOMES)}")
    for kind in KINDS:
        for way in WAYS if options.kinds is None or kind.name in options.kinds else ():
            reader = Reader() if kind.name in UNCHECKED else None
            found = damaged(kind, way, options.count, options.seed, reader or outcome)
            if reader is not None:
                reader.end()
            cells = " | ".join(str(found[one]) for one in OUTCOMES)
            print(f"| {kind.name} | {way} | {cells} |", flush=True)
            bad = found["crash"] + (found["wrong"] + found["theirs"] if kind.name != "TFRecord" else 0)
            failed |= bool(bad) and kind.name not in UNCHECKED
    sys.exit(failed)


if __name__ == "__main__":
    main()
