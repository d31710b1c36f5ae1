"""Kill exporting processes at random moments: whatever stands under a version's name must be complete.

    python benchmarks/faults/export_kills.py --kills 50  # about 10 s each

A process exports version after version; SIGKILL comes after up to four seconds. Then every version is read: the hashes
of its files must be those of its manifest, and the last one must answer.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

EXPORTER = """
    import keras, sys
    import kvae
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6, 5, 1), 4, hidden=(16,)), likelihood="bernoulli")
    print("ready", flush=True)
    while True:
        vae.export(kvae.export.next_version(sys.argv[1]), verbose=False)
        print("done", flush=True)
"""


def killed_exports(base: Path, kills: int, seed: int = 0) -> int:
    """Kill exporting processes at random moments and check every version; returns how many there are."""
    import tensorflow as tf

    moments = random.Random(seed)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    for number in range(kills):
        command = [sys.executable, "-c", textwrap.dedent(EXPORTER), str(base)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
                if number == 0:
                    process.stdout.readline()  # one export at least is done
                time.sleep(moments.uniform(0.0, 4.0))
            finally:
                process.send_signal(signal.SIGKILL)
        for version in base.iterdir():
            if not version.name.isdigit():
                continue  # what is left of a killed export has another kind of name, which servers pass over
            manifest = json.loads((version / "assets.extra" / "manifest.json").read_text())
            for file, digest in manifest["sha256"].items():
                if hashlib.sha256((version / file).read_bytes()).hexdigest() != digest:
                    raise AssertionError(f"{version} is broken: {file}")
    versions = sorted((p for p in base.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    for version in versions[-1:]:
        served = tf.saved_model.load(str(version)).signatures
        assert served["sample"](seed=[1])["mean"].shape == (1, 6, 5, 1)
    assert all(re.fullmatch(r"\d+|\.writing-.*", path.name) for path in base.iterdir())
    return len(versions)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory() as base:
        complete = killed_exports(Path(base), options.kills)
        left = sum(not path.name.isdigit() for path in Path(base).iterdir())
    print(f"{options.kills} kills: {complete} versions, all complete; {left} temporary folders left.")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
