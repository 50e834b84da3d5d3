"""What users choose about a scene by name, as the command line needs it: without numpy."""

from typing import Literal

UvMode = Literal["keep", "auto", "unwrap"]
ObjectsBy = Literal["node", "material", "mesh"]
