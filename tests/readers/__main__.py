"""Write a person with `glagcn lift` and read the files with the programs that they are for.

python -m tests.readers opensim|c3d|blender [FOLDER]

Each program is installed into an environment of its own, in FOLDER (kept) or a temporary one, and reads there with
read_PART.py, which knows nothing of this package: it compares with the .npz of the same command.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

from glagcn import cli
from glagcn.data.mocap.motion import joints_of

BLENDER = "bpy==5.0.1" if sys.version_info < (3, 13) else "bpy==5.2.3"
PARTS = {  # what pip installs, step by step
    "opensim": (["opensim==4.6"], ["--no-deps", "pose2sim==0.10.49"]),
    "c3d": (["ezc3d==1.7.2", "c3d==0.6.0"],),
    "blender": ([BLENDER],),
}
FOCAL, SIZE, FPS = 1100.0, 1000, 50
GAP = slice(60, 100)  # frames in which nobody is seen, longer than what is filled


def write(folder: Path, suffixes: tuple[str, ...]) -> None:
    """Lift a recorded walk, there and back, that an upright camera sees; in between nobody is seen for a while."""
    walk = joints_of("35_01", "mpi3dhp17")  # metres, y up
    joints = np.concatenate([walk, walk[::-1]])
    seen = (joints - joints.mean(axis=(0, 1))) * [1, -1, -1] + [0, 0, 6]
    pixels = FOCAL * seen[..., :2] / seen[..., 2:] + SIZE / 2
    pixels[GAP] = np.nan
    np.save(folder / "keypoints.npy", pixels)
    flags = ["--joints", "mpi3dhp17", "--image_size", f"{SIZE},{SIZE}", "--fps", f"{FPS}", "--rigid", "--floor"]
    outs = [flag for suffix in suffixes for flag in ("--out", str(folder / f"person{suffix}"))]
    for more in ([], ["--names", "mixamo"]):
        code = cli.main(["lift", str(folder / "keypoints.npy"), *flags, *outs, *more])
        assert not code, f"glagcn lift ended with {code}"
        if not more:
            (folder / "person.bvh").rename(folder / "ours.bvh")


def main(part: str, folder: Path) -> int:
    """0 if the reader finds what was written."""
    folder = folder.resolve()
    python = folder / part / "bin" / "python"
    if not python.exists():
        venv.create(folder / part, with_pip=True)
        for packages in PARTS[part]:
            install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
            if subprocess.run(install).returncode:
                print(f"skipped: {', '.join(packages)} could not be installed")
                return 0
    if part == "c3d":  # which this environment need not have
        found = subprocess.run(
            [python, "-c", "import ezc3d; print(ezc3d.__path__[0])"], check=True, capture_output=True, text=True
        )
        sys.path.append(str(Path(found.stdout.strip()).parent))
    write(folder, (".npz", ".bvh", ".trc", ".mot", *([".c3d"] if part == "c3d" else [])))
    reader = Path(__file__).with_name(f"read_{part}.py").resolve()
    return subprocess.run([python, reader, folder], cwd=folder).returncode  # OpenSim writes a log where it is run


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(main(sys.argv[1], Path(sys.argv[2])))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(sys.argv[1], Path(name)))
