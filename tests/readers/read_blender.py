"""Import both BVH files into Blender, compare every joint with person.npz, and write and read GLB and FBX."""

import sys
from pathlib import Path

import bpy
import numpy as np

folder = Path(sys.argv[1])
truth = np.load(folder / "person.npz")
expected = (truth["poses_mm"] + truth["root_mm"][:, None]) / 1000  # metres, z up, as Blender has it
LIMBS = {"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hip": "UpLeg", "knee": "Leg", "ankle": "Foot"}
MIXAMO = {"pelvis": "Hips", "spine": "Spine1", "neck": "Spine2", "head": "Head", "head_top": "HeadTop_End"}
WITHIN_M = 0.002


def mixamo(joint):
    side, _, part = joint.partition("_")
    return side.capitalize() + LIMBS[part] if part in LIMBS else MIXAMO[joint]


def armature():
    return next(thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE")


def compared(name, names):
    """The greatest distance in metres of any joint in any frame of the person."""
    rig, apart = armature(), 0.0
    for frame, pose in zip(truth["frame"].tolist(), expected, strict=True):
        bpy.context.scene.frame_set(frame + 1)  # BVH's first frame is Blender's frame 1
        heads = np.array([rig.matrix_world @ rig.pose.bones[names(str(joint))].head for joint in truth["joints"]])
        apart = max(apart, float(np.linalg.norm(heads - pose, axis=1).max()))
    rate = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    print(f"{name}: {len(rig.pose.bones)} bones, {rate:g} fps, joints within {1000 * apart:.2f} mm")
    assert rate == 50
    assert apart < WITHIN_M, f"{name}: {1000 * apart} mm"


for file, names in (("ours.bvh", str), ("person.bvh", mixamo)):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    path = str(folder / file)
    bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, update_scene_fps=True, update_scene_duration=True)
    lengths = [bone.length for bone in armature().data.bones]
    assert min(lengths) > 0.001, f"{file}: a bone of {min(lengths)} m"
    compared(file, names)
bpy.ops.export_scene.gltf(filepath=str(folder / "person.glb"))
bpy.ops.export_scene.fbx(filepath=str(folder / "person.fbx"), bake_anim_simplify_factor=0, add_leaf_bones=False)
for suffix, read in (("glb", bpy.ops.import_scene.gltf), ("fbx", bpy.ops.import_scene.fbx)):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 50
    read(filepath=str(folder / f"person.{suffix}"))
    compared(f"person.{suffix}", mixamo)
