"""What requests of the API hold, as OpenAPI tells it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Settings = Annotated[dict[str, Any], Field(description="options of `genrender render` by name")]
Side = Annotated[int, Field(ge=1, le=2048)]
Seconds = Annotated[float, Field(ge=-1e9, le=1e9)]


# Of routes that take files.
FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}


class Form(BaseModel):
    """Further entries are mistakes, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Orbit(Form):
    """The viewer's own camera."""

    azimuth_deg: Annotated[float, Field(ge=-36000, le=36000)] = 35.0
    elevation_deg: Annotated[float, Field(ge=-90, le=90)] = 18.0
    distance: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    pan: tuple[Annotated[float, Field(ge=-100, le=100)], Annotated[float, Field(ge=-100, le=100)]] = (
        0.0,
        0.0,
    )
    yfov_deg: Annotated[float, Field(ge=1, le=170)] = 40.0
    is_orthographic: bool = False


class View(Form):
    """A picture of a scene at one moment."""

    settings: Settings = {}
    frame: Annotated[int, Field(ge=0, le=99_999)] = 0
    time_s: Seconds | None = None
    mode: Literal["shaded", "depth", "uv", "objects"] = "shaded"
    width: Side = 256
    height: Side = 256
    orbit: Orbit | None = None


class Pick(View):
    """What a pixel of it shows."""

    x: Annotated[float, Field(ge=0, le=2048)]
    y: Annotated[float, Field(ge=0, le=2048)]


class OfSettings(Form):
    """Settings alone."""

    settings: Settings = {}


class Request(Form):
    """A run that is asked for."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    scene: str | None = None
    settings: Settings = {}
    of: Annotated[
        str | None, Field(alias="from", description="a run whose scene and settings hold as well")
    ] = None
    name: str | None = None
    batch: Annotated[
        str | None, Field(min_length=1, max_length=100, description="what it belongs to, with others")
    ] = None


class Wish(Form):
    """Files that a finished run is to get."""

    also: Annotated[list[str], Field(max_length=10)] = []
    upscale: Annotated[str | None, Field(max_length=1000)] = None


class Words(Form):
    """A text for a model."""

    model: str = "pocket"
    text: Annotated[str, Field(max_length=10_000)]


class Name(Form):
    """What a run is called."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class Token(Form):
    """What the server was begun with."""

    token: Annotated[str, Field(max_length=1000)]
