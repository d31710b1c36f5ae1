"""SavedModels for serving, with what stands beside them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kvae.export import staging, warmup
from kvae.export.endpoints import endpoints
from kvae.export.manifest import manifest, signature_table
from kvae.models.resolve import check_model
from kvae.numerics import arguments


def next_version(base) -> str:
    """`<base>/<N>` with N one above the highest version there, 1 where there is none.

    TensorFlow Serving loads the highest numbered folder of a base path.

    Raises:
        ValueError: for what is no path of a folder.
    """
    base = arguments.path("base", base)
    if base.exists() and not base.is_dir():
        raise ValueError(f"base must be the folder of the versions, but {base} is a file. Give another path.")
    numbers = [int(path.name) for path in base.glob("*") if path.name.isdecimal()]
    return str(base / str(max(numbers, default=0) + 1))


def saved_model(
    vae, path, samples: int = 100, results: dict | None = None, verbose: bool = True, scored: Callable | None = None
) -> str:
    """Write a SavedModel of a `VAE` to exactly `path`, which must not exist.

    The first axis of every input and output is the batch. All randomness comes from seeds, int32 `[B]`, one per row:
    the noise of a row depends on its seed alone. Signatures (log-densities in nats):

    | name | inputs | outputs |
    |---|---|---|
    | serving_default, reconstruct | x | mean of p(x given the posterior's mean); error, the mean of (x - mean)^2 |
    | encode | x | mean, scale (and scale_tril for a full covariance) of q(z given x) |
    | decode | z | mean of p(x given z) |
    | sample | seed | z from the prior, mean of p(x given z) |
    | score | x, seed | elbo, reconstruction, kl at one draw of z; score, log p(x given the posterior's mean) - KL, and error, which do not depend on the seed |
    | log_likelihood | x, seed | log_likelihood, effective_sample_size by importance sampling |

    All have an output `valid`, bool `[B]`: False where a row held NaN or values that the likelihood does not explain.
    Such values are replaced by a neutral one. The row's other outputs then mean little; other rows are not affected.
    Inputs with different numbers of rows are an error.

    A conditional model has an input `condition` `[B, *condition_shape]`, float32, in each: classes are one-hot. With
    an encoder that takes a mask there is an input `mask` beside x, float32, 1 where x was observed. A deterministic
    posterior has no scale in `encode`, and neither `score` nor `log_likelihood`; with `scored` it has a `score` that
    takes no seed and gives what `scored` gives. A posterior over codes gives `indices`, int32 `[B, M]`, and no scale.

    `assets.extra` holds `manifest.json` (versions, shapes, the support of x, tensor names for other languages,
    operations, results, hashes), `models.config` for TensorFlow Serving, and requests that warm it up; the server knows
    the model by the name of the folder above `path`.

    The files are written under a temporary name and renamed when complete.

    Args:
        vae: the model.
        path: for TensorFlow Serving `<base>/<version>`, see `next_version`.
        samples: draws of z for each row in `log_likelihood`; of a posterior over codes one, since all are the same.
        results: names to `kvae.evaluate.Estimate`, kept in the manifest.
        verbose: whether to print the signatures.
        scored: a function of a batch that is `prepared`, whose outputs `[B]`, by name, `score` gives as well:
            `kvae.anomaly.Detector.export` adds `anomaly_score` and `p_value`.

    Returns:
        `path`.

    Raises:
        FileExistsError: where `path` exists.
        ValueError: for what is no path.
        OSError: where nothing can be written there.
    """  # noqa: E501
    check_model(vae)
    samples, verbose = arguments.whole("samples", samples, 1), arguments.flag("verbose", verbose)
    samples = samples if vae.posterior.noise_size else 1
    _check_results(results)
    if scored is not None and not callable(scored):
        raise ValueError(f"scored must be a function of a batch, got {arguments.shown(scored)}.")
    path = staging.new_path(path)
    table = endpoints(vae, samples, scored)

    def manifest_of(folder: Path) -> dict:
        extra, name = folder / "assets.extra", path.resolve().parent.name or "vae"
        warmup.write(str(extra / warmup.FILE), name, {key: _example(vae, specs) for key, (_, specs) in table.items()})
        (extra / "models.config").write_text(_MODELS_CONFIG.format(model=name))
        return manifest(vae, folder, samples, results or {})

    written = staging.write(path, vae, table, manifest_of)
    if verbose:
        print(signature_table(written["signatures"]))
    return str(path)


def _check_results(results) -> None:
    """Raise a ValueError unless they are names to what `kvae.evaluate` gives."""
    named = isinstance(results, dict) and all(isinstance(name, str) for name in results)
    if results is not None and not (named and all(hasattr(one, "_asdict") for one in results.values())):
        raise ValueError(f"results must be names to kvae.evaluate.Estimate, got {arguments.shown(results)}.")


_MODELS_CONFIG = """\
# tensorflow_model_server --model_config_file=models.config, with the versions of the model under this base path
model_config_list {{
  config {{
    name: "{model}"
    base_path: "/models/{model}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""


def _example(vae, specs) -> dict[str, np.ndarray]:
    """One row for each input that is valid."""
    x = np.broadcast_to(vae.likelihood.neutral, (1, *vae.likelihood.event_shape))
    inside = np.where(vae.likelihood.support.outside(x), np.floor(x), x)  # 1/2 stands for a missing 0 or 1
    fill = {"x": inside, "mask": 1.0}
    return {s.name: np.full((1, *s.shape[1:]), fill.get(s.name, 0), s.dtype.as_numpy_dtype) for s in specs}
