"""The page and its API as one application."""

import mimetypes
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

import genrender
from genrender.backbones.samplers import sampler_names
from genrender.config import PRESETS
from genrender.errors import GenRenderError
from genrender.methods.table import METHODS
from genrender.options.settings import setting_groups, setting_in
from genrender.server import answers, forms
from genrender.server.answers import tells
from genrender.server.asking import OWN_MODELS, check_source
from genrender.server.file_routes import file_routes
from genrender.server.guard import COOKIE, Access, Guard, is_known
from genrender.server.refused import Refused
from genrender.server.run_routes import run_routes
from genrender.server.scene_routes import MAX_PICTURE_BYTES, scene_routes
from genrender.server.studio import Studio, facts_of

PAGE = Path(__file__).parent / "page"
COOKIE_S = 30 * 86_400
WORDS_TIMEOUT_S = 60.0
# What a form adds around its files.
FORM_BYTES = 2**20
PAGE_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def make_app(studio: Studio, access: Access) -> ASGIApp:
    """The application of a studio.

    Args:
        studio: outlives the application.
        access: who may ask.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        studio.events.begin()
        yield
        studio.events.end()

    app = FastAPI(
        title="genrender",
        version=genrender.__version__,
        description="What the page asks, and any other client; in words: docs/http_api.md.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    for routes in (
        about_routes(studio, access),
        scene_routes(studio),
        run_routes(studio),
        file_routes(studio),
    ):
        app.include_router(routes)
    _add_page(app)
    _add_errors(app, studio)
    upload_bytes = studio.config.uploads.bytes + FORM_BYTES
    bodies = {
        "/api/scenes": upload_bytes,
        "/api/recover": upload_bytes,
        "/api/pictures": MAX_PICTURE_BYTES + FORM_BYTES,
    }
    return Guard(app, access, bodies)


def about_routes(studio: Studio, access: Access) -> APIRouter:
    """The routes about the server itself, models and settings."""
    routes = APIRouter(prefix="/api")

    @routes.get("/about", **tells(answers.About))
    async def about(request: Request) -> dict[str, Any]:
        """What this server is, whether it wants a token, and how much it takes."""
        is_allowed = is_known(access, request.headers)
        told = {
            "version": genrender.__version__,
            "needs_token": access.token is not None,
            "is_allowed": is_allowed,
        }
        if not is_allowed:
            return told
        devices = [device or "automatic" for device in studio.config.devices]
        return {**told, "devices": devices, "limits": facts_of(studio.config)}

    @routes.post("/session", status_code=204, **tells(None, 204))
    async def session(asked: forms.Token, request: Request, response: Response) -> None:
        """Changes the token into a cookie."""
        if not access.is_token(asked.token):
            raise Refused("the token is wrong: give the one that the server was begun with", 401)
        is_secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, asked.token, COOKIE_S, httponly=True, samesite="strict", secure=is_secure)

    @routes.get("/settings", **tells(answers.Settings))
    async def settings() -> dict[str, Any]:
        """All settings, by groups."""
        return {"groups": [asdict(group) for group in setting_groups()]}

    @routes.get("/models", **tells(answers.Models))
    def models() -> dict[str, Any]:
        """Models and what else jobs may name, presets, samplers and methods."""
        names = [*OWN_MODELS, *studio.config.sources]
        found, _ = studio.reader.call("models", WORDS_TIMEOUT_S, names=names)
        presets = [
            {
                "name": name,
                "settings": {
                    "steps": preset.n_steps,
                    "scheduler": preset.sampler,
                    "guidance": preset.guidance_scale,
                },
            }
            for name, preset in PRESETS.items()
        ]
        return {
            "models": found,
            "sources": list(studio.config.sources),
            "presets": presets,
            "schedulers": sampler_names(),
            "methods": [{"name": name, "about": method.summary} for name, method in METHODS.items()],
        }

    @routes.post("/words", **tells(answers.Unknown))
    def words(asked: forms.Words) -> dict[str, Any]:
        """Words of a text that a model does not know."""
        check_source(studio, "model", asked.model)
        return studio.reader.call("words", WORDS_TIMEOUT_S, model=asked.model, text=asked.text)[0]

    return routes


def _add_page(app: FastAPI) -> None:
    """The page's files, of which each is known by name: no path of a request is joined to a folder."""
    files = {file.relative_to(PAGE).as_posix(): file for file in PAGE.rglob("*") if file.is_file()}

    def sent(name: str) -> FileResponse:
        file = files.get(name)
        if file is None:
            raise HTTPException(404)
        kind = PAGE_TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return FileResponse(file, media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return sent("index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return sent("mark.svg")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def of_page(name: str) -> FileResponse:
        return sent(name)


def _add_errors(app: FastAPI, studio: Studio) -> None:
    """Every answer that is none has one form: a line for people, and the setting that it is about."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return _told(error.status, str(error), error.field)

    @app.exception_handler(GenRenderError)
    async def known(_: Request, error: GenRenderError) -> JSONResponse:
        text = studio.plain(" ".join(str(error).splitlines()))
        return _told(422, text, setting_in(text))

    @app.exception_handler(RequestValidationError)
    async def misfit(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "the request"
        return _told(422, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}", where)

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        text = {
            400: "the request's body is no JSON, or is larger than this server takes",
            404: "there is no such address",
            405: "this address is asked in another way",
        }.get(error.status_code)
        return _told(error.status_code, text or str(error.detail))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return _told(413, "the request has ended early, or is larger than this server takes")

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:
        traceback.print_exception(error)
        return _told(500, f"something is wrong in the server ({type(error).__name__}); its log tells more")


def _told(status: int, text: str, field: str | None = None) -> JSONResponse:
    return JSONResponse({"error": text, "field": field}, status)
