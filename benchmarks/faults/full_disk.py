"""Write files where there is little room: all of one, or an error that says so, and what was there is as it was.

    python benchmarks/faults/full_disk.py --rooms 40  # about a minute

Files are saved, exported and logged, with less and less room left. The disk is a small tmpfs where this process may
mount one (root in Linux). Elsewhere a limit on the size of a file stands for it.
"refused" is an OSError that names the file, with everything else as it was. "harm" must be 0, "other error" as well.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import collections
import contextlib
import errno
import hashlib
import pathlib
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(pathlib.Path(__file__).resolve().parent)]

import command_line
import keras
import numpy as np
from damaged_files import X, model

import kvae

OUTCOMES = ("written", "refused", "other error", "harm")
DISK = 2**24  # bytes
ROOM = 400_000  # bytes, in which each of the files has room but an export
VAE = model(hidden=16)


def _fit(callback: keras.callbacks.Callback) -> None:
    VAE.fit(X, batch_size=8, epochs=1, verbose=0, callbacks=[callback])


def _export(folder) -> None:
    VAE.export(kvae.export.next_version(folder / "served"), verbose=False)


def _write_shards(folder) -> None:
    """The next of folders with several files of 50 kB."""
    rows = np.zeros((40, 5_000), np.uint8)
    kvae.data.write_shards(folder / "rows" / str(len(list(folder.glob("rows/*/*.npy")))), rows, 10)


JOBS: dict[str, Callable[[pathlib.Path], object]] = {
    "VAE.save": lambda folder: VAE.save(folder / "m.keras"),
    "Dynamics.save": lambda folder: kvae.dynamics.Dynamics(VAE, "linear").save(folder / "d.keras"),
    "Detector.save": lambda folder: kvae.anomaly.Detector(VAE).calibrate(X).save(folder / "a.keras"),
    "Checkpoint": lambda folder: _fit(kvae.callbacks.Checkpoint(folder / "c.keras")),
    "VAE.export": _export,
    "write_shards": _write_shards,
    "history.json": lambda folder: command_line.write_json(folder / "h.json", {"elbo": list(range(20_000))}),
}


@contextlib.contextmanager
def disk() -> Iterator[tuple[pathlib.Path, bool]]:
    """A folder, and whether it is a small disk of its own."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", name]
        try:
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            mounted = False
        try:
            yield pathlib.Path(name), mounted
        finally:
            if mounted:
                subprocess.run(["umount", name], check=True)


@contextlib.contextmanager
def little_room(folder: pathlib.Path, room: int, mounted: bool) -> Iterator[None]:
    """So many bytes are left, or no file may be longer."""
    if mounted:
        filling = folder / "filling"
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        filling.write_bytes(bytes(max(0, free - room)))
        try:
            yield
        finally:
            filling.unlink()
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def state(folder: pathlib.Path) -> dict[str, str]:
    """The files and their digests."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "filling"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def outcome(job: Callable, folder: pathlib.Path, room: int, mounted: bool) -> str:
    """What a job comes to."""
    before, error = state(folder), None
    with little_room(folder, room, mounted), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the training goes on
        try:
            job(folder)
        except Exception as caught:
            error = caught
    if error is None:
        return "written"
    if state(folder) != before:
        return "harm"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, None)
    return "refused" if full and str(folder) in str(error) and str(error).endswith(".") else "other error"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=int, default=40)
    options = parser.parse_args()
    failed = False
    with disk() as (folder, mounted):
        print("A tmpfs." if mounted else "A limit on the size of files: no tmpfs can be mounted here.")
        for name, job in JOBS.items():
            job(folder)
            found: collections.Counter = collections.Counter()
            for room in np.linspace(0, ROOM, options.rooms, dtype=int):
                found[outcome(job, folder, int(room), mounted)] += 1
            print(f"{name:15s}", {one: found[one] for one in OUTCOMES}, flush=True)
            failed |= bool(found["harm"] + found["other error"] or not found["refused"])
            for version in (folder / "served").glob("*"):
                kvae.export.verify(version)
    sys.exit(failed)


if __name__ == "__main__":
    main()
