"""SavedModels for serving, with what stands beside them."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kvae import resolve, warmup
from kvae.counts import check_at_least
from kvae.endpoints import endpoints


def next_version(base) -> str:
    """`<base>/<N>` with N one above the highest version there, 1 where there is none.

    TensorFlow Serving loads the highest numbered folder of a base path.
    """
    numbers = [int(path.name) for path in Path(base).glob("*") if path.name.isdigit()]
    return str(Path(base) / str(max(numbers, default=0) + 1))


def saved_model(vae, path, samples: int = 100, results: dict | None = None, verbose: bool = True) -> str:
    """Write a SavedModel of a `VAE` to exactly `path`, which must not exist.

    Every input and output has the batch in front. Nothing in it is random but through a seed, int32 `[B]`, one
    per row: the noise of a row depends on its seed alone. Signatures (log-densities in nats):

    | name | inputs | outputs |
    |---|---|---|
    | serving_default, reconstruct | x | mean of p(x given the posterior's mean); error, the mean of (x - mean)^2 |
    | encode | x | mean, scale (and scale_tril for a full covariance) of q(z given x) |
    | decode | z | mean of p(x given z) |
    | sample | seed | z from the prior, mean of p(x given z) |
    | score | x, seed | elbo, reconstruction, kl at one draw of z; score, log p(x given the posterior's mean) - KL, and error, which do not depend on the seed |
    | log_likelihood | x, seed | log_likelihood, effective_sample_size by importance sampling |

    All have an output `valid`, bool `[B]`: False where a row held NaN or values that the likelihood does not explain.
    Such values are replaced by a neutral one; the row's other outputs mean little then, and other rows do not notice.

    A conditional model has an input `condition` `[B, *condition_shape]`, float32, in each: classes are one-hot. With
    an encoder that takes a mask there is an input `mask` beside x, float32, 1 where x was observed. A deterministic
    posterior has no scale in `encode`, and neither `score` nor `log_likelihood`.

    In `assets.extra` stand `manifest.json` (versions, shapes, the support of x, tensor names for other languages,
    operations, results, hashes), `models.config` for TensorFlow Serving, and requests that warm it up; the server knows
    the model by the name of the folder above `path`.

    The files are written under a temporary name and renamed when complete.

    Args:
        vae: the model.
        path: for TensorFlow Serving `<base>/<version>`, see `next_version`.
        samples: draws of z for each row in `log_likelihood`.
        results: names to `kvae.evaluate.Estimate`, kept in the manifest.
        verbose: whether to print the signatures.

    Returns:
        `path`.

    Raises:
        FileExistsError: where `path` exists.
    """  # noqa: E501
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            f"{path} exists and is not overwritten. Export to another path, for example "
            f"kvae.export.next_version({str(path.parent)!r})."
        )
    check_at_least(1, samples=samples)
    table = endpoints(vae, samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        archive = keras.export.ExportArchive()
        archive.track(vae)
        for name, (function, inputs) in table.items():
            archive.add_endpoint(name, function, inputs)
        archive.write_out(str(staging / "model"), verbose=False)
        model = path.resolve().parent.name or "vae"
        extra = staging / "model" / "assets.extra"
        extra.mkdir()
        warmup.write(
            str(extra / warmup.FILE), model, {name: _example(vae, specs) for name, (_, specs) in table.items()}
        )
        (extra / "models.config").write_text(_MODELS_CONFIG.format(model=model))
        manifest = _manifest(vae, staging / "model", samples, results or {})
        (extra / "manifest.json").write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
        if path.exists():
            raise FileExistsError(f"{path} came into being during the export and is not overwritten.")
        os.rename(staging / "model", path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if verbose:
        print(signature_table(manifest["signatures"]))
    return str(path)


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
    low = vae.likelihood.support.low
    fill = {"x": low if math.isfinite(low) else 0.0, "mask": 1.0}
    return {s.name: np.full((1, *s.shape[1:]), fill.get(s.name, 0), s.dtype.as_numpy_dtype) for s in specs}


def _manifest(vae, model: Path, samples: int, results: dict) -> dict:
    content = (model / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]
    functions = graph.graph_def.library.function
    operations = {node.op for nodes in (graph.graph_def.node, *(f.node_def for f in functions)) for node in nodes}
    own = {f.signature.name for f in functions}
    files = sorted(file for file in model.rglob("*") if file.is_file() and "assets.extra" not in file.parts)
    signatures = {}
    for name, signature in sorted(graph.signature_def.items()):
        if name != "__saved_model_init_op":
            signatures[name] = {side: _tensors(getattr(signature, side)) for side in ("inputs", "outputs")}
    support = vae.likelihood.support
    return {
        "versions": {"kvae": resolve.VERSION, "tensorflow": tf.__version__, "keras": keras.__version__},
        "model": {
            part: type(getattr(vae, part)).__name__ for part in ("posterior", "likelihood", "prior", "objective")
        },
        "event_shape": list(vae.event_shape),
        "latent_dim": vae.latent_dim,
        "condition_shape": None if vae.condition_shape is None else list(vae.condition_shape),
        "support": {"name": support.name, "low": _number(support.low), "high": _number(support.high)}
        | {"integer": support.integer},
        "unit": "nats",
        "measure": vae.likelihood.measure,
        "log_likelihood_samples": samples if vae.posterior.has_density else None,
        "signatures": signatures,
        "operations": sorted(operations - own),
        "results": {
            name: {key: _number(value) if isinstance(value, float) else value for key, value in e._asdict().items()}
            for name, e in results.items()
        },
        "sha256": {str(file.relative_to(model)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def _number(value: float) -> float | None:
    """A number as JSON has it: None where it is not finite."""
    return value if math.isfinite(value) else None


def _tensors(side) -> dict:
    """Key to the name in the graph, dtype and shape (None for the batch), as other languages feed and fetch them."""
    return {
        key: {
            "tensor": tensor.name,
            "dtype": tf.as_dtype(tensor.dtype).name,
            "shape": [None if axis.size < 0 else axis.size for axis in tensor.tensor_shape.dim],
        }
        for key, tensor in sorted(side.items())
    }


def signature_table(signatures: dict) -> str:
    """The signatures of a manifest as text, one a line."""

    def listed(tensors):
        shapes = {
            key: ", ".join("B" if n is None else str(n) for n in tensor["shape"]) for key, tensor in tensors.items()
        }
        return "  ".join(f"{key} {tensors[key]['dtype']}[{shape}]" for key, shape in shapes.items())

    width = max(len(name) for name in signatures)
    return "\n".join(
        f"{name:{width}}  {listed(sides['inputs'])}  ->  {listed(sides['outputs'])}"
        for name, sides in signatures.items()
    )
