"""The levels of the detector noise.  This module does not import torch, so that flags are checked without delay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseLevel:
    """The size and share of the errors of a simulated 2D detector.

    noise         standard deviation of x and y of a joint of usual difficulty, as a fraction of the person's size.
    spread        standard deviation of the logarithm of the difficulty, which noise is proportional to.
    approximated  standard deviation of x and y of the lasting offset of joints that detectors do not find as such.
    outliers      share of joints that lie anywhere near the person.
    missing       share of joints that are not found because they are occluded.
    lost          share of frames in which nothing is found.
    swapped       share of frames in which the arms have changed sides; also of frames in which the legs have.
    """

    noise: float
    spread: float
    approximated: float
    outliers: float
    missing: float
    lost: float
    swapped: float


# Chosen by judgement, not fitted to a detector: 1 % of a standing person is 2 cm.
LEVELS = {
    "moderate": NoiseLevel(
        noise=0.008, spread=0.5, approximated=0.015, outliers=0.003, missing=0.03, lost=0.005, swapped=0.005
    ),
    "heavy": NoiseLevel(
        noise=0.015, spread=0.8, approximated=0.03, outliers=0.01, missing=0.15, lost=0.03, swapped=0.02
    ),
}
