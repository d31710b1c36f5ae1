"""Train, evaluate, draw, save and export a VAE.

    python examples/train.py                                       # the embedded digits, well under a minute
    python examples/train.py --dataset mnist --data_dir DIR --binarize dynamic --network conv --epochs 20
    python examples/train.py --dataset photos --size 64,64 --channels 3 --network conv
    python examples/train.py --dataset images.npz --likelihood normal --scale learned

The default prints a log-likelihood of about -23 nats on the binarised digits; the model of independent pixels
has about -27. Other data are binarised only by --binarize; without it the likelihood follows the data. Everything is
written to --output: model.keras, history.json, model_card.json and figures; the SavedModel becomes the next version
under --saved_models. Run again with the same flags, it goes on where it stopped: after Ctrl-C or a kill at the last
checkpoint, which is ten seconds old at most, after SIGTERM at the last step.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags
from configuration import Config, define_flags, from_flags, output_folder, short_name

# The files of a run, the figures aside.
_MODEL, _FLAGS, _HISTORY, _CARD = "model.keras", "config.json", "history.json", "model_card.json"


def run(config: Config, elsewhere: str | None = None) -> dict:
    """Do everything and return the results: names to `kvae.evaluate.Estimate`.

    Args:
        config: what the flags say.
        elsewhere: a folder for what a worker other than the first writes. It does the same work as the first.
    """
    folder = output_folder(config) if elsewhere is None else Path(elsewhere)
    command_line.check_writable(folder)
    with command_line.alone(folder):
        return _run(config, elsewhere)


def _run(config: Config, elsewhere: str | None) -> dict:
    started = time.time()
    shared = output_folder(config)
    output, saved_models = shared, Path(config.saved_models)
    if elsewhere is not None:
        output, saved_models = Path(elsewhere, "run"), Path(elsewhere, "saved_models")
    for folder in (output, saved_models):
        command_line.check_writable(folder)
    import building
    import keras

    import kvae

    scope = building.scope(config.distribute)
    data, config = building.data_of(config)
    print(data)
    print(f"The likelihood is {config.likelihood}.")
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    if (shared / _MODEL).exists():
        _refuse_other_run(shared / _FLAGS, _values(config))
        with scope:
            vae = kvae.load_model(shared / _MODEL)
        results = _results_if_finished(vae, config, shared)
        if results is not None:
            print(
                f"{shared} is finished, with {int(vae.passes)} epochs, so nothing new is written. Give more --epochs "
                "to train on, or another --output."
            )
            return results
        print(f"Resuming {shared / _MODEL} after epoch {int(vae.passes)} of {config.epochs}.")
    else:
        command_line.write_json(output / _FLAGS, _values(config))
        with scope:
            vae = building.model_of(config, data.event_shape)
    history = {name: values[: int(vae.passes)] for name, values in _read(shared / _HISTORY).items()}
    vae, frames = _trained(vae, data, config, history, output)
    results, diagnosis = _evaluated(vae, data, config)
    _draw(vae, data, history, frames, output, config.seed)
    version = kvae.export.next_version(saved_models / short_name(config.dataset))
    vae.export(version, results=results, verbose=False)
    card = _card(vae, data, config, results, diagnosis)
    card["saved_model"] = str(Path(version).relative_to(saved_models))
    card["seconds"] = round(time.time() - started, 1)
    command_line.write_json(output / _CARD, card)
    print(f"Wrote {output} and {version} in {time.time() - started:.0f} s.")
    return results


def _values(config: Config) -> dict:
    """The flags as JSON gives them back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _results_if_finished(vae, config: Config, folder: Path) -> dict | None:
    """The results of a run with nothing left to do, else None."""
    import kvae

    card = _read(folder / _CARD)
    if not card.get("epochs") == int(vae.passes) >= config.epochs:
        return None
    if not (Path(config.saved_models) / card["saved_model"]).exists():
        return None
    return {name: kvae.evaluate.Estimate(**values) for name, values in card["results"].items()}


def _trained(vae, data, config: Config, history: dict[str, list], output: Path):
    """The model after all epochs, and the frames of the film. The logs are appended to `history`."""
    import keras

    import kvae

    def keep(epoch, logs):
        for name, value in logs.items():
            history.setdefault(name, []).append(float(value))
        try:
            command_line.write_json(output / _HISTORY, history)
        except OSError as error:
            print(f"\n{error} The training goes on; the next epoch tries again.", file=sys.stderr)

    # Workers save together, for they wait for each other there.
    alone = config.distribute != "multiworker"
    checkpoint = kvae.callbacks.Checkpoint(output / _MODEL, 10.0 if alone else 0.0, on_sigterm=alone)
    frames = kvae.callbacks.Frames(every=max(1, config.epochs // 30))
    try:
        vae.fit(
            data.train,
            validation_data=data.validation,
            epochs=config.epochs,
            initial_epoch=int(vae.passes),
            verbose=config.verbose,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep), checkpoint, frames],
        )
    except OSError as error:  # of the last save
        raise (command_line.kept_elsewhere(vae, error) if alone else error) from error
    if config.distribute != "none" and checkpoint.filepath.exists():
        vae = kvae.load_model(checkpoint.filepath)  # on one device
    return vae, frames.frames


