"""Where a finished video goes in Blender: the sequencer, the camera's view, the objects."""

from pathlib import Path

import bpy

from .genrender_passes import SURFACES
from .job import Request, frame_files

MATERIAL = "genrender"
# What is said of pictures that were loaded here.
OWN = "genrender"
NO_CAMERA = "the scene has no camera any more, through which the video could be seen"


def _video(folder: Path) -> tuple[Request, list[Path]]:
    return Request.load(folder), frame_files(folder)


def _shown_as_painted(scene, name: str) -> str:
    """The colour space with which the scene's view transform shows a picture with the colours it has."""
    return {"AgX": "AgX Base sRGB", "Filmic": "Filmic sRGB"}.get(scene.view_settings.view_transform, name)


def _set_colours(settings, scene) -> None:
    known = settings.bl_rna.properties["name"].enum_items.keys()
    name = _shown_as_painted(scene, "sRGB")
    settings.name = name if name in known else "sRGB"


def as_strip(scene, folder: Path) -> str:
    """Adds an image strip that begins where the video does, on the first channel that is free there."""
    request, frames = _video(folder)
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # before Blender 4.4
    first, last = request.frames[0], request.frames[0] + len(frames)
    taken = {one.channel for one in strips if one.frame_final_start < last and one.frame_final_end > first}
    channel = next(number for number in range(1, 129) if number not in taken)
    strip = strips.new_image(
        name="genrender", filepath=str(frames[0]), channel=channel, frame_start=first, fit_method="STRETCH"
    )
    for file in frames[1:]:
        strip.elements.append(file.name)
    strip.frame_final_duration = len(frames)
    _set_colours(strip.colorspace_settings, scene)
    return f"strip {strip.name} on channel {channel}"


def _image(scene, folder: Path, frames: list[Path]):
    image = bpy.data.images.load(str(frames[0]), check_existing=False)
    image.name, image[OWN] = f"genrender {folder.name}", True
    image.source = "SEQUENCE"
    _set_colours(image.colorspace_settings, scene)
    return image


def _play(user, request: Request, frames: list[Path]) -> None:
    """The scene's frames show the video's; the first file has the number 0."""
    user.frame_duration = len(frames)
    user.frame_start = request.frames[0]
    user.frame_offset = -1
    user.use_auto_refresh = True


def as_background(scene, folder: Path) -> str:
    """Shows the video in front of what the scene's camera sees."""
    if scene.camera is None:
        return NO_CAMERA
    request, frames = _video(folder)
    camera = scene.camera.data
    camera.show_background_images = True
    own = (one for one in camera.background_images if one.image is not None and OWN in one.image)
    background = next(own, None) or camera.background_images.new()
    before = background.image
    background.image = _image(scene, folder, frames)
    if before is not None and not before.users:
        bpy.data.images.remove(before)
    background.image.colorspace_settings.name = "sRGB"  # backgrounds are shown without the view transform
    _play(background.image_user, request, frames)
    background.display_depth, background.alpha, background.frame_method = "FRONT", 1.0, "STRETCH"
    return f"background of {scene.camera.name}"


def open_picture(file: Path) -> None:
    """Loads a picture, and shows it where an image editor is open, else in a window of its own."""
    image = bpy.data.images.load(str(file), check_existing=True)
    image.reload()
    manager = bpy.context.window_manager
    editors = [one for window in manager.windows for one in window.screen.areas if one.type == "IMAGE_EDITOR"]
    if not editors and manager.windows and not bpy.app.background:
        bpy.ops.wm.window_new()
        editors = [manager.windows[-1].screen.areas[0]]
        editors[0].type = "IMAGE_EDITOR"
    for area in editors:
        area.spaces.active.image = image


def as_material(scene, folder: Path) -> str:
    """Projects the video from the scene's camera onto the objects that took part.

    Their own materials stay in their meshes: the slots of the objects show others, until `without_material`.
    """
    if scene.camera is None:
        return NO_CAMERA
    request, frames = _video(folder)
    without_material(scene, folder)
    material = projector(scene, request, _image(scene, folder, frames), frames)
    left_out = {tuple(one) for one in request.left_out}
    n_objects = 0
    for thing in scene.objects:
        library = thing.library.filepath if thing.library else ""
        if (
            thing.type not in SURFACES
            or (thing.name, library) in left_out
            or thing.library
            or thing.data.library
        ):
            continue
        if not thing.material_slots:
            thing.data.materials.append(None)  # a slot, which without this material looks as before
        for slot in thing.material_slots:
            kept = thing.genrender.kept.add()
            kept.link, kept.material = slot.link, slot.material if slot.link == "OBJECT" else None
            slot.link = "OBJECT"
            slot.material = material
        n_objects += 1
    return f"material {material.name} on {n_objects} objects"


