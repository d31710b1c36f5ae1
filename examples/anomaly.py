"""Train on normal rows, find the strange ones, and keep a promise about false alarms.

    python examples/anomaly.py                                       # half a minute on two cores; AUROC 0.96
    python examples/anomaly.py --score reconstruction --alpha 0.1 --saved_models saved_models/cells

The data come with scikit-learn: 30 measurements of the cells of 357 benign and 212 malignant tumours (Breast Cancer
Wisconsin). Half of the benign rows train the model and a quarter calibrates the detector. The others are new, and so
are all malignant rows, which the model has never seen. Prints what share of either raises an alarm, what is selected at
a false discovery rate, and which columns made the strangest row strange. Writes the detector with its model, and with
--saved_models a SavedModel whose `score` gives p-values.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags


def run(
    score="elbo", alpha=0.05, fdr=0.1, latent_dim=6, epochs=300, samples=100, seed=0,
    output="runs/cells/detector.keras", saved_models=None,
) -> dict:  # fmt: skip
    """Train, calibrate, find and write; return the numbers that are printed. The arguments are the flags."""
    for path in (Path(output).parent, saved_models):
        if path:
            command_line.check_writable(path)
    import keras
    import numpy as np
    from sklearn.datasets import load_breast_cancer
    from sklearn.metrics import roc_auc_score

    import kvae

    data = load_breast_cancer()
    benign = data.data[data.target == 1]
    benign = benign[np.random.default_rng(seed).permutation(len(benign))]
    train, held_out, new = np.split(benign, [len(benign) // 2, len(benign) * 3 // 4])
    malignant = data.data[data.target == 0]
    rank = kvae.anomaly.conformal.rank(len(held_out), alpha)  # refuses an alpha before the training
    fdr = kvae.numerics.arguments.number("fdr", fdr, above=0.0, below=1.0)

    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((30,), latent_dim, hidden=(64,))
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(per="element"), seed=seed)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.adapt(train)
    vae.fit(train, epochs=epochs, batch_size=32, verbose=0)

    detector = kvae.anomaly.Detector(vae, score, samples=samples, seed=seed).calibrate(held_out, train)
    rows = np.concatenate([new, malignant])
    strange = np.arange(len(rows)) >= len(new)
    alarms, chosen = detector.predict(rows, alpha) == -1, detector.select(rows, fdr)
    found = {
        "auroc": float(roc_auc_score(strange, detector.score(rows))),
        "false_alarms": float(alarms[~strange].mean()),
        "found": float(alarms[strange].mean()),
        "selected": int(chosen.sum()),
        "selected_falsely": int(chosen[~strange].sum()),
        "drift": detector.drift(new).p_value,
    }
    print(
        f"Benign rows: {len(train)} to train, {len(held_out)} to calibrate, {len(new)} new. Malignant: {len(malignant)}"
    )
    print(f"  AUROC of the score {score!r}     {found['auroc']:.3f}")
    promised = rank / (len(held_out) + 1)
    print(
        f"  alarms at alpha = {alpha:g}      {found['found']:.1%} of malignant; {found['false_alarms']:.1%} of benign"
    )
    print(f"                             ({promised:.1%} on average over calibration sets)")
    print(f"  selected at a rate {fdr:g}     {found['selected']} rows, {found['selected_falsely']} of them benign")
    print(f"  drift of new benign rows   p = {found['drift']:.2f}")
    worst = int(detector.score(rows).argmax())
    parts = detector.contributions(rows[worst : worst + 1])[0]
    print("The strangest row, nats above the usual by column:")
    for column in np.argsort(-parts)[:3]:
        print(f"  {data.feature_names[column]:24s} {parts[column]:8.1f}")
    detector.save(output)
    print(f"Wrote {output}: kvae.anomaly.Detector.load(path), or kvae.load_model(path) for the model alone.")
    if saved_models:
        path = detector.export(kvae.export.next_version(saved_models), verbose=False)
        print(f"Wrote {path}.")
    return found


def _define_flags():
    scores = ["log_likelihood", "elbo", "reconstruction", "typicality"]
    flags.DEFINE_enum("score", "elbo", scores, "what a row's strangeness is measured by")
    flags.DEFINE_float("alpha", 0.05, "the share of false alarms", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_float("fdr", 0.1, "the share of false ones among those selected", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("latent_dim", 6, "dimensions of z", lower_bound=1)
    flags.DEFINE_integer("epochs", 300, "passes over the training rows", lower_bound=1)
    flags.DEFINE_integer("samples", 100, "draws of z for each row", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the split, the weights and the draws", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_string("output", "runs/cells/detector.keras", "the file of the detector and its model")
    flags.DEFINE_string("saved_models", None, "a folder for versions of the SavedModel; by default none is written")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)
