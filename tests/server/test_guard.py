"""Who may ask: names, pages of other sites, tokens; and what answers allow a browser to do."""

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from genrender.errors import ConfigError
from genrender.server.guard import HEADERS, MAX_BODY_BYTES, Access, Guard, own_hosts
from genrender.server.serve import Place

SECRET = "a secret of eight"


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def _client(token: str | None = None) -> TestClient:
    paths = ("/", "/api/about", "/api/runs", "/page/main.js")
    app = Starlette(routes=[Route(path, _answer, methods=["GET", "POST"]) for path in paths])
    return TestClient(
        Guard(app, Access(token=token), {"/api/about": 2 * MAX_BODY_BYTES}), "http://127.0.0.1:7860"
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "localhost:1"]
)
def test_the_server_answers_to_its_own_names(host):
    assert _client().get("/api/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:7860",
        "",
        "[::1",
        "10.0.0.1",
        "a@localhost.b",
    ],
)
def test_other_names_are_refused_whatever_they_lead_to(host):
    assert _client().get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1",
        "null",
        "http://127.0.0.1:78600",
        "file://",
    ],
)
def test_pages_of_other_sites_are_refused(origin):
    for method in ("GET", "POST"):
        assert _client().request(method, "/api/runs", headers={"Origin": origin}).status_code == 403


def test_the_own_page_may_ask():
    headers = {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}
    assert _client().post("/api/runs", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_embeds_is_refused_and_its_links_lead_to_the_page(site):
    embedded = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert _client().get("/api/runs", headers=embedded).status_code == 403
    assert _client().get("/api/runs", headers=followed).status_code == 403
    assert _client().get("/", headers=followed).status_code == 200
    assert _client().post("/", headers=followed).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {SECRET}"}, 200),
        ({"Authorization": f"bearer  {SECRET} "}, 200),
        ({"Authorization": f"Bearer {SECRET}x"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {SECRET}"}, 401),
        ({"Cookie": f'genrender_token="{SECRET}"'}, 200),
        ({"Cookie": "genrender_token=wrong"}, 401),
        ({"Cookie": "other=1; =;;"}, 401),
    ],
)
def test_a_token_is_wanted_in_a_header_or_a_cookie_and_never_in_the_address(headers, status):
    client = _client(SECRET)
    assert client.get("/api/runs", headers=headers).status_code == status
    assert client.get(f"/api/runs?token={SECRET}").status_code == 401
    # The page is the same for everybody; it asks for the token itself.
    assert client.get("/page/main.js").status_code == client.get("/").status_code == 200


def test_every_answer_tells_the_browser_what_it_may_do():
    for answer in (_client().get("/"), _client().get("/api/none"), _client().get("/", headers={"Host": "x"})):
        assert HEADERS.items() <= dict(answer.headers).items()
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers


def test_bodies_are_bounded_whether_they_tell_their_length_or_not():
    client, body = _client(), b"x" * (MAX_BODY_BYTES + 1)
    assert client.post("/api/runs", content=body).status_code == 413
    assert client.post("/api/about", content=body).text == str(len(body))
    parts = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    with pytest.raises(ClientDisconnect):
        client.post("/api/runs", content=parts)


def test_a_server_for_other_machines_wants_a_token_and_knows_its_names():
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 lets other machines in: give --token"):
        Place("0.0.0.0").check()
    with pytest.raises(ConfigError, match="--token has 3 characters"):
        Place("0.0.0.0", token="abc").check()
    Place("0.0.0.0", token=SECRET).check()
    assert {"localhost", "127.0.0.1"} < own_hosts("0.0.0.0", ["studio.example"])
    assert own_hosts("127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
