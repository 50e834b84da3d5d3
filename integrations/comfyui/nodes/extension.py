"""The list of nodes."""

from comfy_api.latest import ComfyExtension, io

from .frames import SurfaceLockNode, SurfaceMetricsNode
from .injection import SurfaceInjectionNode
from .noise import SurfaceNoiseNode
from .passes import RenderPassesNode
from .scene import LoadPassesNode, LoadSceneNode


class GenRenderExtension(ComfyExtension):
    """Animated scenes to consistent video, by image models."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadSceneNode,
            LoadPassesNode,
            RenderPassesNode,
            SurfaceNoiseNode,
            SurfaceInjectionNode,
            SurfaceLockNode,
            SurfaceMetricsNode,
        ]


async def comfy_entrypoint() -> GenRenderExtension:
    return GenRenderExtension()
