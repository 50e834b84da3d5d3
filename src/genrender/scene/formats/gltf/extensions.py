"""How each glTF extension is treated: read, ignored as it changes no geometry, or reported as missing."""

from collections.abc import Iterable

READ = {
    "EXT_mesh_gpu_instancing",
    "EXT_meshopt_compression",
    "KHR_animation_pointer",
    "KHR_draco_mesh_compression",
    "KHR_mesh_quantization",
    "KHR_meshopt_compression",
    "KHR_node_visibility",
    "KHR_texture_transform",
}
# Materials, pictures and lights: depth, objects and surface points are the same without them.
SILENT_PREFIXES = (
    "KHR_materials_",
    "EXT_materials_",
    "KHR_texture_",
    "EXT_texture_",
    "MSFT_texture_",
    "MSFT_packing_",
    "KHR_lights_",
    "EXT_lights_",
    "ADOBE_materials_",
    "KHR_audio",
    "KHR_xmp",
)
# Data about data, sound, and what only happens when somebody touches it.
SILENT = {
    "AGI_stk_metadata",
    "CESIUM_primitive_outline",
    "EXT_feature_metadata",
    "EXT_instance_features",
    "EXT_mesh_features",
    "EXT_mesh_manifold",
    "EXT_structural_metadata",
    "FB_geometry_metadata",
    "GODOT_single_root",
    "KHR_interactivity",
    "KHR_node_hoverability",
    "KHR_node_selectability",
    "KHR_techniques_webgl",
    "MSFT_audio_emitter",
    "VRM",
    "VRMC_materials_mtoon",
    "VRMC_vrm",
}
# What is missing in the picture where a file uses one of these; of others that are not listed nobody knows.
MISSED = {
    "AGI_articulations": "articulated parts stand still",
    "CESIUM_RTC": "everything stands at another place in the world",
    "KHR_gaussian_splatting": "its splats are not shown",
    "KHR_implicit_shapes": "its shapes are not shown",
    "KHR_physics_rigid_bodies": "what physics would move stands still",
    "MPEG_mesh_linking": "what the linked mesh would move stands still",
    "MSFT_lod": "the finest level of detail is shown at any distance",
    "OMI_physics_body": "what physics would move stands still",
    "VRMC_node_constraint": "nodes that follow others stand still",
    "VRMC_springBone": "hair and clothes do not swing",
}


def is_understood(name: str) -> bool:
    """Whether a file with this extension is shown as its author saw it, as far as depth and surfaces go."""
    return name in READ or name in SILENT or name.startswith(SILENT_PREFIXES)


def missed(used: Iterable[object]) -> list[str]:
    """A line for each extension of a file that is not read and may change what is shown."""
    names = dict.fromkeys(str(name) for name in used)
    return [
        f"uses the extension {name[:80]}, which is not read: "
        f"{MISSED.get(name, 'what it adds, moves or hides is not shown so')}"
        for name in names
        if not is_understood(name)
    ]
