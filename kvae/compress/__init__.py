"""Lossless compression: files as long as the ELBO says."""

from kvae.compress.files import decode, encode

__all__ = ["decode", "encode"]
