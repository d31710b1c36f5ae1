"""Draw from a trained model: a picture and an array.

    python examples/sample.py --model runs/digits/model.keras --n 50 --output runs/digits/drawn
    python examples/sample.py --model runs/digits/model.keras --kind sample --seed 3 --output drawn

Writes <output>.npz with x `[n, *event_shape]`, and <output>.png where x are images.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags


def run(model, n=50, seed=0, kind="mean", output="drawn"):
    """Draw, write and return x `[n, *event_shape]`; the arguments are the flags."""
    command_line.check_writable(Path(output).parent)
    import numpy as np

    import kvae
    from kvae import plots

    vae = kvae.load_model(model)
    x = vae.sample(n, seed=seed, output=kind).numpy()
    output = Path(output)
    command_line.write_whole(Path(f"{output}.npz"), lambda file: np.savez_compressed(file, x=x))
    written = [f"{output}.npz"]
    if len(vae.event_shape) > 1:
        low, high = (0.0, 1.0) if vae.likelihood.support.high == 1.0 else (None, None)
        figure = plots.grid(x, min(n, 10), f"{n} draws, seed {seed}", low, high)
        command_line.write_figures(output.parent, {output.name: figure})
        written.append(f"{output}.png")
    print(f"Wrote {' and '.join(written)}.")
    return x


def _define_flags():
    flags.DEFINE_string("model", None, "a .keras file", required=True)
    flags.DEFINE_integer("n", 50, "how many", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the draw; the same seed draws the same", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_enum("kind", "mean", ["mean", "sample"], "means of p(x|z), or draws from it")
    flags.DEFINE_string("output", "drawn", "the files' name without its ending")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
