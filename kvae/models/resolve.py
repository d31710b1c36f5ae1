"""From names and networks given to a model to checked parts."""

import inspect
import re

import keras
import numpy as np
import tensorflow as tf

from kvae import likelihoods, objectives, posteriors, priors
from kvae.data.batch import inputs_of
from kvae.data.checks import check_shape
from kvae.numerics.arguments import shown


def posterior(identifier):
    """A posterior, from an instance or a name."""
    return _resolved(identifier, posteriors.Posterior, posteriors, "posterior")


def likelihood(identifier):
    """A likelihood, from an instance or a name."""
    return _resolved(identifier, likelihoods.Likelihood, likelihoods, "likelihood")


def prior(identifier):
    """A prior, from an instance or a name."""
    return _resolved(identifier, priors.Prior, priors, "prior")


def objective(identifier):
    """An objective, from an instance or a name."""
    return _resolved(identifier, objectives.Objective, objectives, "objective")


def _resolved(identifier, kind, module, what):
    if isinstance(identifier, kind):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, kind):
        return _made(identifier)
    known = {_snake(name): leaf for name, leaf in vars(module).items() if _is_leaf(leaf, kind)}
    if isinstance(identifier, str) and identifier in known:
        return _made(known[identifier])
    raise ValueError(
        f"{what}={shown(identifier)} is not known. Names are {sorted(known)}; or give an instance of a class in "
        f"{module.__name__}."
    )


def _made(leaf):
    """An instance of a class of a name alone; a ValueError where it has arguments without a default."""
    _, *known = inspect.signature(leaf.__init__).parameters.values()  # Python 3.10 takes the one of Keras' __new__
    needed = [one for one in known if one.default is one.empty]
    if needed and all(one.kind is one.POSITIONAL_OR_KEYWORD for one in needed):
        given = ", ".join(f"{one.name}=..." for one in needed)
        raise ValueError(
            f"{leaf.__name__} has to be told more than its name. Give an instance: {leaf.__name__}({given})."
        )
    return leaf()


def _is_leaf(value, kind) -> bool:
    return isinstance(value, type) and issubclass(value, kind) and value is not kind


def _snake(name: str) -> str:
    """DiagonalNormal to diagonal_normal, as Keras names its optimizers; ELBO to elbo."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def check_network(network, what: str) -> None:
    """Raise a ValueError unless network is a built Keras model with one output and one input, or a condition beside."""
    if not isinstance(network, keras.Model):
        raise ValueError(
            f"The {what} must be a keras.Model, got {type(network).__name__}. Wrap a layer like this: "
            "keras.Sequential([keras.Input(shape), layer])."
        )
    inputs, outputs = getattr(network, "inputs", None), getattr(network, "outputs", None)
    if not inputs or not outputs:
        raise ValueError(
            f"The {what} {network.name!r} is a subclassed or unbuilt model, whose shapes cannot be read. Begin a "
            "Sequential with keras.Input(shape); wrap a subclassed model: x = keras.Input(shape); "
            f"{what} = keras.Model(x, network(x))."
        )
    beside = inputs_of(network)
    if len(set(beside)) < len(beside) or (what == "decoder" and "mask" in beside):
        raise ValueError(
            f"The {what} takes {'z' if what == 'decoder' else 'x'} and perhaps a condition beside it"
            + (", and a mask, which is the input named 'mask'" if what == "encoder" else "")
            + f"; the inputs of {network.name!r} are {[tensor.name for tensor in inputs]}."
        )
    if "mask" in beside and tuple(inputs[1 + beside.index("mask")].shape) != tuple(inputs[0].shape):
        raise ValueError(
            f"The encoder's mask has shape {tuple(inputs[1 + beside.index('mask')].shape[1:])}, but it goes with "
            f"events of shape {tuple(inputs[0].shape[1:])}: give it that shape."
        )
    if len(outputs) != 1 or isinstance(network.output_shape, list):
        raise ValueError(
            f"The {what} must return one tensor, {network.name!r} returns a list or dict of {len(outputs)}. "
            "Return the features alone: the posterior or the likelihood projects them to its parameters, such as "
            "mean and scale."
        )
    for shape in (*(tensor.shape for tensor in inputs), network.output_shape):
        if None in shape[1:] or len(shape) < 2:
            raise ValueError(
                f"The {what}'s shapes must be fixed but for the batch, {network.name!r} maps "
                f"{network.input_shape} to {network.output_shape}. Give keras.Input a shape without None."
            )


def latent_shape(decoder) -> tuple[int]:
    """The shape of the decoder's first input without the batch, (D,)."""
    shape = tuple(decoder.inputs[0].shape[1:])
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(
            f"The decoder must take flat z of shape [B, latent_dim], but its input is {shape}. Begin it with "
            "keras.Input((latent_dim,))."
        )
    return shape


