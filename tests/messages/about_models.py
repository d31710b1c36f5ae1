"""Messages about building a model and calling it: place to (call, message[, type])."""

import keras
import tensorflow as tf

import kvae
from kvae import likelihoods
from tests.messages.given import X, conditional, mlp, vae


class Net(keras.Model):
    def call(self, x):
        return x


class _Flow(kvae.posteriors.DiagonalNormal):
    has_own_weights = True


def _maps(inputs, outputs=lambda tensors: tensors[0]):
    """A model with inputs of these shapes, by name."""
    tensors = [keras.Input(shape, name=name) for name, shape in inputs.items()]
    return keras.Model(
        tensors if len(tensors) > 1 else tensors[0], outputs([keras.layers.Identity()(t) for t in tensors])
    )


def _used_again(shape):
    part = likelihoods.Bernoulli()
    kvae.VAE(*mlp(), likelihood=part)
    part.taken = shape == (6,)
    kvae.VAE(*mlp(shape), likelihood=part)


class NotFinite(kvae.priors.StandardNormal):
    def distribution(self, encode=None, condition=None):
        p = super().distribution()
        return type(p)(p.mean(), p.stddev() * float("nan"))


def _in_a_graph(method, x):
    return lambda: tf.function(method, autograph=False)(x)


ROWS = {
    "models.prior_fitting.fit_prior": [
        (
            lambda: vae().fit_prior(X),
            "^StandardNormal has no weights to fit. Give another prior, for example prior=kvae.priors.MixtureOfNormal",
        ),
        (
            lambda: kvae.VAE(*mlp()).fit_prior(X, NotFinite(), samples=1),
            "under the fitted NotFinite is not finite. Give a smaller learning_rate; the model keeps its prior",
            FloatingPointError,
        ),
        (
            lambda: kvae.VAE(
                *mlp(), posterior=kvae.posteriors.TopDown((2, 1)), prior=kvae.priors.Hierarchical((2, 1))
            ).fit_prior(X),
            "^TopDown draws z relative to a prior in groups, .* Train Hierarchical together with the networks, by fit",
        ),
    ],
    "priors.vamp_prior.VampPrior.pair": [
        (
            lambda: kvae.VAE(
                *mlp(), posterior="deterministic", prior="vamp_prior", objective=kvae.objectives.ELBO(beta=0)
            ),
            "^VampPrior is a mixture of .*Deterministic posterior has no density. Take kvae.priors.MixtureOfNormals",
        ),
    ],
    "data.conditions.shape_of": [
        (
            lambda: (
                kvae.VAE(mlp()[0], kvae.networks.mlp((6,), 3, condition=4)[1])
                and kvae.VAE(kvae.networks.mlp((6,), 3, condition=3)[0], kvae.networks.mlp((6,), 3, condition=4)[1])
            ),
            r"condition \(an input beside x\) has shape \(3,\) and the decoder's \(4,\) for one example. Give both the",
        ),
        (
            lambda: kvae.VAE(*mlp(), prior="conditional_normal"),
            "of the condition, but neither network has one .*Give it one, as kvae.networks do with condition=",
        ),
    ],
    "data.conditions.prepared": [
        (
            _in_a_graph(lambda x: vae().encode(x, x[:, 0]), X),
            "is not conditional: its networks.* Leave the condition out",
        ),
        (
            _in_a_graph(lambda x: conditional().encode(x), X),
            r"needs a condition of shape \(None, 4\) beside x, or labels",
        ),
        (
            _in_a_graph(lambda x: conditional().encode(x, x), X),
            r"condition has shape \(10, 6\) .* takes \(None, 4\); or",
        ),
    ],
    "data.checks.check_weight": [
        (
            lambda: vae().step(kvae.data.batch.Batch(X, None, None, tf.constant(X))),
            r"sample_weight must have shape \[B\], one number per example, got \(10, 6\)",
        ),
    ],
    "data.pipelines.elements": [
        (
            _in_a_graph(lambda x: vae().encode(iter([x])), X),
            "read outside of compiled functions: give the tensors of a",
        ),
    ],
    "evaluate.baselines.pixel_log_prob": [
        (
            lambda: kvae.evaluate.independent_pixels(vae(), {"x": X, "mask": 0 * X}, X),
            "Nothing was observed: every element .* is masked. A mask is 1 where x was observed",
        ),
    ],
    "networks.first_group.FirstGroup.build": [
        (lambda: kvae.networks.FirstGroup(4)(tf.zeros([2, 3])), r"FirstGroup\(4\) takes z of 4 numbers or more, got 3"),
    ],
    "numerics.grouped_normal.sizes_of": [
        (
            lambda: kvae.VAE(*mlp(), posterior=kvae.posteriors.TopDown((2, 2))),
            r"groups=\(2, 2\) do not make up the z of 3 numbers .* Give sizes whose sum it is, or a number of groups",
        ),
        (lambda: kvae.VAE(*mlp(), prior=kvae.priors.Hierarchical(4)), "groups=4 do not make up the z of 3 numbers"),
    ],
    "posteriors.hierarchy.Hierarchy.pair": [
        (
            lambda: kvae.VAE(*mlp(), posterior="ladder", prior=kvae.priors.Hierarchical((1, 2))),
            r"Ladder has groups of \(2, 1\), and Hierarchical of \(1, 2\). Give both the same groups=",
        ),
    ],
    "models.base.LatentVariableModel.adapt": [
        (
            lambda: kvae.VAE(
                mlp()[0], kvae.networks.mlp((6,), 3, hidden=(6,))[1], likelihood=likelihoods.Bernoulli(project=False)
            ).adapt(X),
            r"but Bernoulli\(project=False\) has none. Set the bias of the decoder's last layer",
        ),
    ],
    "models.inference.Inference.impute": [
        (lambda: vae().impute(X, draws=3), r"impute\(draws=...\) goes with output='sample': the mean is one"),
        (_in_a_graph(lambda x: vae().impute(x), X), "impute is not for compiled functions: call it with arrays"),
    ],
    "models.inference.Inference._codes": [
        (_in_a_graph(lambda z: vae().decode(z).mean(), X), r"z must have shape \[..., B, 3\], got \(10, 6\)"),
    ],
    "models.resolve._resolved": [
        (lambda: kvae.VAE(*mlp(), prior="nromal"), r"prior='nromal' is not known. Names are \[.*or give an instance"),
    ],
    "models.resolve._made": [
        (
            lambda: kvae.VAE(*mlp(), likelihood="categorical"),
            r"Categorical has to be told more than its name. Give an instance: Categorical\(levels=\.\.\.\)",
        ),
        (lambda: kvae.VAE(*mlp(), likelihood=kvae.likelihoods.ZeroInflated), r"ZeroInflated\(likelihood=\.\.\.\)"),
    ],
    "models.resolve.check_network": [
        (
            lambda: kvae.VAE(keras.layers.Dense(3), 3),
            "encoder must be a keras.Model, got Dense. Wrap a layer like this: ",
        ),
        (
            lambda: kvae.VAE(Net(), mlp()[1]),
            r"encoder 'net.*' is a subclassed or unbuilt .*wrap a subclassed model: x =",
        ),
        (
            lambda: kvae.VAE(_maps({"x": (6,), "a": (2,), "b": (2,)}), mlp()[1]),
            r"takes x and perhaps a condition beside it, and a mask.*; the inputs of .* are \['x', 'a', 'b'\]",
        ),
        (
            lambda: kvae.VAE(mlp()[0], _maps({"z": (3,), "mask": (3,)})),
            r"The decoder takes z and perhaps a condition beside it; the inputs of .* are \['z', 'mask'\]",
        ),
        (
            lambda: kvae.VAE(_maps({"x": (6,), "mask": (2,)}), mlp()[1]),
            r"encoder's mask has shape \(2,\), but it goes with events of shape \(6,\): give it that shape",
        ),
        (
            lambda: kvae.VAE(_maps({"x": (6,)}, lambda x: [x[0], x[0]]), mlp()[1]),
            "must return one tensor, .* returns a list or dict of 2. Return the features alone: the posterior",
        ),
        (
            lambda: kvae.VAE(_maps({"x": (None, 6)}), mlp()[1]),
            r"shapes must be fixed but for the batch, .* maps \(None, None, 6\) to \(None, None, 6\). Give keras.Input",
        ),
    ],
    "models.resolve.latent_shape": [
        (
            lambda: kvae.VAE(mlp()[0], _maps({"z": (2, 2)})),
            r"flat z of shape \[B, latent_dim\], but .* \(2, 2\). Begin it",
        ),
    ],
    "models.resolve.check_objective": [
        (
            lambda: kvae.VAE(*mlp(), posterior="deterministic"),
            "has no density, so ELBO cannot weigh its KL.*An autoencod",
        ),
        (
            lambda: kvae.VAE(*mlp(), posterior=_Flow(), objective=kvae.objectives.ELBO(gradient="path")),
            "gradient of ELBO holds the parameters of q.* fast, but the _Flow posterior has weights beside them. Use",
        ),
    ],
    "models.resolve.build": [
        (
            lambda: _used_again((6,)),
            "Bernoulli belongs to another model already, .*Make a new one for each model, or gi",
        ),
        (lambda: _used_again((5,)), r"was built for a model with .*\(6,\).* and does not fit .*\(5,\).*Make a new one"),
    ],
    "models.resolve.check_batch": [
        (
            _in_a_graph(lambda x: vae().encode(x), tf.constant(["a"])),
            "real numbers, but its dtype is string. Convert it",
        ),
    ],
}
