"""docs/people.gif: the most moving test sequences of the recorded people, lifted by `centred`, while the view turns.

    python tools/readme_picture.py docs/people.gif

Left the keypoints of the camera, right the lifted person on the floor, with the path of the pelvis.  Of the takes of up
to 200 frames those two are shown whose person goes farthest towards the camera or away from it, from the moment on in
which the person has left the place.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import glagcn
from glagcn.data.dataset import Sequence
from glagcn.data.mocap.motion import lenses, mocap_source
from glagcn.poses.result import in_space
from glagcn.skeletons import get_skeleton

SKELETON = get_skeleton("mpi3dhp17")
HEIGHT, WIDTH, MIDDLE = 300, 760, 380  # pixels; MIDDLE is where the right part begins
FINER = 3  # drawn larger, and scaled down
TAKES, STEP, LONGEST, FIRST_STEP_MM = 2, 2, 200, 250
VIEW_MM, AWAY_MM, RAISED = 2300, 6500, 0.3  # how much is seen around the person, how far away, and from above
BACKGROUND, PANEL, FLOOR, SHADOW, TRAIL = "#ffffff", "#eef1f5", "#d5dae1", "#dde1e7", "#e3a008"
SIDES = {"left": "#2b6cb0", "right": "#c53030", "middle": "#222222"}


def most_moving() -> list[Sequence]:
    """The sequences, the most moving one first; one camera of each take."""
    found = {}
    for sequence in mocap_source().read("test"):
        way = float(np.ptp(sequence.millimetres[:, SKELETON.root, 2]))
        take = sequence.info.name.rpartition("/")[0]
        if sequence.info.length <= LONGEST and way > found.get(take, (0,))[0]:
            found[take] = way, sequence
    return [sequence for _, sequence in sorted(found.values(), key=lambda pair: -pair[0])[:TAKES]]


def bones() -> list[tuple[int, int, str]]:
    """(child, parent, colour) of every bone."""
    sides = [
        "left" if joint in SKELETON.left else "right" if joint in SKELETON.right else "middle"
        for joint in range(SKELETON.num_joints)
    ]
    pairs = enumerate(SKELETON.parents)
    return [(joint, parent, SIDES[sides[joint]]) for joint, parent in pairs if joint != parent]


def project(points: np.ndarray, centre: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Upright points [...,3] mm to pixels [...,2] of the right part, and how many pixels a millimetre has [...]."""
    x, y, z = np.moveaxis(points - centre, -1, 0)
    right, level = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    up, depth = np.cos(RAISED) * z + np.sin(RAISED) * level, AWAY_MM + np.cos(RAISED) * level - np.sin(RAISED) * z
    scale = HEIGHT / VIEW_MM * AWAY_MM / np.maximum(depth, 500)
    places = np.stack([(MIDDLE + WIDTH) / 2 + right * scale, 0.54 * HEIGHT - up * scale], axis=-1)
    return places, scale


def line(draw: ImageDraw.ImageDraw, ends: np.ndarray, width: float, colour: str) -> None:
    """A line with round ends through pixels [n,2]."""
    points = [tuple(point) for point in (ends * FINER).tolist()]
    draw.line(points, fill=colour, width=max(1, round(width * FINER)), joint="curve")
    radius = width * FINER / 2
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def floor_lines(centre: np.ndarray) -> np.ndarray:
    """[n,2,3] of squares of half a metre around `centre`."""
    (x, y), reach = np.round(centre[:2] / 500) * 500, 2000
    along = np.arange(-reach, reach + 1, 500)
    lines = [[(x + part, y - reach, 0), (x + part, y + reach, 0)] for part in along]
    return np.array(lines + [[(x - reach, y + part, 0), (x + reach, y + part, 0)] for part in along])


