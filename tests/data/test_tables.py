"""Tables: kinds by dtypes, frames there and back, and a model of one from reading to serving."""

import json

import keras
import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
import tensorflow as tf
from scipy import stats

import kvae
from kvae.data import Table, table

N = 40
RANDOM = np.random.default_rng(0)


def columns(seed=0) -> dict:
    """Python lists, with None for holes."""
    random = np.random.default_rng(seed)
    holes = random.random((N, 9)) < 0.2
    found = {
        "height": random.normal(170.0, 10.0, N).tolist(),
        "price": np.exp(random.normal(5.0, 1.0, N)).tolist(),
        "visits": random.poisson(3.0, N).tolist(),
        "member": (random.random(N) < 0.3).tolist(),
        "job": random.choice(["baker", "nurse", "smith", "tailor"], N).tolist(),
        "size": random.choice(["low", "mid", "high"], N).tolist(),
        "paid": random.choice(["no", "yes"], N).tolist(),
        "floor": random.integers(-2, 3, N).tolist(),
        "stars": random.integers(1, 6, N).tolist(),
    }
    return {name: [None if hole else one for one, hole in zip(values, holes[:, i], strict=True)]
            for i, (name, values) in enumerate(found.items())}  # fmt: skip


DTYPES = {
    "height": "float32", "price": "Float64", "visits": "Int64", "member": "boolean", "job": "category",
    "size": pd.CategoricalDtype(["low", "mid", "high"], ordered=True), "paid": "string", "floor": "Int8",
    "stars": "float64",
}  # fmt: skip
KINDS = {"price": "positive", "stars": "ordinal"}
EXPECTED = ["real", "positive", "count", "binary", "categorical", "ordinal", "binary", "real", "ordinal"]


def of_pandas(seed=0) -> pd.DataFrame:
    return pd.DataFrame(columns(seed)).astype(DTYPES)


