"""Write a SavedModel of a trained model, as the next version under a folder that TensorFlow Serving watches.

    python examples/export.py --model runs/digits/model.keras --saved_models saved_models/digits

It is loaded again and compared with the model before the program ends well.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags


def run(model, saved_models, samples=100) -> str:
    """Export, check and return the path of the new version; the arguments are the flags."""
    command_line.check_writable(saved_models)
    import numpy as np
    import tensorflow as tf

    import kvae

    vae = kvae.load_model(model)
    path = vae.export(kvae.export.next_version(saved_models), samples=samples)
    served = tf.saved_model.load(path).signatures
    z = tf.constant(np.random.default_rng(0).normal(size=(4, vae.latent_dim)), vae.likelihood.compute_dtype)
    beside = {} if vae.condition_shape is None else {"condition": tf.zeros((4, *vae.condition_shape))}
    difference = float(tf.reduce_max(tf.abs(served["decode"](z=z, **beside)["mean"] - vae.decode(z, **beside).mean())))
    print(f"Wrote {path} with {len(served)} signatures. Decoded means differ by at most {difference:.1e}.")
    if not difference < 1e-4:
        raise RuntimeError(f"The SavedModel at {path} does not compute what the model does.")
    return path


def _define_flags():
    flags.DEFINE_string("model", None, "a .keras file", required=True)
    flags.DEFINE_string("saved_models", None, "the folder of the versions 1, 2, ...", required=True)
    flags.DEFINE_integer("samples", 100, "draws of z for each row in the signature log_likelihood", lower_bound=1)


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
