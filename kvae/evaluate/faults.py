"""From the figures of a model to its faults: each function gives the name and the text of what it finds, or nothing."""

import math

from kvae.evaluate.columns import Columns
from kvae.evaluate.estimates import Estimate

_NO_KL = 0.1  # nats; a code that carries less carries nothing
_SCALE = (0.5, 2.0)  # mean squares of the errors in units of the scale, between which the scale is called right
_GAIN = 0.05  # under-trained: more training adds this part of the ELBO's gain over independent pixels
_LOSS = 0.5  # overfitting: new data lose this part of that gain on the training data
_GAP = 1.0 / 3.0  # prior gap: a prior fitted to the codes would save this part of the KL term, and at least a nat
_NEGLECTED = 0.25  # columns of unlike scale: this part of those that vary
_SIGMAS = 4.0  # standard errors of a clear difference
_LIKELY = 2.0  # and those that are enough for few examples
FEW = 30  # fewer examples than this say little

Figures = dict[str, Estimate]
Faults = dict[str, str]


def _clearly(estimate: Estimate, least: float) -> bool:
    """Whether it is more than `least`, and not by chance; False for one example, whose error is not known."""
    return estimate.mean > least and estimate.mean > _SIGMAS * estimate.standard_error


def _more_training_helps(figures: Figures) -> bool | None:
    """Whether the copy has gained on new data; None where it was not tried."""
    gain = figures.get("gain_by_training")
    return None if gain is None else _clearly(gain, 0.0)


def not_finite(bad: int, examples: int) -> Faults:
    """Values that have overflowed."""
    text = f"Not finite: the ELBO of {bad} of {examples} examples is not a finite number; weights or "
    text += "activations have overflowed. Go back to an earlier checkpoint, and train with a tenth of the learning "
    return {"not finite": text + "rate, or with clipnorm=1."}


def dead(networks: tuple[str, ...]) -> Faults:
    """Networks whose output does not depend on their input."""
    if not networks:
        return {}
    which, theirs = " and the ".join(networks), "their input" if len(networks) > 1 else "its input"
    text = f"Dead: the output of the {which} does not depend on {theirs}, so that the codes carry nothing and the loss "
    text += "stands still. More training will not help. Make the model anew, and train with a tenth of the learning "
    return {"dead": text + "rate, another activation (such as 'swish'), other first weights, or x scaled to about 1."}


def overfitting(figures: Figures) -> Faults:
    """A gain over independent pixels that new data lose."""
    if "train_elbo" not in figures:
        return {}
    learnt, lost = figures["train_learnt"], figures["train_learnt"] - figures["learnt"]
    if learnt.mean <= 0.0 or not _clearly(lost, _LOSS * learnt.mean):
        return {}
    text = f"Overfitting: the ELBO is {figures['train_elbo'].mean:.2f} nats on the training data and "
    text += f"{figures['elbo'].mean:.2f} on new data; of the {learnt.mean:.2f} nats learnt beyond independent pixels "
    text += f"{lost.mean:.2f} are lost. "
    return {"overfitting": text + "Stop earlier (BestCheckpoint), take smaller networks or dropout, or more data."}


def unlike_columns(columns: Columns | None, names) -> Faults:
    """Columns that one scale for all hides."""
    if columns is None or len(columns.neglected) < max(1.0, _NEGLECTED * (columns.variance > 0.0).sum()):
        return {}
    spread = columns.variance[columns.neglected] ** 0.5
    called = [str(names[i]) for i in columns.neglected[:8]] + ["..."] * (len(columns.neglected) > 8)
    text = f"Columns of unlike scale: the likelihood has one scale for all, {columns.scale:.3g}. Beside it the model "
    text += f"neglects {len(columns.neglected)} of {len(columns.variance)} columns, whose standard deviations are "
    text += f"{spread.min():.3g} to {spread.max():.3g} and of whose variance it explains less than half: "
    text += f"{', '.join(called)}. Take a scale for each, kvae.likelihoods.Normal(per='element'), "
    text += "and call vae.adapt(train) before fit; or standardize the columns."
    return {"columns of unlike scale": text}


def under_trained(figures: Figures) -> Faults:
    """A copy that more training makes better on new data."""
    gain = figures.get("gain_by_training")
    if gain is None or not _clearly(gain, _GAIN * abs(figures["learnt"].mean)):
        return {}
    text = f"Under-trained: a little more training of a copy adds {gain.mean:.2f} nats to the ELBO of new data. "
    if "train_elbo" in figures:
        return {"under-trained": text + "Train for longer."}
    return {"under-trained": text + "Train for longer, unless it overfits, which train= would tell."}


