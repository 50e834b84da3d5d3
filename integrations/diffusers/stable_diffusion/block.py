"""For `ModularPipelineBlocks.from_pretrained(THIS_FOLDER, trust_remote_code=True)`."""

from genrender.blocks import GenerativeRenderingBlock as _Block


class GenerativeRenderingBlock(_Block):
    __doc__ = _Block.__doc__
    _requirements = {"genrender": ">=0.2.0", "diffusers": ">=0.37"}  # noqa: RUF012 (diffusers reads it so)
