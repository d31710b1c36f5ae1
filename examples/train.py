"""Train, evaluate, draw, save and export a VAE.

    python examples/train.py                                       # the embedded digits, well under a minute
    python examples/train.py --dataset mnist --data_dir DIR --network conv --epochs 20
    python examples/train.py --dataset images.npz --likelihood normal --scale learned

The default prints a log-likelihood of about -23 nats on the binarised digits; the model of independent pixels
has about -27. Everything is written to --output: model.keras, history.json, model_card.json and figures; the
SavedModel becomes the next version under --saved_models. Run again with the same --output, it goes on where it
stopped.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import hashlib
import json
import time
from pathlib import Path

from absl import app, flags, logging

HERE = Path(__file__).resolve().parent


@dataclasses.dataclass
class Config:
    """What the flags say."""

    dataset: str = "digits"
    data_dir: str | None = None
    binarize: str = "auto"
    network: str = "mlp"
    hidden: tuple[int, ...] | None = None
    likelihood: str = "bernoulli"
    scale: str = "optimal"
    clip: float | None = None
    posterior: str = "diagonal_normal"
    objective: str = "elbo"
    beta: float = 1.0
    warm_up: int = 0
    samples: int = 1
    dtype_policy: str = "float32"
    latent_dim: int = 10
    epochs: int = 150
    batch_size: int = 50
    learning_rate: float = 1e-3
    validation: float = 0.1
    importance_samples: int = 1000
    seed: int = 0
    output: str = "runs/digits"
    saved_models: str = str(HERE.parent / "saved_models")
    verbose: int = 1


_HELP = {
    "dataset": "'digits' (embedded), a .npz file with x_train and x_test, or a name of tensorflow-datasets",
    "data_dir": "where tensorflow-datasets finds its files",
    "binarize": "'dynamic', 'static', 'none'; 'auto' is dynamic for the Bernoulli likelihood and none for others",
    "network": "'mlp', 'conv' or 'resnet'",
    "hidden": "sizes of the hidden layers (mlp, by default 200,200), filters of the levels (conv and resnet, 32,64)",
    "likelihood": "'bernoulli', 'continuous_bernoulli' or 'normal'",
    "scale": "of the normal likelihood: 'optimal', 'learned' or a number",
    "clip": "of the continuous Bernoulli's parameter",
    "posterior": "'diagonal_normal' or 'full_normal'",
    "objective": "'elbo' (KL in closed form) or 'elbo_monte_carlo'",
    "beta": "weight of the KL term",
    "warm_up": "optimizer steps over which beta rises from 0",
    "samples": "draws of z for each example in training",
    "dtype_policy": "Keras' policy for the networks: 'float32', 'mixed_bfloat16', 'mixed_float16' or 'float64'",
    "validation": "part of the training data held out for validation",
    "importance_samples": "draws of z for each example in the evaluation",
    "output": "directory of this run",
    "saved_models": "where exported versions are kept, by data set",
    "verbose": "1 for a progress bar, 2 for a line an epoch, 0 for silence",
}


def run(config: Config) -> dict:
    """Do everything and return the results: names to `kvae.evaluate.Estimate`."""
    started = time.time()
    import keras
    import tensorflow as tf

    import kvae

    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    automatic = "dynamic" if config.likelihood == "bernoulli" else "none"
    binarize = automatic if config.binarize == "auto" else config.binarize
    data = kvae.data.load(
        config.dataset,
        validation=config.validation,
        binarize=None if binarize == "none" else binarize,
        batch_size=config.batch_size,
        seed=config.seed,
        data_dir=config.data_dir,
    )
    card_path, model_path, history_path = (output / n for n in ("model_card.json", "model.keras", "history.json"))
    wanted = json.loads(json.dumps(dataclasses.asdict(config)))
    if model_path.exists():
        _refuse_other_run(output / "config.json", wanted)
        vae = kvae.load_model(model_path)
        print(f"Resuming {model_path} after epoch {int(vae.passes)} of {config.epochs}.")
    else:
        _write_json(output / "config.json", wanted)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.dtype_policy)
        try:
            vae = _build(config, data.event_shape)
        finally:
            keras.config.set_dtype_policy(before)
    history = json.loads(history_path.read_text()) if history_path.exists() else {}
    history = {name: values[: int(vae.passes)] for name, values in history.items()}

    def keep(epoch, logs):
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        _write_json(history_path, history)

    frames = kvae.callbacks.Frames(every=max(1, config.epochs // 30))
    vae.fit(
        data.train,
        validation_data=data.validation,
        epochs=config.epochs,
        initial_epoch=int(vae.passes),
        verbose=config.verbose,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=keep),
            kvae.callbacks.Checkpoint(model_path, seconds=10.0),
            frames,
        ],
    )
    results = {}
    test = data.test or data.validation
    if test is not None:
        part = "test" if data.test is not None else "validation"
        results = kvae.evaluate.summary(vae, test, samples=config.importance_samples, seed=config.seed)
        results["independent_pixels"] = kvae.evaluate.independent_pixels(vae, data.train, test)
        print(f"\nOn the {len(test)} {part} examples of {data.name}:")
        for name, estimate in results.items():
            print(f"  {name:20s} {estimate}")
        gain = results["log_likelihood"].mean - results["independent_pixels"].mean
        print(f"  The VAE gains {gain:.2f} nats on the model of independent pixels.")
        diagnosis = kvae.evaluate.diagnose(vae, test.first(1000), data.train.first(5000), probe_steps=100)
        print(f"\n{diagnosis}")
    _draw(vae, data, history, frames.frames, output, config.seed)
    version = kvae.export.next_version(Path(config.saved_models) / Path(data.name).stem)
    vae.export(version, results=results, verbose=False)
    _write_json(
        card_path,
        {
            "model": "variational autoencoder",
            "flags": wanted,
            "versions": {m.__name__: m.__version__ for m in (kvae, keras, tf)},
            "seed": config.seed,
            "data": {"name": data.name, "sha256": _digest(data), "examples": {k: len(s) for k, s in _parts(data)}},
            "parameters": vae.count_params(),
            "epochs": int(vae.passes),
            "results": {name: estimate._asdict() for name, estimate in results.items()},
            "diagnosis": diagnosis.text if results else None,
            "saved_model": str(Path(version).relative_to(config.saved_models)),
            "seconds": round(time.time() - started, 1),
        },
    )
    print(f"Wrote {output} and {version} in {time.time() - started:.0f} s.")
    return results


def _build(config: Config, event_shape):
    import keras

    import kvae

    if config.network == "mlp":
        networks = kvae.networks.mlp(
            event_shape, config.latent_dim, hidden=(200, 200) if config.hidden is None else config.hidden
        )
    elif config.network in ("conv", "resnet"):
        make = getattr(kvae.networks, config.network)
        networks = make(event_shape, config.latent_dim, filters=config.hidden or (32, 64))
    else:
        raise ValueError(f"--network is 'mlp', 'conv' or 'resnet', got {config.network!r}.")
    likelihood = config.likelihood
    if likelihood == "normal":
        named = config.scale in ("optimal", "learned")
        likelihood = kvae.likelihoods.Normal(scale=config.scale if named else float(config.scale))
    elif likelihood == "continuous_bernoulli":
        likelihood = kvae.likelihoods.ContinuousBernoulli(clip=config.clip)
    forms = {"elbo": "auto", "elbo_monte_carlo": "monte_carlo"}
    if config.objective not in forms:
        raise ValueError(f"--objective is one of {sorted(forms)}, got {config.objective!r}.")
    beta = kvae.schedules.Linear(0.0, config.beta, config.warm_up) if config.warm_up else config.beta
    vae = kvae.VAE(
        *networks,
        posterior=config.posterior,
        likelihood=likelihood,
        objective=kvae.objectives.ELBO(kl=forms[config.objective], beta=beta, samples=config.samples),
        seed=config.seed,
    )
    vae.compile(optimizer=keras.optimizers.Adam(config.learning_rate))
    return vae


def _draw(vae, data, history, frames, output: Path, seed: int) -> None:
    from kvae import evaluate, plots

    split = data.test or data.validation or data.train
    low, high = (0.0, 1.0) if data.support.high == 1.0 else (None, None)
    many = split.first(500)
    q = vae.encode(many)
    codes = q.mean().numpy()
    busiest = [int(i) for i in codes.var(axis=0).argsort()[::-1][:8]]
    figures = {
        "reconstructions": plots.reconstructions(many.x[:20], vae),
        "worst": plots.worst(many.x, vae, vae.elbo(many)),
        "samples": plots.grid(vae.sample(50, seed=seed).numpy(), 10, "means of p(x|z), z from the prior", low, high),
        "latents": plots.latent_plane(vae) if vae.latent_dim == 2 else plots.traversals(vae, codes[0], busiest),
        "interpolations": plots.interpolations(vae, codes[:8], codes[8:16]),
    }
    if len(busiest) > 1:
        figures["posteriors"] = plots.posteriors(codes, q.stddev().numpy(), many.y, busiest[:2])
    if vae.terms(many.x[:1]).kl_per_dim is not None:
        figures["kl"] = plots.kl_bars(evaluate.kl_per_dimension(vae, many))
    if history:
        figures["curves"] = plots.curves(history)
    for name, figure in figures.items():
        figure.savefig(output / f"{name}.png", dpi=110)
    if len(frames) > 1:
        plots.animation(frames).save(output / "training.gif", writer="pillow", dpi=60)


def _refuse_other_run(path: Path, wanted: dict) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    free = {"epochs", "output", "saved_models", "verbose", "importance_samples", "data_dir"}
    changed = sorted(k for k, v in wanted.items() if k in before and before[k] != v and k not in free)
    if changed:
        raise ValueError(
            f"{path.parent} holds a run with other flags ({', '.join(f'{k}={before[k]!r}' for k in changed)}). Give "
            "the same flags to go on with it, or another --output."
        )


def _parts(data):
    return [
        (name, split) for name, split in data._asdict().items() if name in ("train", "validation", "test") and split
    ]


def _digest(data) -> str:
    digest = hashlib.sha256()
    for _, split in _parts(data):
        digest.update(split.array.tobytes())
    return digest.hexdigest()


def _write_json(path: Path, content) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def _define_flags(values: flags.FlagValues) -> None:
    for field in dataclasses.fields(Config):
        name, default, text = field.name, field.default, _HELP.get(field.name, field.name.replace("_", " "))
        if name == "hidden":
            flags.DEFINE_list(name, default, text, flag_values=values)
        elif field.type is int:
            flags.DEFINE_integer(name, default, text, flag_values=values)
        elif field.type is float or name == "clip":
            flags.DEFINE_float(name, default, text, flag_values=values)
        else:
            flags.DEFINE_string(name, default, text, flag_values=values)


def main(argv):
    """Read the flags and run."""
    if len(argv) > 1:
        raise app.UsageError(f"Not a flag: {argv[1]}")
    logging.set_verbosity(logging.WARNING)
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Config)}
    if values["hidden"] is not None:
        values["hidden"] = tuple(int(size) for size in values["hidden"])
    run(Config(**values))


if __name__ == "__main__":
    _define_flags(flags.FLAGS)
    app.run(main)
