"""A probabilistic time-evolution operator on the codes of a VAE: a reduced-order model."""

