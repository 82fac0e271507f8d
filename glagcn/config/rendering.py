"""The options of --render."""

from dataclasses import dataclass
from typing import ClassVar

from glagcn.config.options import comma_separated, option


# fmt: off
@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """What to draw and where to write it.  Not part of Config: training and checkpoints do not depend on it."""

    title: ClassVar[str] = "rendering"
    trains: ClassVar[bool] = False

    render: bool = option(False, action="store_true", common=True,
        help="draw one sequence instead of training, with best.pt or the checkpoint of --evaluate")
    subject: str | None = option(None, key="viz_subject", common=True, metavar="NAME",
        help="subject or test sequence to draw, such as S11 or TS1")
    action: str | None = option(None, key="viz_action", common=True, metavar="NAME",
        help="action or sequence of the subject, such as Walking or Seq1")
    camera: int = option(0, key="viz_camera", type=int, metavar="N", help="camera number")
    output: str | None = option(None, key="viz_output", metavar="FILE", common=True,
        help="write the animation here: .gif or .mp4")
    video: str | None = option(None, key="viz_video", metavar="FILE", common=True,
        help="show the frames of this video behind the 2D poses")
    skip: int = option(0, key="viz_skip", type=int, metavar="N", help="start at frame N")
    limit: int | None = option(None, key="viz_limit", type=int, metavar="N", off=-1, help="show at most N frames")
    downsample: int = option(1, key="viz_downsample", type=int, metavar="N",
        help="show every N-th frame, at the frame rate divided by N")
    size: float = option(5.0, key="viz_size", type=float, metavar="INCHES",
        help="height of the picture, at 100 pixels per inch")
    bitrate: int = option(3000, key="viz_bitrate", type=int, metavar="KBPS", help="bit rate of the .mp4, kbit/s")
    ground_truth: bool = option(True, key="viz_ground_truth", flag="--viz_no_ground_truth", action="store_false",
        help="do not show the ground truth")
    export: str | None = option(None, key="viz_export", metavar="FILE",
        help="write the coordinates of the frames shown: .npz or .csv")
    keypoints: str | None = option(None, key="viz_keypoints", metavar="FILE",
        help="lift the 2D poses of this file instead of a sequence of the data set: what detectors write, .npy, .npz")
    joints: str | None = option(None, key="viz_joints", metavar="NAME",
        help="order of the joints of --viz_keypoints, such as coco17, where the file and its format do not tell")
    image_size: tuple[int, ...] | None = option(None, key="viz_image_size", metavar="W,H", type=comma_separated(int),
        help="size in pixels of the images of --viz_keypoints")
    fps: float | None = option(None, key="viz_fps", type=float, metavar="F",
        help="frames per second, if poses and video do not state it or are wrong")