def no_better_than_pixels(figures: Figures) -> Faults:
    """An ELBO that is not clearly above independent pixels."""
    learnt, seen = figures["learnt"], figures.get("train_learnt")
    if _clearly(learnt, 0.0):
        return {}
    if learnt.examples < FEW or (seen is not None and _clearly(seen, 0.0)):
        if learnt.mean > _LIKELY * learnt.standard_error:
            return {}
        text = f"Too few examples: the ELBO, {figures['elbo'].mean:.2f} nats, less that of independent pixels is "
        text += f"{learnt.mean:.2f}, which may be chance. Give {max(FEW, 2 * learnt.examples)} examples or more."
        return {"too few examples": text}
    text = f"Under-trained: the ELBO, {figures['elbo'].mean:.2f} nats, is not clearly above the log-likelihood of "
    text += f"independent pixels, {figures['independent_pixels'].mean:.2f}. "
    if _more_training_helps(figures) is False:
        text += "More training of a copy has not helped. Train with another learning rate, or other networks."
        return {"under-trained": text}
    return {"under-trained": text + "Train for longer, or with another learning rate."}


def scale(vae, figures: Figures) -> Faults:
    """A scale of the likelihood that does not fit the errors."""
    ratio = figures["calibration"].mean if "calibration" in figures else 1.0
    if _SCALE[0] <= ratio <= _SCALE[1]:
        return {}
    fault, effect = "scale too large", "the KL term outweighs the reconstruction, and images blur"
    if ratio > 1.0:
        fault, effect = "scale too small", "reconstruction outweighs the KL term, and samples suffer"
    text = f"{fault.capitalize()}: squared errors are {ratio:.3g} of the squared scale, where 1 is right; {effect}. "
    given = vae.likelihood.scale
    if not isinstance(given, (int, float)):
        text += f"It is {given!r}, and was fitted to other errors than those of these data: they differ from the "
        text += "training data, or it has not settled."
        return {fault: text if "train_elbo" in figures else text + " Give train=, to tell overfitting."}
    errors = given * math.sqrt(ratio)
    text += f"Use Normal('optimal') or Normal('learned'), or begin with {errors:.3g}, the size of the errors, "
    return {fault: text + f"instead of {given:.3g}."}


def collapsed(vae, figures: Figures, unused) -> Faults:
    """Codes that carry nothing."""
    kl, all_unused = figures["kl"].mean, len(unused) == vae.latent_dim
    if (kl >= _NO_KL and not all_unused) or "code_entropy" in figures:
        return {}
    which = "all" if all_unused else "together, the"
    text = f"Collapsed: {which} {vae.latent_dim} latent dimensions carry {kl:.3f} nats, so that what is decoded hardly "
    text += "depends on x. "
    beta = vae.objective.weights.get("beta")
    if beta is not None and not beta.moves and beta.value > 1.0:
        text += f"Lower beta, which is {beta.value:g}"
    elif _more_training_helps(figures) is False:
        text += "Lower the learning rate, check the scale of the likelihood"
    else:
        text += "Train for longer, check the scale of the likelihood"
    return {"collapsed": text + ", let beta rise from 0 (kvae.schedules.Linear), or use ELBO(free_bits=...)."}


def one_code(figures: Figures) -> Faults:
    """A model of codes that gives nearly every example the same one."""
    entropy = figures.get("code_entropy")
    if entropy is None or entropy.examples < FEW or entropy.mean >= _NO_KL:
        return {}
    text = f"Collapsed: nearly all examples have the same code, the entropy of the codes is {entropy.mean:.3f} nats. "
    text += "Train for longer, lower the learning rate, check the scale of the likelihood, or normalize the encoder's "
    return {"collapsed": text + "features; of VectorQuantized raise restart=."}


def prior_gap(figures: Figures) -> Faults:
    """Codes that lie where the prior seldom draws."""
    gap, kl = figures.get("prior_gap"), figures["kl"].mean
    if gap is None or not _clearly(gap, max(1.0, _GAP * kl)):
        return {}
    text = f"Prior gap: of the KL term of {kl:.2f} nats, {gap.mean:.2f} are not about x, but between the prior and the "
    text += "codes of all the data together. Reconstructions may be good, but samples come from where no data are. "
    return {"prior gap": text + "Take a richer prior, or one fitted to the codes; or a larger beta."}


def healthy(vae, figures: Figures, unused) -> str:
    """What is said of a model without faults."""
    text = f"Healthy: the ELBO, {figures['elbo'].mean:.2f} nats, is {figures['learnt'].mean:.2f} above independent "
    carry = "have a mean length of" if "code_entropy" in figures else "carry"
    text += f"pixels, and the codes {carry} {figures['kl'].mean:.2f} nats."
    if unused:
        numbers = ", ".join(map(str, unused))
        text += f" {len(unused)} of {vae.latent_dim} latent dimensions carry nothing ({numbers}); fewer would do."
    return text
