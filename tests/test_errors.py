"""Bad input gets one clear error: what came, what was expected, what to do."""

import functools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kvae
from tests.conformance import make_vae


def networks(shape=(6,), latent=2):
    return kvae.networks.mlp(shape, latent, hidden=(5,))


class ConstructionTest(tf.test.TestCase, parameterized.TestCase):
    def test_subclassed_network(self):
        class Net(keras.Model):
            def call(self, x):
                return x

        with self.assertRaisesRegex(ValueError, "encoder 'net.*subclassed or unbuilt.*keras.Model\\(x, network"):
            kvae.VAE(Net(), networks()[1])

    def test_unbuilt_sequential(self):
        with self.assertRaisesRegex(ValueError, "decoder.*unbuilt.*keras.Input"):
            kvae.VAE(networks()[0], keras.Sequential([keras.layers.Dense(3)]))

    def test_a_layer_is_no_network(self):
        with self.assertRaisesRegex(ValueError, "encoder must be a keras.Model, got Dense"):
            kvae.VAE(keras.layers.Dense(3), networks()[1])

    @parameterized.parameters("list", "dict")
    def test_encoder_of_several_outputs(self, kind):
        x = keras.Input((6,))
        a, b = keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)
        encoder = keras.Model(x, [a, b] if kind == "list" else {"mean": a, "scale": b})
        with self.assertRaisesRegex(ValueError, "must return one tensor.*list or dict of 2.*features alone"):
            kvae.VAE(encoder, networks()[1])

    def test_decoder_map_of_another_size(self):
        encoder, _ = networks((8, 8, 1))
        z = keras.Input((2,))
        decoder = keras.Model(z, keras.layers.Reshape((7, 8, 4))(keras.layers.Dense(224)(z)))
        with self.assertRaisesRegex(ValueError, r"height and width differ \(\(7, 8\) and \(8, 8\)\).*Cropping2D"):
            kvae.VAE(encoder, decoder, likelihood="bernoulli")

    def test_encoder_map(self):
        x = keras.Input((8, 8, 1))
        with self.assertRaisesRegex(ValueError, "flat features from the encoder.*Flatten"):
            kvae.VAE(keras.Model(x, keras.layers.Conv2D(3, 3)(x)), networks((8, 8, 1))[1])

    def test_unprojected_sizes(self):
        encoder, decoder = networks()
        with self.assertRaisesRegex(ValueError, r"project=False.*encoder's output must have shape \(4,\).*\(5,\)"):
            kvae.VAE(encoder, decoder, posterior=kvae.posteriors.DiagonalNormal(project=False))
        with self.assertRaisesRegex(ValueError, r"project=False.*decoder's output must have shape \(6,\).*\(5,\)"):
            kvae.VAE(encoder, decoder, likelihood=kvae.likelihoods.Bernoulli(project=False))

    def test_open_shapes(self):
        x = keras.Input((None, None, 1))
        encoder = keras.Model(x, keras.layers.GlobalAveragePooling2D()(x))
        with self.assertRaisesRegex(ValueError, "must be fixed"):
            kvae.VAE(encoder, networks()[1])

    @parameterized.parameters("posterior", "likelihood", "prior", "objective")
    def test_unknown_names(self, part):
        with self.assertRaisesRegex(ValueError, f"{part}='normale' is not known. Names are \\['"):
            kvae.VAE(*networks(), **{part: "normale"})

    def test_known_names_are_listed(self):
        names = r"\['capacity', 'elbo', 'iwae', 'mmd', 'total_correlation'\]"
        with self.assertRaisesRegex(ValueError, names):
            kvae.VAE(*networks(), objective="bound")

    @parameterized.parameters(
        (lambda: kvae.objectives.ELBO(beta=-1.0), "beta >= 0.*got -1.0"),
        (lambda: kvae.objectives.ELBO(beta=float("nan")), "beta >= 0"),
        (lambda: kvae.objectives.ELBO(samples=0), "samples must be at least 1, got 0"),
        (lambda: kvae.objectives.ELBO(samples=2.5), "samples must be a whole number, got 2.5"),
        (lambda: kvae.objectives.ELBO(kl="exact"), "'auto', 'analytic' or 'monte_carlo', got 'exact'"),
        (lambda: kvae.objectives.ELBO(free_bits=-0.1), "0 <= free_bits, got -0.1"),
        (lambda: kvae.networks.mlp((4,), 0), "latent_dim must be.*at least 1, got 0"),
        (lambda: kvae.networks.mlp((4,), 2, hidden=(3, 0)), "hidden must be at least 1, got 0"),
        (lambda: kvae.networks.mlp(4, 2), r"event_shape is a tuple, such as \(4,\)"),
        (lambda: kvae.networks.mlp((), 2), "at least one dimension"),
        (lambda: kvae.networks.conv((4, 4, 1), 2, filters=()), "at least one level"),
        (lambda: kvae.networks.conv((4, 4, 4, 1), 2), r"\(H, W, C\)"),
        (lambda: kvae.likelihoods.Normal(scale="lerned"), "'learned', 'optimal' or 'local', got 'lerned'"),
        (lambda: kvae.likelihoods.Normal(scale=0.0), "positive number"),
        (lambda: kvae.likelihoods.ContinuousBernoulli(clip=0.7), "0 < clip < 0.5, got 0.7"),
        (lambda: kvae.posteriors.DiagonalNormal(floor=0.0), "0 < floor, got 0.0"),
        (lambda: kvae.schedules.Linear(steps=0), "steps must be at least 1, got 0"),
    )
    def test_arguments(self, make, message):
        with self.assertRaisesRegex(ValueError, message):
            make()

    def test_a_family_belongs_to_one_model(self):
        likelihood = kvae.likelihoods.Bernoulli()
        kvae.VAE(*networks((6,)), likelihood=likelihood)
        with self.assertRaisesRegex(ValueError, "Bernoulli belongs to another model.*new one for each"):
            kvae.VAE(*networks((6,)), likelihood=likelihood)

    @parameterized.parameters({"loss": "mse"}, {"metrics": ["mae"]}, {"weighted_metrics": []})
    def test_compile_takes_no_loss(self, **arguments):
        with self.assertRaisesRegex(ValueError, "compile\\(.*objective.*kvae.objectives.ELBO"):
            make_vae(compiled=False).compile("adam", *arguments.pop("loss", "").split(), **arguments)

    def test_compile_knows_its_arguments(self):
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'optimiser'"):
            make_vae(compiled=False).compile(optimiser="adam")


