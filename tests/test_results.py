"""The orders in docs/results.md that no other test holds, in little: the programs of `benchmarks/results`."""

import importlib.util
import math
import pathlib
import sys
import types

import keras
import numpy as np
import pytest

import kvae
from kvae.numerics import distributions

ROOT = pathlib.Path(__file__).resolve().parent.parent


def program(name):
    """The module of a program."""
    spec = importlib.util.spec_from_file_location(f"results_{name}", ROOT / "benchmarks" / "results" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_digits_benchmark():
    """One seed of it, whole: the band that independent implementations of the protocol gave."""
    found = program("digits").run(0, 8000, 1000)
    assert 22.2 < -found["nll"].mean < 23.1 and found["active"] >= 9
    assert found["elbo"] < found["nll"].mean


@pytest.mark.slow
def test_more_importance_samples_raise_log_p_and_lower_the_elbo():
    module = program("families")
    options = types.SimpleNamespace(data_dir=None, epochs=120, images=None, samples=1000, gaps=0)
    vae, iwae, vamp = (module.run(row, module.digits, 0, options)[0] for row in ("vae", "iwae_5", "vamp"))
    assert iwae["nll"] < vae["nll"] - 0.15 and vamp["nll"] < vae["nll"] - 0.1
    assert iwae["elbo"] < vae["elbo"] - 0.3 < vamp["elbo"]


@pytest.mark.slow
def test_conditional_on_the_class():
    """The class is worth nats, samples are of it, and so are the decoded mean codes."""
    module = program("conditional")
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50)
    plain, conditional = (module.trained(data, 0, classes, 60) for classes in (None, 10))
    scores = [kvae.evaluate.log_likelihood(vae, data.test, samples=200).mean for vae in (plain, conditional)]
    assert scores[1] > scores[0] + 1.5
    classifier = module.KNeighborsClassifier(5).fit(data.train.x.reshape(-1, 64), data.train.y)
    y = np.repeat(np.arange(10), 100)
    drawn = conditional.sample(len(y), seed=0, output="mean", condition=y).numpy()
    assert classifier.score(drawn.reshape(-1, 64), y) > 0.9
    codes = conditional.encode(data.train).mean().numpy()
    means = np.stack([codes[data.train.y == k].mean(axis=0) for k in range(10)])
    assert (
        classifier.score(conditional.decode(means, np.arange(10)).mean().numpy().reshape(10, -1), np.arange(10)) > 0.9
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The effective sample size")  # of the encoder that never saw holes
def test_missing_pixels():
    """An encoder that never saw holes reconstructs worst; importance weights make up for it; means are far behind."""
    module = program("missing")
    data, random = kvae.data.load("digits", validation=0, binarize="static"), np.random.default_rng(0)
    seen = {part: random.random(getattr(data, part).x.shape) < 0.5 for part in ("train", "test")}
    holes, x, missing = {"x": data.train.x, "mask": seen["train"]}, data.test.x, ~seen["test"]

    def loss(p):
        p = np.clip(p, 1e-6, 1.0 - 1e-6)
        return -np.where(x, np.log(p), np.log1p(-p))[missing].mean()

    found = {}
    for name, part in (("complete", data.train.x), ("holes", holes)):
        vae = module.trained(part, 0, False, 60)
        score = kvae.evaluate.log_likelihood(vae, {"x": x, "mask": seen["test"]}, samples=1000).mean
        filled = vae.reconstruct(x, mask=seen["test"]), vae.impute(x, seen["test"], samples=200)
        found[name] = [score, *(loss(one.numpy()) for one in filled)]
    means = (data.train.x * seen["train"]).sum(0) / seen["train"].sum(0)
    assert found["holes"][0] > found["complete"][0] + 0.3  # log p of what was observed
    assert found["holes"][1] < found["complete"][1] - 0.015 and found["complete"][2] < found["complete"][1] - 0.02
    assert max(one[2] for one in found.values()) < loss(np.broadcast_to(means, x.shape)) - 0.03


@pytest.mark.slow
def test_a_continuous_bernoulli_beside_a_bernoulli_on_grey_pixels():
    """ELBOs of grey digits: the model's own likelihood, then mu^-1, then the Bernoulli's output as lambda.

    And the images: the mean has a smaller squared error with as many latents. It is lambda that looks sharper.
    """
    module, data = (
        program("continuous_bernoulli"),
        kvae.data.load("digits", validation=0, dequantize=True, batch_size=50),
    )
    found, error, edges = {}, {}, {}

    def drawn(name, images):
        error[name] = np.square(data.test.x - images).sum(axis=(1, 2, 3)).mean()
        edges[name] = sum(np.abs(np.diff(images, axis=axis)).sum(axis=(1, 2, 3)).mean() for axis in (1, 2))

    for name, likelihood in (
        ("continuous", kvae.likelihoods.ContinuousBernoulli(clip=module.CLIP)),
        ("bernoulli", module.GreyBernoulli()),
    ):
        keras.utils.set_random_seed(0)
        vae = kvae.VAE(*kvae.networks.mlp(data.event_shape, 10, hidden=(200, 200)), likelihood=likelihood)
        vae.compile(keras.optimizers.Adam(1e-3))
        vae.fit(data.train, epochs=60, verbose=0)
        found[name] = [values.mean() for values in module.elbos(vae, data.test.x)]
        p = vae.decode(vae.encode(data.test.x).mean())
        drawn(name, p.mean().numpy())
        drawn(f"lambda, {name}", 1.0 / (1.0 + np.exp(-p.distribution.logits.numpy())))
    assert error["continuous"] < 0.8 * error["bernoulli"] < error["lambda, continuous"]
    assert edges["lambda, continuous"] > 1.2 * max(edges["continuous"], edges["bernoulli"])
    assert found["continuous"][0] > found["bernoulli"][1] + 0.2 > found["bernoulli"][0] + 5.0
    # The same lambda without the normaliser is lower by sum log C, at least 64 log 2.
    logits = np.linspace(-9.0, 9.0, 64, dtype=np.float32)[None]
    x = np.random.default_rng(0).random((1, 64)).astype(np.float32)
    with_it, without = (
        kind(logits=logits).event_log_prob(x, 1).numpy().item()
        for kind in (distributions.ContinuousBernoulli, distributions.Bernoulli)
    )
    assert with_it - without > 64 * math.log(2.0)


def test_many_draws_of_some_images():
    """Over the choice of images the estimate has the mean of all, and the spread that it says."""
    module, random = program("subset_nll"), np.random.default_rng(0)
    few = random.normal(-90.0, 20.0, 400)
    many = few + random.gamma(4.0, 0.6, 400)
    runs = []
    for _ in range(4000):
        chosen = random.choice(400, 100, replace=False)
        runs.append(module.of_all(few, many[chosen], chosen))
    values, errors = np.array(runs).T
    assert abs(values.mean() - many.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.05)
    assert values.std() < 0.1 * many.std() / math.sqrt(100)
