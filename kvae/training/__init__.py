"""`compile`, `fit` and `evaluate`: Keras' own, with a fast path for arrays and checks before the first step."""
