"""Compiles reader.c, and runs it on a signature of an exported model: what a program without Python gets.

python examples/serve/reader.py --saved_model saved_models/digits/1 --npz inputs.npz --signature encode
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS


def compile_reader(path) -> None:
    """examples/serve/reader.c, compiled against TensorFlow's wheel."""
    import tensorflow as tf

    place = os.path.dirname(tf.__file__)
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command = [
        "gcc",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        str(Path(__file__).with_name("reader.c")),
        "-o",
        str(path),
    ]
    command += [f"-I{place}/include", f"-L{place}", *libraries, f"-Wl,-rpath,{place}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def run_reader(reader, path, signature, fed, work, repeats=1) -> dict:
    """The outputs of a signature of the manifest, by name; "seconds" is the median of the runs."""
    command = ["timeout", "-k", "5", "120", str(reader), str(path), str(repeats)]
    for key, value in fed.items():
        tensor = signature["inputs"][key]
        np.ascontiguousarray(value, tensor["dtype"]).tofile(work / f"{key}.in")
        command += [
            "in",
            tensor["tensor"],
            tensor["dtype"],
            str(value.ndim),
            *map(str, value.shape),
            str(work / f"{key}.in"),
        ]
    for key, tensor in signature["outputs"].items():
        command += ["out", tensor["tensor"], str(work / f"{key}.out")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict = {}
    for line in done.stdout.splitlines():
        kind, *shape, file = line.split()
        if kind == "median":
            found["seconds"] = float(line.split()[1])
            continue
        values = np.fromfile(file, dtype=kind)
        found[Path(file).stem] = values.reshape([int(n) for n in shape])
    return found


def run(saved_model, signature, inputs) -> dict:
    """The outputs of a signature for inputs by name."""
    manifest = json.loads(Path(saved_model, "assets.extra", "manifest.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        compile_reader(Path(work) / "reader")
        found = run_reader(Path(work) / "reader", saved_model, manifest["signatures"][signature], inputs, Path(work))
    for name, value in found.items():
        print(name, value if name == "seconds" else f"{value.dtype}{list(value.shape)}")
    return found


def _define_flags():
    flags.DEFINE_string("saved_model", None, "a version, such as saved_models/digits/1", required=True)
    flags.DEFINE_string("npz", None, "a file with the inputs by name, in the types of the signature", required=True)
    flags.DEFINE_string("signature", "encode", "which signature")


def main(argv):
    """Read the flags and run."""
    if len(argv) > 1:
        raise app.UsageError(f"Not a flag: {argv[1]}")
    run(FLAGS.saved_model, FLAGS.signature, dict(np.load(FLAGS.npz)))


if __name__ == "__main__":
    _define_flags()
    app.run(main)
