"""Models: the one that is trained, its parts by name, its files, and the draws it offers to estimators."""

from kvae.models.saving import load_model
from kvae.models.vae import VAE

__all__ = ["VAE", "load_model"]
