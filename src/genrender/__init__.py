"""genrender: an animated 3D scene and a sentence in, a temporally consistent video out."""

__version__ = "0.1.0"
