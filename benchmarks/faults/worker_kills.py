"""One of two workers is killed at a random moment (SIGKILL): the job begins again and ends with the same bytes.

    python benchmarks/faults/worker_kills.py --kills 10

Each trial starts `examples/launch_local.py` with two workers of `examples/train.py` on the digits, waits for the first
epoch, and kills one of the workers, drawn at random. The launcher restarts the job. In the end the SHA-256 of all
weights of the run, the optimizer's among them, and of its history is compared with that of a run that nobody killed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import hashlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import kvae


def started(folder: pathlib.Path, epochs: int) -> subprocess.Popen:
    """Two workers whose run is in this folder."""
    command = [sys.executable, ROOT / "examples" / "launch_local.py", "--workers=2", f"--logs={folder / 'logs'}", "--"]
    flags = [f"--epochs={epochs}", "--importance_samples=10", "--verbose=0", f"--output={folder / 'run'}"]
    command = [*map(str, command), *flags, f"--saved_models={folder / 'saved_models'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def digest(folder: pathlib.Path) -> str:
    """Of the weights and of the history."""
    vae = kvae.load_model(folder / "run" / "model.keras")
    found = hashlib.sha256()
    for weight in [*vae.weights, *vae.optimizer.variables]:
        found.update(weight.numpy().tobytes())
    found.update((folder / "run" / "history.json").read_bytes())
    return found.hexdigest()


def ended(job: subprocess.Popen) -> str:
    """What it said, where it came to a good end."""
    _, said = job.communicate(timeout=600)
    if job.returncode:
        raise SystemExit(f"The job ended with status {job.returncode}:\n{said[-2000:]}")
    return said


def children(pid: int) -> list[int]:
    """The processes that it began."""
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def killed(folder: pathlib.Path, epochs: int, wait: float, which: int) -> bool:
    """Whether a worker died before the end, so many seconds after the first epoch."""
    job, history = started(folder, epochs), folder / "run" / "history.json"
    while not history.exists() or not json.loads(history.read_text())["loss"]:
        if job.poll() is not None:
            break
        time.sleep(0.02)
    time.sleep(wait)
    workers = children(job.pid) if job.poll() is None else []
    if which < len(workers):
        os.kill(workers[which], signal.SIGKILL)
    return "restart 1" in ended(job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="within which after the first epoch a worker dies")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments, begun = random.Random(options.seed), time.time()
    with tempfile.TemporaryDirectory() as place:
        whole = pathlib.Path(place, "whole")
        ended(started(whole, options.epochs))
        expected = digest(whole)
        print(f"not killed: {expected[:16]}", flush=True)
        kills = same = trials = 0
        while kills < options.kills:
            folder = pathlib.Path(place, str(trials))
            wait, which = moments.uniform(0.0, options.seconds), moments.randrange(2)
            trials += 1
            if not killed(folder, options.epochs, wait, which):
                continue  # it had come to the end before
            kills += 1
            found = digest(folder)
            same += found == expected
            print(f"killed {kills}, worker {which} after {wait:.1f} s: {found[:16]}", flush=True)
    print(f"{same} of {kills} jobs ended with the same bytes; {time.time() - begun:.0f} s")
    sys.exit(same != kills)


if __name__ == "__main__":
    main()
