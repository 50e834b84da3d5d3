"""For `DiffusionPipeline.from_pretrained(MODEL, controlnet=..., custom_pipeline=THIS_FOLDER)`."""

# Diffusers runs such files in one module and wants one pipeline there: both families use one name.
from genrender.pipeline import GenerativeRenderingXLPipeline as CustomPipeline

__all__ = ["CustomPipeline"]
