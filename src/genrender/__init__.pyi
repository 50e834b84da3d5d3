# What `__getattr__` gives, for editors and type checkers.
from genrender.config import PRESETS as PRESETS
from genrender.config import MethodConfig as MethodConfig
from genrender.errors import GenRenderError as GenRenderError
from genrender.pipeline import load_pipeline as load_pipeline
from genrender.runs.finished import open_run as open_run
from genrender.runs.folder import RunFolder as RunFolder
from genrender.runs.make import make_video as make_video
from genrender.scene.load import load_scene as load_scene
from genrender.shots.clip import ShotConfig as ShotConfig
from genrender.shots.clip import render_clip as render_clip

__version__: str