def check_objective(objective, posterior) -> None:
    """Raise a ValueError where the posterior has not what the objective needs: a density, or no weights of its own."""
    if objective.needs_density and not posterior.has_density:
        raise ValueError(
            f"The {type(posterior).__name__} posterior has no density, so {type(objective).__name__} cannot weigh its "
            "KL divergence. An autoencoder is VAE(..., posterior='deterministic', "
            "objective=kvae.objectives.ELBO(beta=0)); its loss is the reconstruction alone."
        )
    if objective.path_gradient and posterior.has_own_weights:
        raise ValueError(
            f"This gradient of {type(objective).__name__} holds the parameters of q(z|x) fast, but the "
            f"{type(posterior).__name__} posterior has weights beside them. Use gradient='plain'."
        )


def check_model(vae) -> None:
    """Raise a TypeError where something else is given for a model."""
    if not isinstance(vae, keras.Model) or not hasattr(vae, "posterior"):
        raise TypeError(f"A kvae.VAE is needed, got {shown(vae)}. kvae.load_model(path) reads one from its file.")


def check_density(vae, what: str) -> None:
    """Raise a ValueError where the model's posterior has no density; `what` needs one."""
    check_model(vae)
    if not vae.posterior.has_density:
        raise ValueError(
            f"{what} needs a density q(z|x), and the {type(vae.posterior).__name__} posterior has none. What an "
            "autoencoder has is the reconstruction log p(x|z): vae.evaluate(x), or vae.terms(x).log_px_z for each x."
        )


def check_continuous(vae, what: str) -> None:
    """Raise a ValueError where the model's posterior has no density over real numbers; `what` needs one."""
    check_density(vae, what)
    if vae.posterior.measure == "mass":
        raise ValueError(
            f"{what} needs a density q(z|x) over real numbers, and {type(vae.posterior).__name__} is a point mass at a "
            "code. What it has is the ELBO, without noise: vae.elbo(x), or kvae.evaluate.summary."
        )


def build(family, **shapes) -> None:
    """Build a family for a model. If it came from a file, it is already built, and its shapes are checked.

    Raises:
        ValueError: where another model uses it already: the two would share its weights.
    """
    if family.taken:
        raise ValueError(
            f"This {type(family).__name__} belongs to another model already, and both would train its weights. Make "
            "a new one for each model, or give its name."
        )
    family.taken = True
    if not family.built:
        family.build(**shapes)
        return
    before = {key: tuple(v) if isinstance(v, list) else v for key, v in family._build_shapes_dict.items()}
    if before != shapes:
        raise ValueError(
            f"This {type(family).__name__} was built for a model with {before} and does not fit {shapes}. "
            "Make a new one."
        )


def build_prior(prior, vae) -> None:
    """`build` for the prior of a model whose posterior and likelihood are built, and what it has to know of these."""
    shapes = {"latent_dim": vae.latent_dim, "condition_shape": vae.condition_shape}
    if prior.of_inputs:
        shapes |= {"event_shape": vae.event_shape, "bounds": _bounds(vae.likelihood)}
    build(prior, **shapes)
    prior.pair(vae.posterior)


def _bounds(likelihood) -> tuple[float, float] | None:
    """Of what the encoder gets, where x is bounded on both sides."""
    ends = [likelihood.support.low, likelihood.support.high]
    if not np.isfinite(ends).all():
        return None
    ends = [np.broadcast_to(np.asarray(x, likelihood.compute_dtype), likelihood.event_shape) for x in ends]
    seen = [likelihood.seen(tf.constant(x)) for x in ends]
    return float(tf.reduce_min(seen)), float(tf.reduce_max(seen))


def check_batch(dtype, shape, event_shape) -> None:
    """Raise a ValueError unless an x of this TensorFlow dtype and this shape is a batch of examples."""
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise ValueError(
            f"x must hold real numbers, but its dtype is {dtype.name}. Convert it with tf.cast or tf.strings."
        )
    check_shape(tuple(shape), event_shape)
