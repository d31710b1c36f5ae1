"""The codes of a model as a step of a scikit-learn pipeline, as docs/training.md has it."""

import numpy as np
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