def lifted(sequence: Sequence) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The places [T,V,3] in space and the pixels [T,V,2] from the first step on, and the image size."""
    info, name = sequence.info, sequence.info.name
    size, focal = (info.width, info.height), float(lenses("mocap")[name][0])
    (person,) = glagcn.lift(
        sequence.pixels, joints="mpi3dhp17", image_size=size, fps=30, focal=focal, smooth=6, floor=True
    )
    (places,) = in_space([person])
    gone = np.linalg.norm(places[:, SKELETON.root, :2] - places[0, SKELETON.root, :2], axis=-1)
    begin = int(np.argmax(gone > FIRST_STEP_MM))
    print(f"{name}: frames {begin} to {info.length - 1}")
    return places[begin:], person.pixels[begin:], size


def draw_space(draw: ImageDraw.ImageDraw, places: np.ndarray, number: int, centre: np.ndarray, turn: float) -> None:
    """The floor, the path so far and the person of frame `number`."""
    for ends in floor_lines(centre):
        points = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, 9)[:, None]
        line(draw, project(points, centre, turn)[0], 0.7, FLOOR)
    on_floor = places * [1, 1, 0]
    if number:
        line(draw, project(on_floor[: number + 1, SKELETON.root], centre, turn)[0], 2.5, TRAIL)
    ground, _ = project(on_floor[number], centre, turn)
    for child, parent, _ in bones():
        line(draw, ground[[child, parent]], 4, SHADOW)
    joints, scales = project(places[number], centre, turn)
    for child, parent, colour in sorted(bones(), key=lambda bone: scales[[bone[0], bone[1]]].mean()):
        line(draw, joints[[child, parent]], 60 * scales[child] + 2, BACKGROUND)
        line(draw, joints[[child, parent]], 60 * scales[child], colour)


def draw_image(draw: ImageDraw.ImageDraw, pixels: np.ndarray, size: tuple[int, int]) -> None:
    """The keypoints [V,2] in their image."""
    scale = min((MIDDLE - 20) / size[0], (HEIGHT - 50) / size[1])
    offset = np.array([(MIDDLE - size[0] * scale) / 2, 36 + (HEIGHT - 46 - size[1] * scale) / 2])
    draw.rectangle((0, 0, MIDDLE * FINER - 1, HEIGHT * FINER), fill=BACKGROUND)
    box = [*(offset * FINER), *((offset + np.array(size) * scale) * FINER)]
    draw.rounded_rectangle(box, 6 * FINER, fill=PANEL)
    for child, parent, colour in bones():
        line(draw, (pixels * scale + offset)[[child, parent]], 2.5, colour)


def main() -> None:
    """Lift the sequences, draw them and write the picture."""
    takes = [lifted(sequence) for sequence in most_moving()]
    total = sum(len(range(0, len(places), STEP)) for places, *_ in takes)
    font = ImageFont.truetype("DejaVuSans.ttf", 14 * FINER)
    pictures: list[Image.Image] = []
    for places, pixels, size in takes:
        root = places[:, SKELETON.root]
        around = np.clip(np.arange(len(root))[:, None] + np.arange(-15, 16), 0, len(root) - 1)
        centres = root[around].mean(axis=1) * [1, 1, 0] + [0, 0, 850]
        for number in range(0, len(places), STEP):
            picture = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), BACKGROUND)
            draw = ImageDraw.Draw(picture)
            draw_space(draw, places, number, centres[number], -0.6 + 2 * np.pi * len(pictures) / total)
            draw_image(draw, pixels[number], size)
            for x, text in ((MIDDLE / 2, "2D keypoints in"), ((MIDDLE + WIDTH) / 2, "3D out, from any side")):
                draw.text((x * FINER, 18 * FINER), text, fill="#444444", font=font, anchor="mm")
            pictures.append(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    sample = Image.new("RGB", (WIDTH, HEIGHT * 4))
    for row in range(4):
        sample.paste(pictures[(row + 1) * len(pictures) // 4 - 1], (0, row * HEIGHT))
    palette = sample.quantize(64, dither=Image.Dither.NONE)
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    delay = round(100 * STEP / 30) * 10  # ms, in the steps of GIF
    small[0].save(sys.argv[1], save_all=True, append_images=small[1:], duration=delay, loop=0, optimize=False)


if __name__ == "__main__":
    main()