def of_polars(seed=0) -> pl.DataFrame:
    dtypes = {
        "height": pl.Float32, "price": pl.Float64, "visits": pl.UInt16, "member": pl.Boolean, "job": pl.Categorical,
        "size": pl.Enum(["low", "mid", "high"]), "paid": pl.String, "floor": pl.Int8, "stars": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(columns(seed), schema=dtypes, strict=False)


def model(of: Table, **options) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(of.event_shape, 2, hidden=(16,), mask=True, classes=of.classes)
    vae = kvae.VAE(*networks, likelihood=of.likelihood(**options), seed=0)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return vae


class KindsTest(tf.test.TestCase):
    def test_by_dtype(self):
        made = table(of_pandas(), KINDS)
        self.assertEqual([column.kind for column in made.columns], EXPECTED)
        levels = dict(zip(made.names, [column.levels for column in made.columns], strict=True))
        self.assertEqual(levels["job"], ["baker", "nurse", "smith", "tailor"])
        self.assertEqual((levels["size"], levels["stars"]), (["low", "mid", "high"], [1, 2, 3, 4, 5]))
        self.assertEqual((levels["member"], levels["paid"], levels["visits"]), ([False, True], ["no", "yes"], None))
        self.assertEqual(made.classes, (0, 0, 0, 0, 4, 0, 0, 0, 0))

    def test_polars_gives_the_same_numbers(self):
        one = table(of_pandas(), KINDS)
        other = table(of_polars(), KINDS | {"size": "ordinal"})
        self.assertEqual([column.kind for column in other.columns], EXPECTED)
        self.assertAllEqual(one.mask, other.mask)
        self.assertAllClose(np.nan_to_num(one.values), np.nan_to_num(other.values), rtol=1e-6)

    def test_whole_numbers(self):
        frame = pd.DataFrame({
            "holes": [1.0, np.nan, 3.0, 0.0], "floats": [1.0, 2.0, 3.0, 0.0], "bits": [0, 1, 1, 0],
            "below": [-1, 0, 1, 2], "objects": pd.Series([1, 2, None, 4], dtype=object), "text": ["a", "b", "c", "a"],
        })  # fmt: skip
        kinds = {column.name: column.kind for column in table(frame).columns}
        self.assertEqual(
            kinds,
            {"holes": "count", "floats": "real", "bits": "binary", "below": "real", "objects": "count"}
            | {"text": "categorical"},
        )

    def test_levels_in_order(self):
        frame = pd.DataFrame({"size": ["mid", "low", None, "high"]})
        made = table(frame, {"size": ["low", "mid", "high"]})
        self.assertEqual(made.columns[0].kind, "ordinal")
        self.assertAllEqual(np.nan_to_num(made.values[:, 0], nan=9.0), [1.0, 0.0, 9.0, 2.0])
        pd.testing.assert_frame_equal(made.frame(made.values), frame)

    def test_levels_in_another_order_than_those_of_a_category(self):
        order, own = ["low", "mid", "high"], ["high", "low", "mid"]
        cells = ["mid", None, "low", "high"]
        for frame in (
            pd.DataFrame({"size": pd.Categorical(cells, categories=own)}),
            pl.DataFrame({"size": cells}, schema={"size": pl.Enum(own)}),
        ):
            made = table(frame, {"size": order})
            self.assertAllEqual(np.nan_to_num(made.values[:, 0], nan=9.0), [1.0, 9.0, 0.0, 2.0])
            check = pd.testing if isinstance(frame, pd.DataFrame) else pl.testing
            check.assert_frame_equal(Table.from_schema(made.schema).frame(made.values), frame)

    def test_the_likelihood_has_each_column_in_its_group(self):
        made = table(of_pandas(), KINDS)
        student = kvae.likelihoods.StudentT()
        groups = made.likelihood(real=student, count=kvae.likelihoods.Poisson()).groups
        found = {name: (columns, type(part).__name__) for name, (columns, part) in groups.items()}
        self.assertEqual(found, {
            "real": ([0, 7], "StudentT"), "positive": ([1], "LogNormal"), "count": ([2], "Poisson"),
            "binary": ([3, 6], "Bernoulli"), "categorical_4": ([4], "Categorical"), "ordinal_3": ([5], "Ordinal"),
            "ordinal_5": ([8], "Ordinal"),
        })  # fmt: skip
        self.assertEqual({type(part).__name__ for _, part in made.likelihood().groups.values()} & {"Normal",
                         "NegativeBinomial"}, {"Normal", "NegativeBinomial"})  # fmt: skip


class FramesTest(tf.test.TestCase):
    def test_there_and_back_in_pandas(self):
        frame = of_pandas()
        made = table(frame, KINDS)
        self.assertAllEqual(made.mask, frame.notna().to_numpy())
        pd.testing.assert_frame_equal(made.frame(made.values), frame)
        full = pd.DataFrame({
            "i": np.array([1, 250, 3], np.uint8), "b": [True, False, True],
            "o": pd.Series(["x", "y", "x"], dtype=object),
            "f": np.array([0.1, 0.2, 0.3], np.float64), "c": pd.Categorical([3, 1, 2], categories=[3, 1, 2]),
            "a": pd.array([1, None, 3], dtype="int64[pyarrow]"),
        })  # fmt: skip
        made = table(full)
        pd.testing.assert_frame_equal(made.frame(made.values), full)

    def test_there_and_back_in_polars(self):
        frame = of_polars()
        made = table(frame, KINDS)
        pl.testing.assert_frame_equal(made.frame(made.values), frame)

    def test_other_frames_by_name(self):
        frame = of_pandas()
        made = table(frame, KINDS)
        shuffled = frame[list(reversed(frame.columns))]
        self.assertAllEqual(made.encode(shuffled).x, made.data.x)
        self.assertAllEqual(made.encode(of_polars()).mask, made.data.mask)  # of the other package, too
        plain = frame.astype(
            {"visits": "float64", "job": "object", "member": "object"}
        )  # as pandas has them with holes
        self.assertAllEqual(made.encode(plain).x, made.data.x)
        self.assertEqual(made.data.columns, made.names)

    def test_a_float_column_is_cut_to_the_integers_of_its_dtype(self):
        made = table(pd.DataFrame({"n": np.array([1, 200], np.uint8)}), {"n": "real"})
        found = made.frame([[-3.0], [2.6], [1e9]])
        pd.testing.assert_frame_equal(found, pd.DataFrame({"n": np.array([0, 3, 255], np.uint8)}))

    def test_the_schema_is_json_and_goes_with_the_model(self):
        made = table(of_pandas(), KINDS)
        again = Table.from_schema(json.loads(json.dumps(made.schema)))
        self.assertEqual(again.columns, made.columns)
        vae, folder = model(made), self.create_tempdir().full_path
        vae.save(f"{folder}/model.keras")
        loaded = Table.of(kvae.load_model(f"{folder}/model.keras"))
        self.assertEqual((loaded.columns, loaded.package, len(loaded)), (made.columns, "pandas", 0))
        pd.testing.assert_frame_equal(loaded.frame(made.values), of_pandas())
        vae.export(f"{folder}/1", verbose=False)
        with open(f"{folder}/1/assets.extra/manifest.json") as file:
            self.assertEqual(Table.from_schema(json.load(file)["schema"]).columns, made.columns)


class ModelTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_what_a_model_answers_are_frames(self):
        for frame in (of_pandas().set_axis(range(7, 7 + N)), of_polars()):
            made = table(frame, KINDS | {"size": "ordinal"})
            vae = model(made)
            vae.adapt(made.data)
            vae.fit(made.data, epochs=3, verbose=0)
            for output in ("point", "sample"):
                filled = made.impute(vae, frame, samples=20, seed=1, output=output)
                self.assertEqual((type(filled), list(filled.columns)), (type(frame), list(frame.columns)))
                again = made.encode(filled)
                self.assertIsNone(again.mask)
                self.assertFalse(vae.likelihood.support.outside(again.x).any())
                self.assertAllEqual(np.where(made.mask, again.x, 0.0), np.where(made.mask, made.data.x, 0.0))
            drawn, rebuilt = made.sample(vae, 30, seed=3), made.reconstruct(vae, frame)
            for one in (filled, drawn, rebuilt):
                self.assertFalse(vae.likelihood.support.outside(made.encode(one).x).any())
                dtypes = [str(dtype) for dtype in one.dtypes]
                self.assertEqual(dtypes, [str(dtype) for dtype in frame.dtypes])
            self.assertEqual(len(drawn), 30)
            if isinstance(frame, pd.DataFrame):
                self.assertAllEqual(filled.index, frame.index)
                self.assertEqual(filled["height"].where(frame["height"].notna()).dropna().tolist(),
                                 frame["height"].dropna().tolist())  # fmt: skip

    def test_a_column_that_was_never_observed_gets_no_gradient(self):
        """Whatever lies beneath the mask, the ELBO and all gradients are the same, and those of the column are 0."""
        made = table(of_polars(), KINDS)
        vae = model(made)
        vae.adapt(made.data)
        x, mask = made.data.x, made.mask.copy()
        mask[:, 2] = False
        found = []
        for value in (0.0, 5.0, np.nan):
            x = x.copy()
            x[:, 2] = value
            with tf.GradientTape() as tape:
                terms = vae.terms(x, mask=mask, seed=1)
                loss = tf.reduce_mean(terms.kl - terms.log_px_z)
            found.append([loss, *tape.gradient(loss, vae.trainable_weights)])
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                self.assertAllEqual(one, two)
        own = vae.likelihood.groups["count"][1].trainable_weights
        names = {weight.path for weight in own}
        for weight, gradient in zip(vae.trainable_weights, found[0][1:], strict=True):
            self.assertTrue(np.isfinite(gradient).all(), weight.path)
            self.assertEqual(np.abs(gradient).max() == 0.0, weight.path in names, weight.path)

    def test_points_are_the_best_single_values(self):
        """Of a mixture of two p: the mean, the rounded mean, the most likely label, the median grade."""
        made = table(of_polars(), KINDS | {"size": "ordinal"})
        vae = model(made)
        p = vae.decode(RANDOM.normal(size=(2, 5, 2)))
        weight = np.array([[0.9, 0.2, 0.5, 0.0, 0.7], [0.1, 0.8, 0.5, 1.0, 0.3]], np.float32)
        found = vae.likelihood.point(p, weight).numpy()
        mean = np.einsum("sb,sbd->bd", weight, p.mean().numpy())
        self.assertAllClose(found[:, [0, 1, 7]], mean[:, [0, 1, 7]], rtol=1e-5)
        self.assertAllEqual(found[:, 2], np.rint(mean[:, 2]))
        self.assertAllEqual(found[:, [3, 6]], mean[:, [3, 6]] > 0.5)
        for column, levels in ((4, 4), (5, 3), (8, 5)):
            grid = np.tile(np.arange(levels, dtype=np.float32)[:, None, None, None], (1, 2, 5, 9))
            each = np.exp(p.distribution.log_prob(np.where(np.arange(9) == column, grid, 0.0) + ONES)[..., column])
            mixed = np.einsum("sb,ksb->bk", weight, each)
            self.assertAllClose(mixed.sum(1), np.ones(5), rtol=1e-5)
            expected = mixed.argmax(1) if column == 4 else (np.cumsum(mixed, 1) < 0.5).sum(1)
            self.assertAllEqual(found[:, column], expected)


ONES = np.where(np.arange(9) == 1, 1.0, 0.0).astype(np.float32)  # the positive column


class HoldingOutTest(tf.test.TestCase):
    def test_a_share_of_the_observed_cells_is_hidden(self):
        data = table(of_pandas(), KINDS).data
        train = data.hide(0.25, seed=3)
        hidden = data.mask & ~train.mask
        self.assertFalse((train.mask & ~data.mask).any())
        self.assertGreater(stats.binomtest(int(hidden.sum()), int(data.mask.sum()), 0.25).pvalue, 0.01)
        self.assertAllEqual(data.hide(0.25, seed=3).mask, train.mask)
        self.assertNotAllEqual(data.hide(0.25, seed=4).mask, train.mask)
        holes = np.random.default_rng(3).random(data.mask.shape) >= 0.25  # a user's own, of the same seed
        again = data.replace(mask=holes).hide(0.25, seed=3).mask
        self.assertGreater(stats.binomtest(int((holes & ~again).sum()), int(holes.sum()), 0.25).pvalue, 0.01)
        whole = kvae.data.Split(np.zeros((4, 50))).hide(0.5)
        self.assertGreater(stats.binomtest(int((~whole.mask).sum()), 200, 0.5).pvalue, 0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The effective sample size")
def test_fifteen_lines_from_reading_to_filled_sampled_scored_and_exported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_pandas(5).to_parquet("people.parquet")

    frame = pd.read_parquet("people.parquet")
    people = kvae.data.table(frame, kinds={"price": "positive", "stars": "ordinal"})
    networks = kvae.networks.mlp(people.event_shape, 4, hidden=(32,), mask=True, classes=people.classes)
    vae = kvae.VAE(*networks, likelihood=people.likelihood())
    vae.compile("adam", jit_compile=False)
    vae.adapt(people.data)
    train = people.data.hide(0.1)
    stop = kvae.callbacks.HeldOutCells(people.data, train.mask, every=2, patience=2)
    vae.fit(train, epochs=8, callbacks=[stop], verbose=0)
    filled = people.impute(vae, frame)
    drawn = people.sample(vae, 100, seed=1)
    scores = vae.elbo(people.encode(frame), samples=10)
    vae.save("people.keras")
    vae.export("saved_models/people/1", verbose=False)

    assert not filled.isna().any(axis=None) and (filled.dtypes == frame.dtypes).all()
    assert not drawn.isna().any(axis=None) and (drawn.dtypes == frame.dtypes).all() and len(drawn) == 100
    assert np.isfinite(scores).all()
    served = tf.saved_model.load("saved_models/people/1").signatures["score"]
    rows = {"x": people.data.x, "mask": people.mask.astype(np.float32)}
    answer = served(**{name: tf.constant(one) for name, one in rows.items()}, seed=tf.range(N))
    assert answer["valid"].numpy().all() and np.isfinite(answer["elbo"]).all()