GOOD = np.linspace(0, 1, 60, dtype=np.float32).reshape(10, 6)


@functools.cache
def _model(likelihood: str) -> kvae.VAE:
    """One for all tests: what it refuses leaves it as it was."""
    return make_vae(likelihood={"normal": kvae.likelihoods.Normal}.get(likelihood) or (lambda: likelihood))


class DataTest(tf.test.TestCase, parameterized.TestCase):
    """The same errors from arrays and from tf.data, in fit and in evaluate, before the first step."""

    CASES = (
        ("shape", "bernoulli", np.zeros((10, 7), np.float32), r"has shape \((10|None), 7\).*\(None, 6\)"),
        ("rank", "bernoulli", np.zeros((10, 6, 1), np.float32), r"has shape \((10|None), 6, 1\)"),
        ("nan", "normal", np.where(GOOD > 0.9, np.nan, GOOD), r"x\[\d, \d\] is nan.*missing"),
        ("infinite", "normal", np.where(GOOD > 0.9, np.inf, GOOD), "is inf"),
        (
            "grey_under_bernoulli",
            "bernoulli",
            GOOD,
            r"Bernoulli explains x in \{0, 1\}.*continuous_bernoulli.*binarize",
        ),
        ("bytes_under_unit", "continuous_bernoulli", np.round(255 * GOOD), r"in \[0, 1\].*divided by 255"),
        ("reals_under_unit", "continuous_bernoulli", 2 * GOOD - 1, r"range from -1 to .*Normal\("),
    )

    @parameterized.named_parameters(list(CASES))
    def test_refused(self, likelihood, x, message):
        vae = _model(likelihood)
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(5)
        for data in (x, dataset):
            with self.assertRaisesRegex(ValueError, message):
                vae.fit(data, verbose=0, steps_per_epoch=2)
            with self.assertRaisesRegex(ValueError, message):
                vae.evaluate(data, verbose=0, steps=2)
            with self.assertRaisesRegex(ValueError, message):
                vae.fit(GOOD.round(), validation_data=data, validation_steps=2, verbose=0)
        with self.assertRaisesRegex(ValueError, message):
            kvae.evaluate.log_likelihood(vae, x, samples=2)
        if "has shape" in message:
            for method in (vae.encode, vae.reconstruct, vae.elbo, vae.terms):
                with self.assertRaisesRegex(ValueError, message):
                    method(x)

    def test_nothing_is_trained_on_bad_data(self):
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        before = [w.numpy() for w in vae.weights]
        for data in (GOOD, tf.data.Dataset.from_tensor_slices(GOOD).batch(5)):
            with self.assertRaises(ValueError):
                vae.fit(data, verbose=0)
        for old, new in zip(before, vae.weights, strict=True):
            self.assertAllEqual(old, new)

    def test_late_bad_batch_of_evaluation_data(self):
        """Beyond the batches looked at in the pipeline, and in generators: an error of the evaluation, not of fit."""
        x = np.zeros((40, 6), np.float32)
        bad = x.copy()
        bad[-1, -1] = 0.5
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        pipeline = tf.data.Dataset.from_tensor_slices(bad).batch(2)
        message = r"evaluation data are wrong: Bernoulli explains x in \{0, 1\}"
        with self.assertRaisesRegex(ValueError, message):
            vae.evaluate(pipeline, verbose=0)
        with self.assertRaisesRegex(ValueError, r"Bernoulli explains x in \{0, 1\}, but x\[1, 5\] is 0.5"):
            vae.evaluate((tuple(batch) for batch in bad.reshape(20, 1, 2, 6)), steps=20, verbose=0)
        with self.assertRaisesRegex(ValueError, message):
            vae.fit(x, validation_data=pipeline, verbose=0)
        vae.fit(x, verbose=0)

    def test_terminate_on_nan_does_not_hide_wrong_data(self):
        x = np.zeros((40, 6), np.float32)
        x[-1, -1] = 0.5
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        with self.assertRaisesRegex(ValueError, "step 20: Bernoulli explains"):
            pipeline = tf.data.Dataset.from_tensor_slices(x).batch(2)
            vae.fit(pipeline, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])

    def test_late_bad_batch_of_a_pipeline(self):
        """Beyond the batches that are looked at in the pipeline, the step's own count stops the fit."""
        x = np.zeros((40, 6), np.float32)
        x[-1, -1] = 0.5
        vae = make_vae(likelihood=kvae.likelihoods.Bernoulli)
        with self.assertRaisesRegex(ValueError, r"at step 20: Bernoulli explains x in \{0, 1\}"):
            vae.fit(tf.data.Dataset.from_tensor_slices(x).batch(2), verbose=0)

    @parameterized.parameters((np.array([["a"] * 6] * 3),), (np.zeros((3, 6), complex),), (np.array([[None] * 6] * 3),))
    def test_dtype(self, x):
        with self.assertRaisesRegex(ValueError, "real numbers.*dtype"):
            make_vae().fit(x, verbose=0)

    def test_dtype_of_a_dataset(self):
        with self.assertRaisesRegex(ValueError, "real numbers.*string"):
            make_vae().fit(tf.data.Dataset.from_tensors([["a"] * 6]), verbose=0)

    @parameterized.parameters(
        (np.zeros((0, 6), np.float32), "empty"),
        (tf.data.Dataset.from_tensor_slices(np.zeros((0, 6), np.float32)).batch(2), "empty"),
        (None, "There is no x"),
        (np.float32(3.0), "scalar"),
        (np.zeros(6, np.float32), r"batch axis is missing in front: x\[None\]"),
        ({"y": np.zeros((3, 6))}, "keys \\['x', 'condition', 'mask', 'sample_weight'\\], got \\['y'\\]"),
    )
    def test_no_data(self, x, message):
        with self.assertRaisesRegex(ValueError, message):
            make_vae().fit(x, verbose=0)

    def test_channel_axis(self):
        vae = make_vae("conv_one_level")
        with self.assertRaisesRegex(ValueError, r"channel axis: x\[..., None\]"):
            vae.fit(np.zeros((3, 4, 4), np.float32), verbose=0)

    @parameterized.parameters(
        (np.ones(9), "10 rows but sample_weight has 9"),
        (-np.ones(10), "sample_weight must be finite numbers >= 0"),
        (np.ones((10, 6)), "one per example"),
        (np.full(10, np.nan), "finite"),
    )
    def test_sample_weight(self, weight, message):
        with self.assertRaisesRegex(ValueError, message):
            make_vae().fit(GOOD, sample_weight=weight, verbose=0)

    def test_class_weight(self):
        with self.assertRaisesRegex(ValueError, "sample_weight"):
            make_vae().fit(GOOD, class_weight={0: 1.0}, verbose=0)

    @parameterized.parameters(
        (lambda vae: vae.sample(0, seed=1), "n must be at least 1, got 0"),
        (lambda vae: vae.sample(2, seed=1, output="median"), "'mean', 'sample' or 'distribution', got 'median'"),
        (lambda vae: vae.decode(np.zeros((3, 4))), r"\[..., B, 3\], got \(3, 4\)"),
        (lambda vae: vae.terms(GOOD, samples=0), "samples must be at least 1"),
        (lambda vae: kvae.evaluate.log_likelihood(vae, GOOD, samples=0), "samples must be at least 1"),
        (lambda vae: kvae.evaluate.log_likelihood(vae, GOOD, samples=2.5), "samples must be a whole number, got 2.5"),
        (lambda vae: kvae.evaluate.summary(vae, [GOOD], samples=2), r"x has shape \(1, 10, 6\)"),
        (lambda vae: kvae.evaluate.summary(vae, kvae.data.load("digits"), samples=2), "such as data.test"),
        (lambda vae: kvae.evaluate.compare([vae], GOOD), "takes a dict of names to models"),
        (lambda vae: kvae.evaluate.collapse(vae, GOOD, epsilon=0.0), "epsilon must be a finite number, 0 < epsilon"),
        (lambda vae: kvae.evaluate.collapsed(vae, GOOD, delta=1.0), "delta must be a finite number, 0 <= delta < 1"),
        (lambda vae: kvae.evaluate.log_likelihood(vae, GOOD, samples=2, chunk=0), "chunk must be at least 1"),
        (
            lambda vae: kvae.evaluate.summary(vae, tf.data.Dataset.from_tensors(GOOD).repeat(), samples=2),
            "never ends",
        ),
    )
    def test_methods(self, call, message):
        with self.assertRaisesRegex(ValueError, message):
            call(make_vae())

    def test_what_is_not_a_model(self):
        evaluate = kvae.evaluate
        for function in (evaluate.summary, evaluate.rate, evaluate.ais, evaluate.gaps, evaluate.calibration):
            with self.assertRaisesRegex(TypeError, r"A kvae.VAE is needed, got 'model.keras'.*load_model"):
                function("model.keras", GOOD)
        with self.assertRaisesRegex(TypeError, "A kvae.VAE is needed"):
            evaluate.compare({"a": GOOD}, GOOD)


