"""SavedModels for serving, with what stands beside them."""

from kvae.export.manifest import signature_table
from kvae.export.saved_models import next_version, saved_model
from kvae.export.verification import verify

__all__ = ["next_version", "saved_model", "signature_table", "verify"]
