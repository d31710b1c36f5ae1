"""Messages about arguments, parts, networks and the environment: place to (call, message[, type])."""

import sys
from unittest import mock

import numpy as np

import kvae
from kvae import __main__ as self_test
from kvae import _environment, likelihoods, networks, objectives, posteriors, schedules
from kvae.numerics import arguments, weights
from tests.messages.given import X, mlp, vae


def _found(*missing):
    return mock.patch.object(_environment, "found", lambda name: name not in missing)(_environment.check)


def _python(version, missing):
    with mock.patch.object(sys, "version_info", version):
        _found(missing)()


ROWS = {
    "__main__._must": [(lambda: self_test._must(False, "1 is not 2"), "1 is not 2", RuntimeError)],
    "_environment.check": [
        (
            lambda: mock.patch.dict("os.environ", KERAS_BACKEND="jax")(_environment.check)(),
            "on Keras' TensorFlow backend, but KERAS_BACKEND is 'jax'. Set it before .*export KERAS_BACKEND=tensorflow",
            ImportError,
        ),
        (_found("keras"), "needs keras, which is not installed. Mend it with: pip install kvae-keras", ImportError),
        (
            lambda: _python((3, 99), "keras"),
            "for Python 3.99 there is none that kvae was tested with. Use Python 3.10 to 3..*: python3.* -m venv",
            ImportError,
        ),
        (_found("tf_keras"), 'tf_keras, which is not installed. Mend it with: pip install "tf_keras', ImportError),
        (
            lambda: mock.patch.object(_environment, "_minor", {"tensorflow": "2.20", "tf_keras": "2.16"}.get)(
                _found()
            )(),
            "tf_keras 2.16 does not fit tensorflow 2.20: both need the same minor version. Mend it with: pip install",
            ImportError,
        ),
        (
            lambda: _python((3, 12), "distutils"),
            "distutils, which left Python with 3.12 .*pip install setuptools",
            ImportError,
        ),
    ],
    "_environment.check_backend": [
        (
            lambda: mock.patch("keras.config.backend", lambda: "torch")(_environment.check_backend)(),
            "on Keras' TensorFlow backend, but Keras was set up for 'torch'. Set it before Python starts: export",
            ImportError,
        ),
    ],
    "numerics.arguments.whole": [
        (lambda: vae().sample(2.5), "n must be a whole number, got 2.5"),
        (lambda: vae().sample(0), "n must be at least 1, got 0"),
        (lambda: arguments.whole("n", 9, most=8), "n must be at most 8, got 9"),
    ],
    "numerics.arguments.number": [
        (lambda: schedules.Linear(start="0"), "start must be a finite number, got '0'"),
        (lambda: schedules.Linear(start=1e300), r"start must be finite in float32, at most 3.40282e\+38 in size, got"),
        (lambda: likelihoods.Normal(momentum=1.0), "momentum must be a finite number, 0 <= momentum < 1, got 1.0"),
    ],
    "numerics.arguments.seed": [
        (lambda: vae().elbo(X, seed=-1), r"seed must be a whole number from 0 to 2\*\*32 - 1, got -1"),
        (lambda: vae().elbo(X, seed=None), r"got None. For other numbers each time, draw one: int\(numpy.random"),
        (lambda: vae().elbo(X, seed=np.random.default_rng(0)), r"got Gen.* Draw one from it: int\(generator.integers"),
    ],
    "numerics.arguments.flag": [(lambda: networks.mlp((6,), 2, mask=1), "mask must be True or False, got 1")],
    "numerics.arguments.choice": [
        (lambda: vae().sample(2, output="mode"), "output must be 'mean', 'sample' or 'distribution', got 'mode'"),
    ],
    "numerics.arguments.sizes": [
        (lambda: networks.mlp((6,), 2, hidden="64"), r"hidden must be whole numbers, such as \(64, 32\), got '64'"),
    ],
    "numerics.arguments.side": [
        (
            lambda: likelihoods.Bernoulli(kernel_size=(3, 5)),
            r"one size for all axes, such as 3 or \(3, 3\), got \(3, 5",
        ),
    ],
    "numerics.arguments.path": [
        (lambda: kvae.load_model(None), "path must be a path, such as 'runs/model', got None"),
        (lambda: kvae.load_model("a\0b"), r"path must be a path, such as 'runs/model', got 'a\\x00b'"),
    ],
    "numerics.weights.warn_of_few": [
        (
            lambda: weights.warn_of_few([1.0, 90.0], 100, "the mean rests on few", "Give more samples."),
            "effective sample size is below .* of 100 draws for 1 of 2 .*is 1.0\\): the mean rests on few. Give more",
            UserWarning,
        ),
    ],
    "families.parameter_dtype": [
        (lambda: likelihoods.Bernoulli(dtype="float16"), "are float32 or float64, got dtype='float16'"),
    ],
    "likelihoods.base.Likelihood.__init__": [
        (
            lambda: likelihoods.Bernoulli(project=False, kernel_size=3),
            "kernel_size=3 is the projection's, which project=False leaves out. Give one of the two",
        ),
    ],
    "likelihoods.base.Likelihood.build": [
        (
            lambda: likelihoods.Bernoulli().build((7, 8, 4), (8, 8, 1)),
            r"output has shape \(7, 8, 4\) .* event has shape \(8, 8, 1\): their height and width differ.*Cropping2D",
        ),
        (
            lambda: kvae.VAE(*mlp(), likelihood=likelihoods.Bernoulli(kernel_size=3)),
            r"kernel_size=3 takes a feature map .* has shape \(8,\) for one example. Leave kernel_size=1 for flat",
        ),
        (
            lambda: kvae.VAE(*mlp(), likelihood=likelihoods.Bernoulli(project=False)),
            r"\(project=False\) takes .* decoder's output must have shape \(6,\) .* has \(8,\). Give the last layer",
        ),
    ],
    "likelihoods.joint.Joint.__init__": [
        (lambda: likelihoods.Joint([]), r"groups must be a dictionary of name to \(columns, likelihood\), got \[\]"),
        (
            lambda: likelihoods.Joint({"a": (0, likelihoods.Normal()), "b": ((0, 1), likelihoods.Poisson())}),
            r"Each column must be in one group of Joint, but the groups have the columns \[0, 0, 1\]. Number them 0, 1",
        ),
    ],
    "likelihoods.joint.Joint._group": [
        (
            lambda: likelihoods.Joint({"a": likelihoods.Normal()}),
            r"A group of Joint is \(columns, likelihood\), but 'a' is <Normal .* Give for example {'a': \(0, kvae",
        ),
        (
            lambda: likelihoods.Joint({"a": (0, likelihoods.Normal(project=False))}),
            "group 'a' must have project=True and kernel_size=1, got .* project=False, .* Give project=False to Joint",
        ),
        (lambda: likelihoods.Joint({1: (0, likelihoods.Normal())}), "name of a group of Joint must be text .* got 1"),
    ],
    "likelihoods.joint.Joint.build": [
        (
            lambda: kvae.VAE(*mlp(), likelihood=likelihoods.Joint({"a": (0, likelihoods.Normal())})),
            r"has 1 columns and explains rows of shape \(1,\), but one example has shape .* Put each column of x in",
        ),
    ],
    "likelihoods.zero_inflated.ZeroInflated.__init__": [
        (
            lambda: likelihoods.ZeroInflated(likelihoods.Normal()),
            r"takes a likelihood of counts, got <Normal .* Give one of kvae.likelihoods.BetaBinomial\(.*Poisson\(",
        ),
    ],
    "likelihoods.normal.Normal._checked_scale": [
        (
            lambda: likelihoods.Normal("lerned"),
            "scale= a positive number, 'learned', 'optimal' or 'local', got 'lerned",
        ),
    ],
    "posteriors.base.Posterior.build": [
        (
            lambda: posteriors.DiagonalNormal().build((4, 4, 1), 2),
            r"flat features from the encoder, but .* has shape \(4, 4, 1\) .*End the encoder with keras.layers.Flatten",
        ),
        (
            lambda: kvae.VAE(*mlp(), posterior=posteriors.DiagonalNormal(project=False)),
            r"\(project=False\) takes .* encoder's output must have shape \(6,\) .* has \(8,\). Give the last layer",
        ),
    ],
    "networks.feature_maps.feature_maps": [
        (
            lambda: networks.conv((4,) * 4, 2),
            r"an event shape \(H, W, C\), \(T, C\) or \(T,\), got \(4, 4, 4, 4\). For oth",
        ),
        (lambda: networks.conv((4,), 2, filters=()), "at least one level, got filters=.* linear networks use mlp"),
        (
            lambda: networks.conv((8, 8), 2, filters=2, dense=2),
            r"convolves \(8, 8\) in one dimension: 8 steps of 8 channels. Grey images .* event_shape=\(8, 8, 1\)",
            UserWarning,
        ),
    ],
    "networks.inputs._condition": [
        (
            lambda: networks.mlp((4,), 2, condition=()),
            r"number of classes or the shape .*, such as 10 or \(3,\), got \(\)",
        ),
    ],
    "networks.inputs.checked": [
        (lambda: networks.mlp(4, 2), r"event_shape is a tuple, such as \(4,\), got the number 4"),
        (lambda: networks.mlp((), 2), r"event_shape needs at least one dimension, got \(\). Give \(1,\) for"),
    ],
    "networks.inputs.check_activation": [
        (lambda: networks.mlp((4,), 2, activation="rleu"), "a name that Keras knows, such as 'relu' .*, got 'rleu'"),
        (
            lambda: networks.mlp((4,), 2, activation=len),
            "a name that Keras knows, .*, or a function that keeps the shape and the dtype of a tensor, got .*len",
        ),
    ],
    "objectives.weights.Weight.__init__": [
        (lambda: objectives.ELBO(beta=-1), r"beta >= 0 or a schedule \(a callable of the step\), got -1"),
    ],
    "objectives.weights.Weight._check_ends": [
        (
            lambda: objectives.ELBO(beta=schedules.Linear(-1.0)),
            "finite weights >= 0, but .* is -1.0 at step 0. Keep it",
        ),
    ],
    "objectives.elbo.ELBO.__init__": [
        (
            lambda: objectives.ELBO("analytic", gradient="path"),
            "gradient='path'.* has a KL term by Monte Carlo: leave kl='analytic' and free_bits= out",
        ),
    ],
    "objectives.base.Objective.needed": [
        (
            lambda: objectives.MMD().loss(vae().terms(X), 0),
            "MMD needs prior_z, which only the Terms of a step have, not those of vae.terms. vae.evaluate.x. gives",
        ),
    ],
    "objectives.mmd.MMD.__init__": [
        (lambda: objectives.MMD(bandwidths=[]), r"MMD needs at least one of bandwidths, got \(\)"),
    ],
    "numerics.divergences.pairs": [
        (
            lambda: kvae.VAE(*mlp(), posterior="full_normal", objective="total_correlation"),
            "densities of single dimensions are needed, and .*TriL does not factorise as normals. Use posterior='diag",
        ),
    ],
    "objectives.iwae.IWAE.__init__": [
        (
            lambda: objectives.IWAE(6, groups=4),
            "IWAE needs groups of equal size: samples=6 is no multiple of groups=4",
        ),
    ],
    "objectives.iwae.IWAE._log_weights": [
        (
            lambda: objectives.IWAE(6, groups=3).loss(vae().terms(np.zeros((2, 6)), samples=2), 0),
            r"IWAE\(groups=3\) needs terms of a multiple of 3 samples, got 2. Give vae.terms\(x, samples=6\)",
        ),
    ],
    "objectives.elbo.ELBO.kl": [
        (
            lambda: objectives.ELBO("analytic").kl(objectives.Terms(*[None] * 6)),
            "needs a KL in closed form between .* none is registered with TFP. Use kl='auto' or kl='monte_carlo'",
        ),
    ],
    "objectives.elbo.ELBO._rate": [
        (
            lambda: kvae.VAE(*mlp(), posterior="full_normal", objective=objectives.ELBO(free_bits=0.1)),
            "free_bits=0.1\\) needs a posterior and a prior that factorise.* Use posterior='diagonal_normal'",
        ),
    ],
    "objectives.weights.Weight.__call__": [
        (
            lambda: objectives.ELBO(beta=lambda step: len(step)),
            "schedule .* failed on a step that is a tensor .*Write it with TensorFlow's functions, for example tf.mi",
            TypeError,
        ),
    ],
    "objectives.weights.Weight.config": [
        (
            lambda: objectives.ELBO(beta=lambda step: 1.0).get_config(),
            "cannot be saved: beta is <function .*>, a plain function.* Use kvae.schedules.Linear",
        ),
    ],
    "schedules.Cyclical.__init__": [
        (lambda: schedules.Cyclical(steps=2, cycles=3), "needs steps >= cycles, got cycles=3, steps=2"),
    ],
}
