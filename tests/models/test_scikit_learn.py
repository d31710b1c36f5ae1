"""The codes of a model as a step of a scikit-learn pipeline, as docs/training.md has it."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.conformance import make_vae

X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
Y = np.arange(20) % 2


def test_codes_in_a_pipeline():
    vae = make_vae(compiled=False)
    pipeline = make_pipeline(FunctionTransformer(lambda x: vae.encode(x).mean().numpy()), LogisticRegression())
    found = pipeline.fit(X, Y).predict_proba(X)
    code = vae.encode(X).mean().numpy()
    np.testing.assert_allclose(found, LogisticRegression().fit(code, Y).predict_proba(code), rtol=1e-6)


def test_the_wrapper_of_keras_cannot_hold_a_vae():
    """If this fails, Keras has changed, and docs/training.md is to say what is true now."""
    wrapper = keras.wrappers.SKLearnTransformer(make_vae())
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        wrapper.fit(X)
    with pytest.raises(RuntimeError, match="Given model needs to be compiled, and have a loss and an optimizer"):
        wrapper.fit(X, Y)
    wrapper.model_ = vae = make_vae()  # as if it were fitted
    wrapper.n_features_in_ = 6
    np.testing.assert_allclose(wrapper.transform(X), vae.reconstruct(X), rtol=1e-5)