def without_material(scene, _folder: Path) -> str:
    """Gives objects the slots back that `as_material` took."""
    n_objects = 0
    for thing in scene.objects:
        for slot, kept in zip(thing.material_slots, thing.genrender.kept, strict=False):
            slot.link = "OBJECT"
            slot.material = kept.material
            slot.link = kept.link
        n_objects += len(thing.genrender.kept) > 0
        thing.genrender.kept.clear()
    return f"{n_objects} objects show their own materials"


def projector(scene, request: Request, image, frames: list[Path]):
    """A material that shows, at every point, what the camera sees there at that frame.

    A point's place in the camera's space, divided by its depth (perspective) and scaled by the lens, is its
    place in the picture. Drivers follow the lens, so the camera may zoom.
    """
    camera, (width, height) = scene.camera, request.size
    aspect = (width * request.pixel_aspect[0]) / (height * request.pixel_aspect[1])
    material = bpy.data.materials.new(MATERIAL)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    node, link = tree.nodes.new, tree.links.new
    place, split = node("ShaderNodeTexCoord"), node("ShaderNodeSeparateXYZ")
    place.object = camera
    link(place.outputs["Object"], split.inputs[0])

    def maths(operation: str, *values):
        made = node("ShaderNodeMath")
        made.operation = operation
        for socket, value in zip(made.inputs, values, strict=False):
            if isinstance(value, float):
                socket.default_value = value
            else:
                link(value, socket)
        return made.outputs[0]

    x, y, z = split.outputs
    if camera.data.type == "PERSP":
        depth = maths("MULTIPLY", z, -1.0)
        x, y = maths("DIVIDE", x, depth), maths("DIVIDE", y, depth)
    zoom = _zoom(tree, camera)
    wide, high = (1.0, aspect) if _is_wide(camera, aspect) else (1 / aspect, 1.0)
    join = node("ShaderNodeCombineXYZ")
    for socket, value, scale, shift in ((0, x, wide, "shift_x"), (1, y, high, "shift_y")):
        scaled = maths("MULTIPLY", value, zoom)
        moved = maths("SUBTRACT", scaled, _driven(tree, camera, shift))
        link(maths("MULTIPLY_ADD", moved, scale, 0.5), join.inputs[socket])
    picture, shine, end = (
        node("ShaderNodeTexImage"),
        node("ShaderNodeEmission"),
        node("ShaderNodeOutputMaterial"),
    )
    picture.image, picture.extension = image, "EXTEND"
    _play(picture.image_user, request, frames)
    link(join.outputs[0], picture.inputs["Vector"])
    link(picture.outputs["Color"], shine.inputs["Color"])
    link(shine.outputs[0], end.inputs["Surface"])
    return material


def _is_wide(camera, aspect: float) -> bool:
    """Whether the sensor's width, and not its height, is what the lens is about."""
    fit = camera.data.sensor_fit
    return fit == "HORIZONTAL" or (fit == "AUTO" and aspect >= 1)


def _zoom(tree, camera):
    """Widths (or heights) of the picture that a unit at distance 1 takes."""
    if camera.data.type == "ORTHO":
        return _driven(tree, camera, "ortho_scale", "1 / value")
    sensor = "sensor_height" if camera.data.sensor_fit == "VERTICAL" else "sensor_width"
    return _driven(tree, camera, "lens", "value / sensor", sensor)


def _driven(tree, camera, path: str, expression: str = "value", sensor: str = ""):
    """A number that follows the camera's."""
    made = tree.nodes.new("ShaderNodeValue")
    driver = made.outputs[0].driver_add("default_value").driver
    for name, followed in (("value", path), ("sensor", sensor)):
        if followed:
            variable = driver.variables.new()
            variable.name = name
            target = variable.targets[0]
            target.id_type, target.id, target.data_path = "CAMERA", camera.data, followed
    driver.expression = expression
    return made.outputs[0]
