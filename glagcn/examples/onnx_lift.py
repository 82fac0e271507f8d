"""Lift 2D keypoints with a model that `glagcn export --layout onnx` wrote.  Needs onnxruntime and NumPy alone.

    python -m glagcn.examples.onnx_lift MODEL.onnx KEYPOINTS.npy WIDTH HEIGHT POSES.npy [FOCAL]

KEYPOINTS.npy  [T,V,2] pixels of an image of WIDTH x HEIGHT, or for a model with confidences [T,V,3].
POSES.npy      [T,V,3] metres relative to the root.
FOCAL          focal length in pixels; without it, that of a view of 55 degrees along the longer side.
"""

import json
import sys

import numpy as np
import onnxruntime

BATCH = 64


def main(model: str, keypoints: str, width: float, height: float, out: str, focal: float | None = None) -> None:
    """Read, lift and write."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # by default all cores, whose threads wait for each other without sleeping
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    frames, target, joints = (json.loads(metadata[name]) for name in ("frames", "target_frame", "input_joints"))
    channels = json.loads(metadata["input_channels"])

    pixels = np.load(keypoints).astype(np.float32)
    if pixels.ndim != 3 or pixels.shape[1:] != (joints, len(channels)):
        sys.exit(f"{keypoints} has shape {pixels.shape}; expected (T, {joints}, {len(channels)}): {channels}")
    pixels[..., :2] = (2 * pixels[..., :2] - (width, height)) / np.float32(width)  # a confidence stays as it is
    # A window of `frames` frames around each frame; beyond the ends the first and the last are repeated.
    padded = np.pad(pixels, ((target, frames - 1 - target), (0, 0), (0, 0)), mode="edge")
    windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(padded, frames, axis=0), -1, 1)
    inputs = {}
    if metadata["frame"] == "ray":  # the lens in normalised coordinates: focal lengths, and the middle of the image
        focal = focal or max(width, height) / 2 / np.tan(np.radians(55) / 2)
        inputs["lens"] = np.array([2 * focal / width, 2 * focal / width, 0, 0], np.float32)
    starts = range(0, len(windows), BATCH)
    parts = [np.ascontiguousarray(windows[i : i + BATCH]) for i in starts]
    np.save(out, np.concatenate([session.run(None, {"keypoints": part} | inputs)[0] for part in parts]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5], *map(float, sys.argv[6:7]))
