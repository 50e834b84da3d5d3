"""What is saved in the .blend: settings of a scene, of objects and of collections."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

PRESETS = [
    ("balanced", "Balanced", "What measures best"),
    ("fast", "Fast", "Fewer steps"),
    ("preview", "Preview", "Very few steps, to see whether the prompt is right"),
    ("paper", "As published", "The settings of the paper, without our improvements"),
]
ROADS = [
    ("exr", "Passes by Cycles", "Depth, texture coordinates and objects of all that Blender can render"),
    (
        "usd",
        "USD",
        "Exact surface points, for modifiers, simulations and instances whose faces stay the same",
    ),
    ("glb", "glTF", "Exact surface points, in small files"),
]
CHARTS = [
    (
        "overlapping",
        "Make where needed",
        "For objects without texture coordinates, or whose charts lie over each other",
    ),
    ("missing", "Make where missing", "For objects without texture coordinates"),
    ("none", "Keep", "Objects without texture coordinates keep a single colour of noise"),
]


class GenrenderScene(bpy.types.PropertyGroup):
    prompt: StringProperty(name="Prompt", description="What the video shows")
    negative_prompt: StringProperty(name="Not", description="What the video does not show")
    preset: EnumProperty(name="Preset", items=PRESETS, default="balanced")
    model: StringProperty(
        name="Model",
        description="pocket (small, for trying), sd15, a file, a folder in diffusers' layout, or a hub id",
        default="pocket",
    )
    seed: IntProperty(name="Seed", description="Of all that is drawn by chance", min=0)
    size: IntProperty(
        name="Size",
        description="Pixels of the longer side",
        default=512,
        min=64,
        max=4096,
        step=64,
        subtype="PIXEL",
    )
    road: EnumProperty(name="Scene as", items=ROADS, default="exr")
    charts: EnumProperty(name="UVs", items=CHARTS, default="overlapping")
    options: StringProperty(
        name="Options", description="Further options of genrender render, such as --lora ink.safetensors"
    )
    folder: StringProperty(
        name="Folder",
        description="Where videos are made. A file that is not saved yet uses the add-on's own folder",
        default="//genrender",
        subtype="DIR_PATH",
    )
    as_strip: BoolProperty(
        name="Sequencer", description="Add the video as a strip of the sequencer", default=True
    )
    as_background: BoolProperty(
        name="Camera background", description="Show the video in front of the camera's view"
    )
    as_material: BoolProperty(
        name="Material", description="Project the video from the camera onto the objects that took part"
    )
    job: StringProperty(
        name="Last job", description="Folder of the last video of this scene", options={"HIDDEN"}
    )


class GenrenderKept(bpy.types.PropertyGroup):
    """What a material slot of an object was before the video was shown there."""

    link: StringProperty(default="DATA")
    material: PointerProperty(type=bpy.types.Material)


class GenrenderPart(bpy.types.PropertyGroup):
    """Of an object, or of all objects of a collection that say nothing themselves."""

    takes_part: BoolProperty(name="Take part", description="Whether the video shows it", default=True)
    prompt: StringProperty(name="Prompt", description="What this shows; empty: the scene's prompt says it")
    kept: CollectionProperty(type=GenrenderKept, options={"HIDDEN"})


CLASSES = (GenrenderScene, GenrenderKept, GenrenderPart)
OWNERS = (
    (bpy.types.Scene, GenrenderScene),
    (bpy.types.Object, GenrenderPart),
    (bpy.types.Collection, GenrenderPart),
)


def register() -> None:
    for one in CLASSES:
        bpy.utils.register_class(one)
    for owner, kind in OWNERS:
        owner.genrender = PointerProperty(type=kind)


def unregister() -> None:
    for owner, _ in OWNERS:
        del owner.genrender
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)
