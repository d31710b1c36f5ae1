"""Train on a table with holes and categories, fill it in, draw new rows, score rows, and write the model.

    python examples/table.py                                          # half a minute on two cores
    python examples/table.py --missing 0.5 --latent_dim 6 --saved_models saved_models/cells

The data come with scikit-learn: 30 measurements of the cells of 569 tumours (Breast Cancer Wisconsin). Ten of them,
whose names, units and kinds differ, make the table here, with the diagnosis and a size in words as two further columns.
A share of all cells is hidden at random. A tenth of the others is hidden from training and tells when to stop. Prints
the errors of the filled in cells by kind of column, beside those of means, one Gaussian and scikit-learn's
IterativeImputer, and some rows. Writes the filled table as CSV, the model, and with --saved_models a SavedModel.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags


def cells():
    """The table without holes: a pandas.DataFrame."""
    import numpy as np
    import pandas as pd
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    frame = data.frame.filter(like="mean").rename(columns=lambda name: name.removeprefix("mean "))
    sizes = pd.qcut(data.frame["worst area"], 4, labels=["small", "middle", "large", "giant"])
    return frame.assign(
        area=np.rint(frame["area"]).astype("Int64"),
        size=sizes,
        diagnosis=np.where(data.target == 1, "benign", "malignant"),
    )


def run(
    missing=0.3, latent_dim=4, hidden=64, epochs=600, samples=200, seed=0, output="runs/table", saved_models=None
) -> dict:
    """Train, fill in, draw, score and write; return the errors. The arguments are the flags."""
    for path in (output, saved_models):
        if path:
            command_line.check_writable(path)
    import keras
    import numpy as np

    import kvae

    whole = cells()
    missing = kvae.numerics.arguments.number("missing", missing, above=0.0, below=1.0)
    frame = whole.mask(np.random.default_rng(seed).random(whole.shape) < missing)
    kinds = {"radius": "positive", "area": "positive"}
    table = kvae.data.table(frame, kinds)

    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp(table.event_shape, latent_dim, (hidden,), mask=True, classes=table.classes)
    vae = kvae.VAE(*networks, posterior="full_normal", likelihood=table.likelihood(), seed=seed)
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.adapt(table.data)
    train = table.data.hide(0.1, seed)
    stop = kvae.callbacks.HeldOutCells(table.data, train.mask, samples=samples)
    vae.fit(train, batch_size=64, epochs=epochs, callbacks=[stop], verbose=0)
    print(
        f"{table!r}\nBest after {stop.best_epoch} passes: error {stop.best:.4f} of cells that training did not see.\n"
    )

    found = kvae.evaluate.imputation(vae, table.encode(whole), table.mask, samples=samples, seed=seed)
    print(f"Errors of the {found.cells} hidden cells:\n{found}\n")
    filled = table.impute(vae, frame, samples=samples, seed=seed)
    print(f"With holes:\n{frame.head(3).T}\n\nFilled in:\n{filled.head(3).T}\n")
    print(f"Drawn:\n{table.sample(vae, 3, seed=seed).T}\n")
    scores = vae.elbo(table.data, seed, samples).numpy()
    print(f"The strangest row is {int(scores.argmin())}, with an ELBO of {scores.min():.1f} nats; "
          f"the mean is {scores.mean():.1f}.")  # fmt: skip
    folder = Path(output)
    command_line.write_whole(folder / "filled.csv", lambda file: filled.to_csv(file, index=False))
    vae.save(folder / "model.keras")
    print(f"Wrote {folder / 'filled.csv'} and {folder / 'model.keras'}: kvae.data.Table.of(kvae.load_model(path)).")
    if saved_models:
        print(f"Wrote {vae.export(kvae.export.next_version(saved_models), verbose=False)}.")
    return found.error


def _define_flags():
    flags.DEFINE_float("missing", 0.3, "the share of cells that are hidden", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("latent_dim", 4, "dimensions of z", lower_bound=1)
    flags.DEFINE_integer("hidden", 64, "the size of the hidden layer of either network", lower_bound=1)
    flags.DEFINE_integer("epochs", 600, "passes over the rows, at most", lower_bound=1)
    flags.DEFINE_integer("samples", 200, "draws of z for each row that is filled in", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the holes, the weights and the draws", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_string("output", "runs/table", "the folder of the filled table and the model")
    flags.DEFINE_string("saved_models", None, "a folder for versions of the SavedModel; by default none is written")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