@pytest.mark.filterwarnings("ignore:x ranges from")
class NonFiniteTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("array", "dataset")
    def test_the_term_and_the_step_are_named(self, kind):
        """A likelihood scale so small that the squares overflow: the reconstruction, at the first step."""
        vae = make_vae(likelihood=lambda: kvae.likelihoods.Normal(scale=1e-30))
        x = 1e10 * GOOD if kind == "array" else tf.data.Dataset.from_tensor_slices(1e10 * GOOD).batch(5)
        with self.assertRaisesRegex(FloatingPointError, r"step 1: the reconstruction term.*learning rate is 0.01"):
            vae.fit(x, verbose=0)

    def test_the_step_is_counted(self):
        """A learning rate that blows the weights up stops the fit within its first steps, by the KL term."""
        vae = make_vae(optimizer=keras.optimizers.SGD(1e30))
        with self.assertRaisesRegex(FloatingPointError, r"step [2-9]: the (kl|reconstruction) term is not finite"):
            vae.fit(GOOD, batch_size=2, epochs=5, verbose=0)

    def test_terminate_on_nan_stops_instead(self):
        vae = make_vae(likelihood=lambda: kvae.likelihoods.Normal(scale=1e-30))
        history = vae.fit(1e10 * GOOD, epochs=5, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
        self.assertLen(history.history["loss"], 1)
        self.assertFalse(np.isfinite(history.history["loss"][0]))


class FileTest(tf.test.TestCase):
    def test_corrupted_model(self):
        path = f"{self.create_tempdir().full_path}/model.keras"
        vae = make_vae()
        vae.save(path)
        whole = pathlib.Path(path).read_bytes()
        for content in (whole[: len(whole) // 2], b"", whole[:2000] + bytes(1000) + whole[3000:]):
            pathlib.Path(path).write_bytes(content)
            with self.assertRaisesRegex(ValueError, "model.keras is not a readable .keras file.*train again"):
                kvae.load_model(path)
        with self.assertRaisesRegex(FileNotFoundError, "There is no file"):
            kvae.load_model(path + "x.keras")

    def test_safe_mode(self):
        """A file with Python code in it, as a Lambda layer is, is not run by loading it."""
        x = keras.Input((6,))
        encoder = keras.Model(x, keras.layers.Lambda(lambda t: 2.0 * t)(keras.layers.Dense(4)(x)))
        path = f"{self.create_tempdir().full_path}/model.keras"
        kvae.VAE(encoder, kvae.networks.mlp((6,), 3)[1]).save(path)
        with self.assertRaisesRegex(ValueError, "safe_mode"):
            kvae.load_model(path)

    def test_existing_export_path(self):
        base = self.create_tempdir().full_path
        vae = make_vae()
        path = vae.export(f"{base}/1")
        before = pathlib.Path(path, "saved_model.pb").read_bytes()
        with self.assertRaisesRegex(FileExistsError, "exists and is not overwritten.*next_version"):
            vae.export(path)
        self.assertEqual(pathlib.Path(path, "saved_model.pb").read_bytes(), before)

    def test_lambda_schedule_trains_but_is_not_saved(self):
        vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=lambda step: 0.5))
        vae.fit(GOOD, verbose=0)
        with self.assertRaisesRegex(ValueError, "cannot be saved: beta is.*kvae.schedules.Linear"):
            vae.save(f"{self.create_tempdir().full_path}/model.keras")
