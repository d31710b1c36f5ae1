"""What is wrong with a model, in plain words."""

from typing import NamedTuple

import numpy as np

from kvae.data import inputs
from kvae.evaluate import faults
from kvae.evaluate.baselines import pixel_log_prob
from kvae.evaluate.code_entropy import code_entropy
from kvae.evaluate.columns import columns_of
from kvae.evaluate.estimates import Estimate, mean_of
from kvae.evaluate.latent_dimensions import collapsed
from kvae.evaluate.per_example import per_example
from kvae.evaluate.prior_gaps import prior_gap
from kvae.evaluate.probe import dead_networks, more_training
from kvae.evaluate.scale_calibration import calibration
from kvae.likelihoods import Normal
from kvae.models.resolve import check_density
from kvae.numerics import arguments

_CODES = 2000  # of each of two parts, from which the gap of the prior is told


class Diagnosis(NamedTuple):
    """What `diagnose` found.

    Attributes:
        faults: those found, the cause first: "not finite", "dead", "overfitting", "columns of unlike scale",
            "under-trained", "scale too large", "scale too small", "collapsed", "prior gap"; "too few examples" to tell.
            Empty where the model is healthy.
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


def diagnose(
    vae, data, train=None, samples: int = 10, seed: int = 0, probe_steps: int = 200, columns=None
) -> Diagnosis:  # fmt: skip
    """Say in a sentence or two whether a model is healthy, and if not, what is wrong and what to try.

    The checks run from the first line to the last. All that the first line with a finding has found is reported:

    - Dead: the encoder or the decoder puts out the same features whatever its input.
    - Overfitting: new data lose half of the ELBO's gain over independent pixels on the training data. Columns of unlike
      scale: a normal likelihood has one scale for a table, and neglects a quarter of the columns or more. These have
      less than half of the squared scale as variance, and less than half of that is explained.
    - Under-trained: a copy, trained for `probe_steps` more steps of Adam, 20 passes at most, gains more than 5 % of
      what the ELBO has gained on independent pixels.
    - Scale too large or too small, of a normal likelihood: `calibration` is below 0.5 or above 2. Collapsed: the KL
      term is below 0.1 nats, or every latent dimension is `collapsed`; of a model of codes, the entropy of the codes of
      `data` is below 0.1 nats.
    - Under-trained, too: the ELBO is not clearly above independent pixels (of less than 30 examples that is called
      too few examples).
    - Prior gap: `prior_gap` is more than a third of the KL term, and more than a nat. It is not told of codes.

    Args:
        vae: a `kvae.VAE` whose posterior has a density. It is not changed; making the copy draws from Keras' generator
            of first weights.
        data: new examples, such as the validation part: an array, a split, or a finite `tf.data.Dataset` of batches.
        train: the training data, to tell overfitting. Without them the copy is trained on one half of `data` and judged
            on the other.
        samples: draws of z for each example.
        seed: of the draws.
        probe_steps: 0 leaves the copy out.
        columns: the names of a table's columns, by which to call them; by default their numbers.
    """
    check_density(vae, "a diagnosis")
    samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
    probe_steps, columns = arguments.whole("probe_steps", probe_steps, 0), _names(columns, vae.event_shape)
    data, train = inputs.in_memory(data), None if train is None else inputs.in_memory(train)
    found, measure = per_example(vae, data, samples, seed), vae.likelihood.measure
    figures = {
        "elbo": mean_of(found.elbo, found.elbo_variance, samples, measure),
        "kl": mean_of(found.kl, found.kl_variance, samples),
    }
    bad = int((~np.isfinite(found.elbo)).sum())
    if bad:
        return _diagnosis(vae, faults.not_finite(bad, len(found.elbo)), figures, ())
    pixel_model = pixel_log_prob(vae, data if train is None else train)
    pixels = pixel_model(data)
    figures["independent_pixels"] = mean_of(pixels, measure=measure)
    figures["learnt"] = mean_of(found.elbo - pixels, found.elbo_variance, samples)
    if probe_steps:
        figures |= more_training(vae, data, train, found, samples, seed, probe_steps)
    if isinstance(vae.likelihood, Normal):
        figures["calibration"] = calibration(vae, data, samples, seed)["mean_square"]
    if train is not None:
        seen = per_example(vae, train, samples, seed)
        figures["train_elbo"] = mean_of(seen.elbo, seen.elbo_variance, samples, measure)
        figures["train_learnt"] = mean_of(seen.elbo - pixel_model(train), seen.elbo_variance, samples)
    if vae.posterior.measure == "mass":
        figures["code_entropy"] = code_entropy(vae, data)
    figures |= _prior_gap(vae, data, train, seed)
    unused = _unused(vae, data)
    said = faults.dead(dead_networks(vae, data))
    said = said or faults.overfitting(figures) | faults.unlike_columns(columns_of(vae, data), columns)
    said = said or faults.under_trained(figures)
    said = said or faults.scale(vae, figures) | faults.collapsed(vae, figures, unused) | faults.one_code(figures)
    said = said or faults.no_better_than_pixels(figures) or faults.prior_gap(figures)
    return _diagnosis(vae, said, figures, unused)


def _diagnosis(vae, said: faults.Faults, figures: dict[str, Estimate], unused: tuple[int, ...]) -> Diagnosis:
    return Diagnosis(tuple(said), " ".join(said.values()) or faults.healthy(vae, figures, unused), figures, unused)


def _names(columns, event_shape):
    """What the columns of a table are called: the names given, or their numbers."""
    if columns is None:
        return range(event_shape[0])
    columns = [str(name) for name in arguments.listed("columns", columns)]
    if len(event_shape) != 1 or len(columns) != event_shape[0]:
        raise ValueError(
            f"columns must be a name for each column, but there are {len(columns)} for x of {event_shape}."
        )
    return columns


def _unused(vae, data) -> tuple[int, ...]:
    try:
        return tuple(np.flatnonzero(collapsed(vae, data)).tolist())
    except ValueError:  # the KL divergence does not split into dimensions
        return ()


def _prior_gap(vae, data, train, seed: int) -> dict[str, Estimate]:
    """The gap between the codes of data and the prior, by those of `train` or of every other example of data."""
    old, new = (train, data) if train is not None else (_every_other(data, 0), _every_other(data, 1))
    continuous = vae.posterior.measure == "density"
    if not continuous or vae.prior.conditional or new is None or min(len(old), len(new)) < faults.FEW:
        return {}
    return {"prior_gap": prior_gap(vae, old.first(_CODES), new.first(_CODES), seed)}


def _every_other(data, first: int):
    """Every other example of a split, from number `first` on; None where there is none."""
    if len(data) <= first:
        return None
    arrays = {name: getattr(data, name) for name in ("y", "mask")} | {"array": data.x}
    rows = {name: array[first::2] for name, array in arrays.items() if array is not None}
    return data.replace(**rows, scale=1.0, dynamic=False)
