"""Who is let in, who is not, and how often one may try."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import keyscope
from services.gateway.limits import FailureLimit
from tests.support.http import SECRET, Gateway, client, gateway, token
from tests.support.service import Service

KEYS = "/admin/api-keys"


async def status(http: httpx.AsyncClient, authorization: str | None) -> int:
    """What a request with this header is answered."""
    headers = {} if authorization is None else {"authorization": authorization}
    return (await http.get(KEYS, headers=headers)).status_code


def basic(secret: str) -> str:
    return f"Basic {base64.b64encode(f'{secret}:'.encode()).decode()}"


@pytest.fixture
async def secret(ks: keyscope.Keyscope) -> keyscope.types.ApiKey:
    """A secret key."""
    return await ks.api_keys.create({"title": "Server", "type": "secret"})


@pytest.mark.parametrize(
    "authorization",
    [
        None, "", "Basic", "Bearer", "Bearer nope", "Basic nope", "Basic c2tfbm9wZTo=", "Basic sk_nope",
        "Digest username=x", "sk_nope", f"Bearer {'x' * 9000}", "Basic sk_\u00e4",
    ],
)  # fmt: skip
async def test_strangers_stay_outside(stranger: httpx.AsyncClient, authorization: str | None) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    for path in (KEYS, "/admin/nope", "/admin", "/events"):
        response = await stranger.get(path, headers=headers)
        assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("form", ["{0}", "{0}:"])
async def test_a_secret_key_signs_in_plainly_and_in_base64(
    stranger: httpx.AsyncClient, secret: keyscope.types.ApiKey, form: str
) -> None:
    text = form.format(secret["token"])
    assert await status(stranger, f"Basic {text}") == 200
    assert await status(stranger, f"basic {base64.b64encode(text.encode()).decode()}") == 200


async def test_a_secret_key_costs_one_scrypt_for_many_requests(
    stranger: httpx.AsyncClient, secret: keyscope.types.ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.domain import tokens

    computed = 0

    def scrypt(raw: str, salt: str, real: Any = tokens.scrypt) -> str:
        nonlocal computed
        computed += 1
        return str(real(raw, salt))

    monkeypatch.setattr(tokens, "scrypt", scrypt)
    assert set(await asyncio.gather(*(status(stranger, basic(secret["token"])) for _ in range(20)))) == {200}
    assert computed == 1


async def test_a_revoked_key_is_out_at_once(
    stranger: httpx.AsyncClient, secret: keyscope.types.ApiKey, ks: keyscope.Keyscope
) -> None:
    assert await status(stranger, basic(secret["token"])) == 200
    await ks.api_keys.revoke(secret["id"], {"revoked_by": "user_1"})
    async with asyncio.timeout(30):
        while await status(stranger, basic(secret["token"])) == 200:
            await asyncio.sleep(0.005)
    assert await status(stranger, basic(secret["token"])) == 401


async def test_whoever_revokes_it_here_never_gets_in_with_it_again(
    stranger: httpx.AsyncClient, admin: httpx.AsyncClient, secret: keyscope.types.ApiKey
) -> None:
    assert await status(stranger, basic(secret["token"])) == 200
    await admin.post(f"{KEYS}/{secret['id']}/revoke")
    assert await status(stranger, basic(secret["token"])) == 401


async def test_a_token_that_lies_is_not_believed(stranger: httpx.AsyncClient) -> None:
    assert await status(stranger, f"Bearer {token()}") == 200
    now = time.time()
    for lie in (
        token(secret="another secret that nobody shares with us"),
        token(exp=now - 1),
        token(nbf=now + 60),
        token(actor=""),
        token(actor=7),  # type: ignore[arg-type]
        jwt.encode({"sub": "user_1"}, SECRET, "HS256"),
        jwt.encode({"sub": "user_1", "exp": now + 60}, "", "none"),
    ):
        assert await status(stranger, f"Bearer {lie}") == 401


async def test_issuer_audience_and_claims_are_demanded(service: Service) -> None:
    demanded = {
        "http_jwt_issuer": "shop",
        "http_jwt_audience": "keyscope",
        "http_jwt_claims": {"actor_type": "user"},
        "http_jwt_actor_claim": "actor_id",
    }
    good = {"iss": "shop", "aud": "keyscope", "actor_type": "user", "actor_id": "user_7"}
    async with gateway(service, **demanded) as running, client(running) as http:
        created = await http.post(
            KEYS,
            headers={"authorization": f"Bearer {token(**good)}"},
            json={"title": "x", "type": "publishable"},
        )
        assert created.json()["api_key"]["created_by"] == "user_7"
        for name in good:
            bad = {**good, name: "other"} if name != "actor_id" else {**good, name: None}
            assert await status(http, f"Bearer {token(**bad)}") == 401


class Published:
    """A server that publishes keys."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.asked = 0
        published = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                published.asked += 1
                body = json.dumps({"keys": [published.jwk(id) for id in published.keys]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def jwk(self, id: str) -> dict[str, Any]:
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.keys[id].public_key(), as_dict=True)
        return {**public, "kid": id, "alg": "ES256", "use": "sig"}

    def token(self, id: str) -> str:
        key = self.keys.setdefault(id, ec.generate_private_key(ec.SECP256R1()))
        return jwt.encode({"sub": "user_1", "exp": time.time() + 60}, key, "ES256", headers={"kid": id})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def published() -> Iterator[Published]:
    server = Published()
    yield server
    server.close()


async def test_published_keys_are_believed_and_looked_up_once(
    service: Service, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = published.token("one")
    async with (
        gateway(service, http_jwt_jwks_url=published.url, http_jwt_secret=None) as running,
        client(running) as http,
    ):
        assert {await status(http, f"Bearer {good}") for _ in range(5)} == {200}
        assert published.asked == 1
        assert await status(http, f"Bearer {token()}") == 401

        stolen = {"one": published.keys["one"]}
        published.keys.clear()
        forged = published.token("one")
        published.keys = stolen
        assert await status(http, f"Bearer {forged}") == 401

        rotated = published.token("two")
        assert await status(http, f"Bearer {rotated}") == 401  # a key that is not there is not looked for all the time
        assert published.asked == 1
        monkeypatch.setattr("services.gateway.jwts.PAUSE", 0.0)
        assert await status(http, f"Bearer {rotated}") == 200
        assert published.asked == 2


@asynccontextmanager
async def strict(service: Service, **settings: object) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    async with gateway(service, http_failed_sign_ins=3, **settings) as running, client(running) as http:
        yield running, http


async def test_who_fails_too_often_must_wait(
    service: Service, secret: keyscope.types.ApiKey, ks: keyscope.Keyscope
) -> None:
    other = await ks.api_keys.create({"title": "Other", "type": "secret"})
    async with strict(service) as (_, http):
        assert await status(http, basic(secret["token"])) == 200
        assert [await status(http, basic("sk_wrong")) for _ in range(5)] == [401, 401, 401, 429, 429]
        refused = await http.get(KEYS, headers={"authorization": basic(other["token"])})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert await status(http, f"Bearer {token()}") == 429
        assert await status(http, None) == 401
        assert await status(http, basic(secret["token"])) == 200  # who is in stays in


async def test_behind_a_proxy_the_limit_is_the_clients(service: Service) -> None:
    async with strict(service) as (_, http):
        for _ in range(4):
            await http.get(KEYS, headers={"authorization": basic("sk_wrong"), "x-forwarded-for": "192.0.2.1"})
        one = {"authorization": basic("sk_wrong"), "x-forwarded-for": "192.0.2.1"}
        two = {"authorization": basic("sk_wrong"), "x-forwarded-for": "192.0.2.2"}
        assert (await http.get(KEYS, headers=one)).status_code == 429
        assert (await http.get(KEYS, headers=two)).status_code == 401


def test_the_limit_forgets_with_time_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limit = FailureLimit(2)
    for _ in range(2):
        assert limit.wait("192.0.2.1") == 0
        limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") == 2
    now = 2.0
    assert limit.wait("192.0.2.1") == 0

    limit.failed("2001:db8::1")
    limit.failed("2001:db8::2")
    assert limit.wait("2001:db8::3") == 2
    for number in range(20_000):
        limit.failed(f"10.0.{number >> 8}.{number & 255}")
    assert len(limit._buckets) == 10_000
