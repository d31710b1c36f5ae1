"""What is wrong with a model, in plain words."""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.data import inputs
from kvae.evaluate.baselines import pixel_log_prob
from kvae.evaluate.estimates import Estimate, mean_of
from kvae.evaluate.latent_dimensions import collapsed
from kvae.evaluate.per_example import PerExample, per_example
from kvae.evaluate.scale_calibration import calibration
from kvae.likelihoods import Normal
from kvae.numerics.arguments import check_at_least
from kvae.objectives import ELBO

_NO_KL = 0.1  # nats; a code that carries less carries nothing
_SCALE = (0.5, 2.0)  # mean squares of the errors in units of the scale, between which the scale is called right
_GAIN = 0.05  # under-trained: more training adds this part of the ELBO's gain over independent pixels
_LOSS = 0.5  # overfitting: new data lose this part of that gain on the training data
_SIGMAS = 4.0  # standard errors of a clear difference
_LIKELY = 2.0  # and those that are enough for few examples
_FEW = 30  # fewer examples than this say little
_BATCH, _PASSES = 64, 20


class Diagnosis(NamedTuple):
    """What `diagnose` found.

    Attributes:
        faults: those found, the cause first: "not finite", "under-trained", "scale too large", "scale too small",
            "collapsed", "overfitting"; "too few examples" to tell. Empty where the model is healthy.
        text: a sentence or two on each, with figures and what to try.
        figures: the `Estimate`s behind it.
        unused: the latent dimensions that carry nothing (Lucas et al. 2019); empty where it cannot be said.
    """

    faults: tuple[str, ...]
    text: str
    figures: dict[str, Estimate]
    unused: tuple[int, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def __str__(self):
        return self.text


def diagnose(vae, data, train=None, samples: int = 10, seed: int = 0, probe_steps: int = 200) -> Diagnosis:
    """Say in a sentence or two whether a model is healthy, and if not, what is wrong and what to try.

    - Under-trained: a copy, trained for `probe_steps` more steps of Adam, gains more than 5 % of what the ELBO has
      gained on independent pixels; or the ELBO is not clearly above independent pixels (of less than 30 examples
      that is called too few examples).
    - Scale too large or too small, of a normal likelihood: `calibration` is below 0.5 or above 2.
    - Collapsed: the KL term is below 0.1 nats, or every latent dimension is `collapsed`.
    - Overfitting: new data lose half of the ELBO's gain over independent pixels on the training data.

    Args:
        vae: a `kvae.VAE` whose posterior has a density. It is not changed; making the copy draws from Keras' generator
            of first weights.
        data: new examples, such as the validation part: an array, a split, or a finite `tf.data.Dataset` of batches.
        train: the training data, to tell overfitting. Without them the copy is trained on one half of `data` and judged
            on the other.
        samples: draws of z for each example.
        seed: of the draws.
        probe_steps: 0 leaves the copy out.
    """
    check_at_least(0, probe_steps=probe_steps)
    data, train = inputs.in_memory(data), None if train is None else inputs.in_memory(train)
    found = per_example(vae, data, samples, seed)
    if not np.isfinite(found.elbo).all():
        return _not_finite(found, samples, vae.likelihood.measure)
    pixel_model = pixel_log_prob(vae, data if train is None else train)
    pixels = pixel_model(data)
    figures = {
        "elbo": mean_of(found.elbo, found.elbo_variance, samples, vae.likelihood.measure),
        "kl": mean_of(found.kl, found.kl_variance, samples),
        "independent_pixels": mean_of(pixels, measure=vae.likelihood.measure),
        "learnt": mean_of(found.elbo - pixels, found.elbo_variance, samples),
    }
    if probe_steps:
        figures |= _probe(vae, data, train, found, samples, seed, probe_steps)
    if isinstance(vae.likelihood, Normal):
        figures["calibration"] = calibration(vae, data, samples, seed)["mean_square"]
    if train is not None:
        seen = per_example(vae, train, samples, seed)
        figures["train_elbo"] = mean_of(seen.elbo, seen.elbo_variance, samples, vae.likelihood.measure)
        figures["train_learnt"] = mean_of(seen.elbo - pixel_model(train), seen.elbo_variance, samples)
    unused = _unused(vae, data)
    said = _under_trained(figures)
    said = said or _scale(vae, figures) | _collapsed(vae, figures, unused)
    said = said or _overfitting(figures) or _no_better_than_pixels(figures)
    return Diagnosis(tuple(said), " ".join(said.values()) or _healthy(vae, figures, unused), figures, unused)


def _not_finite(found: PerExample, samples: int, measure: str) -> Diagnosis:
    bad = int((~np.isfinite(found.elbo)).sum())
    text = f"Not finite: the ELBO of {bad} of {len(found.elbo)} examples is not a finite number; weights or "
    text += "activations have overflowed. Go back to an earlier checkpoint, and train with a tenth of the learning "
    text += "rate, or with clipnorm=1."
    figures = {"elbo": mean_of(found.elbo, found.elbo_variance, samples, measure), "kl": mean_of(found.kl)}
    return Diagnosis(("not finite",), text, figures, ())


def _unused(vae, data) -> tuple[int, ...]:
    try:
        return tuple(np.flatnonzero(collapsed(vae, data)).tolist())
    except ValueError:  # the KL divergence does not split into dimensions
        return ()


def _clearly(estimate: Estimate, least: float) -> bool:
    """Whether it is more than `least`, and not by chance; False for one example, whose error is not known."""
    return estimate.mean > least and estimate.mean > _SIGMAS * estimate.standard_error


def _under_trained(figures) -> dict[str, str]:
    gain = figures.get("gain_by_training")
    if gain is None or not _clearly(gain, _GAIN * abs(figures["learnt"].mean)):
        return {}
    text = f"Under-trained: a little more training of a copy adds {gain.mean:.2f} nats to the ELBO of new data. "
    return {"under-trained": text + "Train for longer."}


def _no_better_than_pixels(figures) -> dict[str, str]:
    if _clearly(figures["learnt"], 0.0):
        return {}
    if figures["learnt"].examples < _FEW:
        if figures["learnt"].mean > _LIKELY * figures["learnt"].standard_error:
            return {}
        text = f"Too few examples: the ELBO, {figures['elbo'].mean:.2f} nats, less that of independent pixels is "
        text += f"{figures['learnt'].mean:.2f}, which may be chance. Give {_FEW} examples or more."
        return {"too few examples": text}
    text = f"Under-trained: the ELBO, {figures['elbo'].mean:.2f} nats, is not clearly above the log-likelihood of "
    text += f"independent pixels, {figures['independent_pixels'].mean:.2f}. "
    return {"under-trained": text + "Train for longer, or with another learning rate."}


def _scale(vae, figures) -> dict[str, str]:
    ratio = figures["calibration"].mean if "calibration" in figures else 1.0
    if _SCALE[0] <= ratio <= _SCALE[1]:
        return {}
    fault, effect = "scale too large", "the KL term outweighs the reconstruction, and images blur"
    if ratio > 1.0:
        fault, effect = "scale too small", "reconstruction outweighs the KL term, and samples suffer"
    text = f"{fault.capitalize()}: squared errors are {ratio:.3g} of the squared scale, where 1 is right; {effect}. "
    scale = vae.likelihood.scale
    if isinstance(scale, str):
        return {fault: text + f"It is {scale!r} and has not settled (train for longer), or these data are others."}
    errors = scale * math.sqrt(ratio)
    text += f"Use Normal('optimal') or Normal('learned'), or begin with {errors:.3g}, the size of the errors, "
    return {fault: text + f"instead of {scale:.3g}."}


def _collapsed(vae, figures, unused) -> dict[str, str]:
    kl, all_unused = figures["kl"].mean, len(unused) == vae.latent_dim
    if kl >= _NO_KL and not all_unused:
        return {}
    which = "all" if all_unused else "together, the"
    text = f"Collapsed: {which} {vae.latent_dim} latent dimensions carry {kl:.3f} nats, so that what is decoded hardly "
    text += "depends on x. "
    beta = getattr(vae.objective, "weight", 1.0)
    heavy = isinstance(beta, float) and beta > 1.0
    text += f"Lower beta, which is {beta:g}" if heavy else "Train for longer, check the scale of the likelihood"
    return {"collapsed": text + ", let beta rise from 0 (kvae.schedules.Linear), or use ELBO(free_bits=...)."}


def _overfitting(figures) -> dict[str, str]:
    if "train_elbo" not in figures:
        return {}
    learnt, lost = figures["train_learnt"], figures["train_learnt"] - figures["learnt"]
    if learnt.mean <= 0.0 or not _clearly(lost, _LOSS * learnt.mean):
        return {}
    text = f"Overfitting: the ELBO is {figures['train_elbo'].mean:.2f} nats on the training data and "
    text += f"{figures['elbo'].mean:.2f} on new data; of the {learnt.mean:.2f} nats learnt beyond independent pixels "
    text += f"{lost.mean:.2f} are lost. "
    return {"overfitting": text + "Stop earlier (BestCheckpoint), take smaller networks or dropout, or more data."}


def _healthy(vae, figures, unused) -> str:
    text = f"Healthy: the ELBO, {figures['elbo'].mean:.2f} nats, is {figures['learnt'].mean:.2f} above independent "
    text += f"pixels, and the codes carry {figures['kl'].mean:.2f} nats."
    if unused:
        numbers = ", ".join(map(str, unused))
        text += f" {len(unused)} of {vae.latent_dim} latent dimensions carry nothing ({numbers}); fewer would do."
    return text


def _probe(vae, data, train, found: PerExample, samples: int, seed: int, steps: int) -> dict[str, Estimate]:
    """What more training of a copy, on `train` or half of data, adds to the ELBO of data or of their other half."""
    before, variance = found.elbo, found.elbo_variance
    if train is None:
        if len(data) < 4:
            return {}
        train, data = inputs.divide(data.replace(array=data.x, scale=1.0, dynamic=False), 0.5)  # x as it was scanned
        before, variance = before[len(train) :], variance[len(train) :]
    copy, batches = _copy(vae), math.ceil(len(train) / _BATCH)
    copy.fit(train, batch_size=_BATCH, steps_per_epoch=min(steps, _PASSES * batches), epochs=1, verbose=0)
    after = per_example(copy, data, samples, seed + 1)
    return {"gain_by_training": mean_of(after.elbo - before, after.elbo_variance + variance, samples)}


def _copy(vae):
    """A model with the same weights, compiled with Adam; a schedule of beta is fixed at its current value."""
    parts = {name: keras.models.clone_model(getattr(vae, name)) for name in ("encoder", "decoder")}
    for name in ("posterior", "likelihood", "prior"):
        family = getattr(vae, name)
        parts[name] = type(family).from_config(family.get_config())
    objective = vae.objective
    if isinstance(objective, ELBO) and callable(objective.weight):
        step = vae.optimizer.iterations if vae.compiled else objective.schedule_end
        beta = float(objective.beta(tf.constant(int(step), tf.int64)))
        objective = ELBO(objective.kl_form, beta, objective.samples, objective.free_bits)
    copy = type(vae)(**parts, objective=objective, seed=vae.seed)
    copy.set_weights(vae.get_weights())
    copy.compile(optimizer=keras.optimizers.Adam(1e-3))
    return copy
