"""Frozen parts, networks that change, steps of a subclass, threads: as in Keras, and nothing goes on as before."""

import copy
import pickle
import threading
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae

X = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)


def make(compiled=True, **parts):
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,)), **parts)
    if compiled:
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return vae


def states(vae):
    return [(layer.name, layer.trainable) for layer in vae._flatten_layers() if layer.weights]


FREEZE = {
    "posterior": lambda vae: setattr(vae.posterior, "trainable", False),
    "projection": lambda vae: setattr(vae.likelihood.projection, "trainable", False),
    "encoder": lambda vae: setattr(vae.encoder, "trainable", False),
    "layer": lambda vae: setattr(vae.decoder.layers[-1], "trainable", False),
    "all_but_one": lambda vae: (
        setattr(vae.likelihood, "trainable", False),
        setattr(vae.likelihood.projection, "trainable", True),
    ),
}


@pytest.mark.parametrize("what", FREEZE)
@pytest.mark.slow
def test_what_is_frozen_stays_frozen(what, tmp_path):
    vae = make(compiled=False, likelihood=kvae.likelihoods.Normal("learned"))
    FREEZE[what](vae)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    frozen = [w.numpy() for w in vae.non_trainable_variables if "counter" not in w.path and w.dtype == "float32"]
    vae.fit(X, epochs=2, verbose=0)
    vae.save(tmp_path / "model.keras")
    copies = [
        kvae.load_model(tmp_path / "model.keras"), copy.deepcopy(vae), pickle.loads(pickle.dumps(vae)),
        kvae.VAE.from_config(vae.get_config()),
    ]  # fmt: skip
    vae.fit(X, epochs=2, verbose=0)
    for old, new in zip(frozen, [w for w in vae.non_trainable_variables if w.dtype == "float32"], strict=False):
        np.testing.assert_array_equal(old, new)
    for one in copies:
        assert states(one) == states(vae)
        assert len(one.trainable_variables) == len(vae.trainable_variables) < len(make().trainable_variables) + 1
    for one in copies[:3]:
        assert int(one.optimizer.iterations) == 4
        one.fit(X, epochs=2, verbose=0)
        for ours, theirs in zip(vae.get_weights(), one.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_model_that_is_frozen_whole(tmp_path):
    vae = make(compiled=False)
    vae.trainable = False
    vae.compile()
    vae.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    assert not again.trainable and not again.trainable_variables


def answers(vae):
    """What each public method says, and what Keras says by its own."""
    features = vae.encoder(X)
    q = vae.posterior.distribution(features)
    return {
        "encode": (vae.encode(X).mean(), q.mean()),
        "reconstruct": (vae.reconstruct(X), vae.likelihood.distribution(vae.decoder(q.mean())).mean()),
        "predict": (vae.predict(X, verbose=0), vae.reconstruct(X)),
        "decode": (vae.decode(X[:, :2]).mean(), vae.likelihood.distribution(vae.decoder(X[:, :2])).mean()),
        "sample": (vae.sample(60, seed=1), vae.likelihood.distribution(vae.decoder(vae.prior_draws(60, 1))).mean()),
    }


def change_by_lora(vae):
    vae.encoder.layers[-1].enable_lora(2)
    vae.decoder.layers[-1].enable_lora(2)
    vae.compile(keras.optimizers.Adam(1e-1), jit_compile=False)
    vae.fit(X, epochs=3, verbose=0)


def change_variables(vae):
    layer = vae.encoder.layers[-1]
    layer._tracker.unlock()
    layer._kernel = keras.Variable(-2.0 * layer.kernel.numpy(), name="kernel")
    vae.decoder.layers[-1].bias.assign(vae.decoder.layers[-1].bias + 1.0)


def change_encoder(vae):
    vae.encoder = make().encoder
    vae.encoder.set_weights([-w for w in vae.encoder.get_weights()])


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method", "ignore:Skipping variable loading")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change_by_lora, id="lora", marks=pytest.mark.slow),
        pytest.param(change_variables, id="variables", marks=pytest.mark.slow),
        pytest.param(lambda vae: vae.quantize("int8"), id="int8", marks=pytest.mark.slow),
        pytest.param(change_encoder, id="encoder", marks=pytest.mark.slow),
    ],
)
def test_networks_that_change(change, tmp_path):
    vae = make()
    vae.fit(X, verbose=0)
    before = {name: np.asarray(ours) for name, (ours, _) in answers(vae).items()}
    likelihood = kvae.evaluate.log_likelihood(vae, X, samples=20, verbose=False).mean
    change(vae)
    now = answers(vae)
    for ours, theirs in now.values():
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(now["reconstruct"][0]) - before["reconstruct"]).max() > 1e-4
    assert kvae.evaluate.log_likelihood(vae, X, samples=20, verbose=False).mean != likelihood
    vae.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.reconstruct(X), vae.reconstruct(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(again.elbo(X), vae.elbo(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(again.evaluate(X, verbose=0), vae.evaluate(X, verbose=0), rtol=1e-5)


class Counting(kvae.VAE):
    """Counts its steps, and trains at twice the loss by another step."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.calls = {"train": 0, "test": 0, "predict": 0}

    def train_step(self, data):
        self.calls["train"] += 1
        return super().train_step(data)

    def test_step(self, data):
        self.calls["test"] += 1
        return super().test_step(data)

    def predict_step(self, data):
        self.calls["predict"] += 1
        return super().predict_step(data) + 1.0


def test_steps_of_a_subclass():
    keras.utils.set_random_seed(0)
    vae = Counting(*kvae.networks.mlp((6,), 2, hidden=(8,)))
    vae.compile(keras.optimizers.SGD(1e-2), run_eagerly=True)
    for data in (X, kvae.data.Split(X, batch_size=20), tf.data.Dataset.from_tensor_slices(X).batch(20)):
        vae.calls = dict.fromkeys(vae.calls, 0)
        size = None if isinstance(data, tf.data.Dataset) else 20
        vae.fit(data, batch_size=size, verbose=0, validation_data=X, validation_batch_size=30)
        vae.evaluate(data, batch_size=size, verbose=0)
        np.testing.assert_allclose(vae.predict(data, batch_size=size, verbose=0), vae.reconstruct(X) + 1.0, rtol=1e-5)
        assert vae.calls == {"train": 3, "test": 5, "predict": 3}


def test_a_loss_of_a_subclass_is_trained():
    """Plain Keras in a train_step: one step of SGD on half the sum of the decoder's squared weights halves them."""

    class Shrink(kvae.VAE):
        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = 0.5 * sum(tf.reduce_sum(tf.square(w)) for w in self.decoder.trainable_variables)
            gradients = tape.gradient(loss, self.decoder.trainable_variables)
            self.optimizer.apply(gradients, self.decoder.trainable_variables)
            return {"loss": loss}

    vae = Shrink(*kvae.networks.mlp((6,), 2, hidden=(8,)))
    vae.trainable, vae.decoder.trainable = False, True
    vae.trainable = vae.decoder.trainable = True
    for part in (vae.encoder, vae.posterior, vae.likelihood):
        part.trainable = False
    vae.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    before = vae.decoder.get_weights()
    vae.fit(X, batch_size=60, verbose=0)
    for old, new in zip(before, vae.decoder.get_weights(), strict=True):
        np.testing.assert_allclose(new, 0.5 * old, rtol=1e-6)


def test_threads():
    vae = make()
    expected, prediction, found = vae.evaluate(X, verbose=0), vae.predict(X, verbose=0), []

    def work():
        for _ in range(3):
            found.append(vae.evaluate(X, verbose=0) == expected and (vae.predict(X, verbose=0) == prediction).all())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12 and vae.jit_compile is False


def test_another_thread_while_one_trains():
    vae, said, began = make(), [], threading.Event()

    class Slow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            began.set()
            time.sleep(0.3)

    def ask():
        began.wait()
        for method in (vae.evaluate, vae.predict, vae.fit, vae.train_on_batch):
            try:
                method(X)
            except RuntimeError as error:
                said.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    vae.fit(X, epochs=2, verbose=0, callbacks=[Slow()])
    thread.join()
    assert len(said) == 4 and all("while another thread trains this model" in text for text in said)


def test_shared_layers():
    tied = keras.layers.Dense(6, name="tied")
    x, z = keras.Input((6,)), keras.Input((6,))
    vae = kvae.VAE(keras.Model(x, tied(x)), keras.Model(z, tied(z)))
    vae.compile(jit_compile=False)
    assert np.isfinite(vae.fit(X, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match=r"share the layers \['tied'\].*save_weights"):
        vae.save(f"{tf.compat.v1.test.get_temp_dir()}/tied.keras")


class OnlyHere(keras.layers.Layer):
    """A layer that XLA cannot compile."""

    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(lambda a: 2.0 * a, [x], tf.float32), x.shape)


def test_without_xla_where_it_cannot():
    def model():
        x = keras.Input((6,))
        _, decoder = kvae.networks.mlp((6,), 2, hidden=(8,))
        return kvae.VAE(keras.Model(x, OnlyHere(name="doubled")(x)), decoder)

    keras.utils.set_random_seed(0)
    vae = model()
    with pytest.warns(UserWarning, match=r"XLA cannot compile doubled \(OnlyHere\): the model is trained without XLA"):
        vae.compile()
    assert vae.jit_compile is False
    vae.fit(X, verbose=0)
    keras.utils.set_random_seed(0)
    plain = model()
    plain.compile(jit_compile=False)
    plain.fit(X, verbose=0)
    for ours, theirs in zip(vae.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"jit_compile=True.*doubled \(OnlyHere\).*'auto' or False"):
        vae.compile(jit_compile=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(compiled=False).compile()  # Keras' own layers are not even tried


USES = {
    "encode": lambda vae: vae.encode(X),
    "calibration": lambda vae: kvae.evaluate.calibration(vae, X, samples=2),
    "predict": lambda vae: vae.predict(X, verbose=0),
    "elbo": lambda vae: vae.elbo(X),
    "sample": lambda vae: vae.sample(3),
    "reconstruct": lambda vae: vae.reconstruct(X),
    "fit": lambda vae: vae.fit(tf.data.Dataset.from_tensors(X), verbose=0),
}


@pytest.mark.slow
def test_several_models_are_no_retracing(caplog):
    """Each model is traced once; a function that is traced again and again is still said to be."""
    tf.get_logger().propagate = True
    with caplog.at_level("WARNING", logger="tensorflow"):
        for _ in range(6):
            vae = make()
            for use in USES.values():
                use(vae)
        assert "retracing" not in caplog.text
        function = tf.function(lambda x: x)
        for size in range(6):
            function(tf.zeros([size]))
        assert "retracing" in caplog.text
