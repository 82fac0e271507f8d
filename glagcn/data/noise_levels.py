"""The levels of the detector noise.  This module does not import torch, so that flags are checked without delay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseLevel:
    """The size and share of the errors of a simulated 2D detector."""

    noise: float  # standard deviation of x and y of a joint of usual difficulty, as a fraction of the person's size
    spread: float  # standard deviation of the logarithm of the difficulty, which noise is proportional to
    approximated: float  # as noise, of the lasting offset of joints that detectors do not find as such
    outliers: float  # share of joints that lie anywhere near the person
    missing: float  # share of joints that are not found because they are occluded
    lost: float  # share of frames in which nothing is found
    swapped: float  # share of frames in which the arms have changed sides; also of those in which the legs have


# Chosen by judgement, not fitted to a detector: 1 % of a standing person is 2 cm.
LEVELS = {
    "moderate": NoiseLevel(
        noise=0.008, spread=0.5, approximated=0.015, outliers=0.003, missing=0.03, lost=0.005, swapped=0.005
    ),
    "heavy": NoiseLevel(
        noise=0.015, spread=0.8, approximated=0.03, outliers=0.01, missing=0.15, lost=0.03, swapped=0.02
    ),
}
