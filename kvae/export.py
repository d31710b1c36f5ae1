"""SavedModels for serving."""

import os
import shutil
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from kvae import noise
from kvae.batch import Batch, inputs_of


def next_version(base) -> str:
    """`<base>/<N>` with N one above the highest version there, 1 where there is none.

    TensorFlow Serving loads the highest numbered folder of a base path.
    """
    numbers = [int(path.name) for path in Path(base).glob("*") if path.name.isdigit()]
    return str(Path(base) / str(max(numbers, default=0) + 1))


def saved_model(vae, path, verbose: bool = False) -> str:
    """Write a SavedModel of a `VAE` to exactly `path`, which must not exist.

    Every input and output has the batch in front. Nothing in it is random but through a seed, int32 `[B]`, one
    per row: the noise of a row depends on its seed alone. Signatures:

    | name | inputs | outputs |
    |---|---|---|
    | serving_default, reconstruct | x | mean of p(x given the posterior's mean) |
    | encode | x | mean, scale (and scale_tril for a full covariance) of q(z given x) |
    | decode | z | mean of p(x given z) |
    | sample | seed | z from the prior, mean of p(x given z) |
    | score | x, seed | elbo, reconstruction, kl at one z, nats |

    A conditional model has an input `condition` `[B, *condition_shape]`, float32, in each: classes are one-hot. With
    an encoder that takes a mask there is an input `mask` beside x, float32, 1 where x was observed. A deterministic
    posterior has no scale in `encode`, and no `score`.

    The files are written under a temporary name and renamed when complete.

    Raises:
        FileExistsError: where `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(
            f"{path} exists and is not overwritten. Export to another path, for example "
            f"kvae.export.next_version({str(path.parent)!r})."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        archive = keras.export.ExportArchive()
        archive.track(vae)
        for name, (function, signature) in _endpoints(vae).items():
            archive.add_endpoint(name, function, signature)
        archive.write_out(str(staging / "model"), verbose=verbose)
        if path.exists():
            raise FileExistsError(f"{path} came into being during the export and is not overwritten.")
        os.rename(staging / "model", path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return str(path)


def _endpoints(vae) -> dict:
    """Name to function and input signature."""
    x = tf.TensorSpec((None, *vae.event_shape), vae.likelihood.compute_dtype, name="x")
    z = tf.TensorSpec((None, vae.latent_dim), vae.likelihood.compute_dtype, name="z")
    seed = tf.TensorSpec((None,), tf.int32, name="seed")
    given, seen = [], []
    if vae.condition_shape is not None:
        given.append(tf.TensorSpec((None, *vae.condition_shape), tf.float32, name="condition"))
    if "mask" in inputs_of(vae.encoder):
        seen.append(tf.TensorSpec(x.shape, tf.float32, name="mask"))
    beside = [*given, *seen]  # what stands beside x

    def batch_of(x, *tensors):
        names = (spec.name for spec in beside)
        return vae.prepared(Batch(x, **dict(zip(names, tensors, strict=True))))

    def row_noise(seed):
        def one(s):
            return noise.normal(s, noise.DRAWS, 0, 1, vae.latent_dim, vae.likelihood.compute_dtype)[0]

        return tf.map_fn(one, seed, fn_output_signature=tf.TensorSpec((vae.latent_dim,), z.dtype))

    def reconstruct(x, *tensors):
        return {"mean": vae._reconstruct(batch_of(x, *tensors))}

    def encode(x, *tensors):
        return vae.posterior.export(vae.posterior.distribution(vae.encode_features(batch_of(x, *tensors))))

    def decode(z, condition=None):
        return {"mean": vae.likelihood.distribution(vae.decode_features(z, condition)).mean()}

    def sample(seed, condition=None):
        z = vae.prior.distribution(vae.encode, condition).bijector.forward(row_noise(seed))
        return {"z": z} | decode(z, condition)

    def score(x, seed, *tensors):
        terms = vae._terms(batch_of(x, *tensors), row_noise(seed)[None])
        reconstruction, kl = terms.log_px_z[0], vae.objective.kl(terms)
        return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    endpoints = {
        "serving_default": (reconstruct, [x, *beside]),
        "encode": (encode, [x, *beside]),
        "decode": (decode, [z, *given]),
        "reconstruct": (reconstruct, [x, *beside]),
        "sample": (sample, [seed, *given]),
    }
    return endpoints | {"score": (score, [x, seed, *beside])} if vae.posterior.has_density else endpoints
