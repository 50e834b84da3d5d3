"""ComfyUI finds the nodes here."""

from .nodes.extension import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