def _evaluated(vae, data, config: Config):
    """Print and return the results on data held out, and the diagnosis; no results and None where there are no data."""
    from kvae import evaluate

    test = data.test or data.validation
    if test is None:
        return {}, None
    part = "test" if data.test is not None else "validation"
    results = evaluate.summary(vae, test, samples=config.importance_samples, seed=config.seed)
    results["independent_pixels"] = evaluate.independent_pixels(vae, data.train, test)
    print(f"\nOn the {len(test)} {part} examples of {data.name}:")
    for name, estimate in results.items():
        print(f"  {name:20s} {estimate}")
    gain = results["log_likelihood"].mean - results["independent_pixels"].mean
    print(f"  The VAE gains {gain:.2f} nats on the model of independent pixels.")
    diagnosis = evaluate.diagnose(vae, test.first(1000), data.train.first(5000), probe_steps=100)
    print(f"\n{diagnosis}")
    return results, diagnosis


def _card(vae, data, config: Config, results: dict, diagnosis) -> dict:
    """What somebody who finds the model wants to know."""
    import keras
    import tensorflow as tf

    import kvae

    return {
        "model": "variational autoencoder",
        "flags": _values(config),
        "versions": {m.__name__: m.__version__ for m in (kvae, keras, tf)},
        "seed": config.seed,
        "data": {"name": data.name, "sha256": _digest(data), "examples": {k: len(s) for k, s in _parts(data)}},
        "parameters": vae.count_params(),
        "epochs": int(vae.passes),
        "results": {name: estimate._asdict() for name, estimate in results.items()},
        "diagnosis": diagnosis.text if results else None,
    }


def _draw(vae, data, history, frames, output: Path, seed: int) -> None:
    from kvae import evaluate, plots

    split = data.test or data.validation or data.train
    low, high = (0.0, 1.0) if data.support.high == 1.0 else (None, None)
    many = split.first(500)
    q = vae.encode(many)
    codes = q.mean().numpy()
    half = min(8, len(codes) // 2)
    busiest = [int(i) for i in codes.var(axis=0).argsort()[::-1][:8]]
    figures = {
        "reconstructions": plots.reconstructions(many.x[:20], vae),
        "worst": plots.worst(many.x, vae, vae.elbo(many)),
        "samples": plots.grid(vae.sample(50, seed=seed).numpy(), 10, "means of p(x|z), z from the prior", low, high),
        "latents": plots.latent_plane(vae) if vae.latent_dim == 2 else plots.traversals(vae, codes[0], busiest),
    }
    if half:
        figures["interpolations"] = plots.interpolations(vae, codes[:half], codes[half : 2 * half])
    if len(busiest) > 1:
        figures["posteriors"] = plots.posteriors(codes, q.stddev().numpy(), many.y, busiest[:2])
    if vae.terms(many.x[:1]).kl_per_dim is not None:
        figures["kl"] = plots.kl_bars(evaluate.kl_per_dimension(vae, many))
    if history:
        figures["curves"] = plots.curves(history)
    films = {"training": plots.animation(frames)} if len(frames) > 1 else {}
    command_line.write_figures(output, figures, films)


def _refuse_other_run(path: Path, wanted: dict) -> None:
    before = _read(path)
    if os.path.normpath(before.get("dataset", "")) == os.path.normpath(wanted["dataset"]):  # "photos/" is "photos"
        before.pop("dataset", None)
    free = {"epochs", "output", "saved_models", "verbose", "importance_samples", "data_dir", "distribute"}
    changed = sorted(k for k, v in wanted.items() if k in before and before[k] not in (v, "auto") and k not in free)
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


def main(argv):
    """Read the flags and run."""
    config = from_flags()

    def stopped():
        if (output_folder(config) / _MODEL).exists():
            return f"Stopped. To go on from the last checkpoint in {output_folder(config)}, give the same flags again."
        return "Stopped before the first checkpoint: the same flags begin anew."

    def job():
        index = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0)
        if config.distribute != "multiworker" or index == 0:
            return run(config)
        with tempfile.TemporaryDirectory() as folder:
            return run(config, folder)

    command_line.start(argv, job, stopped)


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    app.run(main)
