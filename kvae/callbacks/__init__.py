"""Callbacks for `fit`."""

from kvae.callbacks.checkpoints import BestCheckpoint, Checkpoint
from kvae.callbacks.diagnose import Diagnose
from kvae.callbacks.frames import Frames
from kvae.callbacks.held_out_cells import HeldOutCells

__all__ = ["BestCheckpoint", "Checkpoint", "Diagnose", "Frames", "HeldOutCells"]
