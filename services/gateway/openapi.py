"""The OpenAPI 3.1 document: what the routes say of themselves, and what is served in front of them."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from keyscope.asgi import HEADER
from services.gateway.shapes import Failure, NotSignedIn, ScopeAnswer

TITLE = "Keyscope"
DESCRIPTION = (
    "Publishable API keys scoped to sales channels: Medusa 2.21's Admin routes for keys and channels, a storefront's "
    "scope, and events as they happen."
)
SIGN_IN: list[dict[str, list[str]]] = [{"secretKey": []}, {"token": []}]
SCHEMES = {
    "secretKey": {"type": "http", "scheme": "basic", "description": "A secret API key as the user name, no password"},
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "publishableKey": {"type": "apiKey", "in": "header", "name": HEADER},
}

_REF = "#/components/schemas/{model}"
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "Not valid, or not allowed now"},
    401: {"model": NotSignedIn, "description": "Not signed in"},
    404: {"model": Failure, "description": "Not there"},
    413: {"model": Failure, "description": "The body is too large"},
    429: {"model": NotSignedIn, "description": "Too many failed sign-ins"},
    503: {"model": Failure, "description": "Not now: try again"},
    504: {"model": Failure, "description": "No answer in time: try again"},
}


def described(
    summary: str,
    answer: type[BaseModel] | None = None,
    *,
    body: type[BaseModel] | None = None,
    parameters: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """The keyword arguments of a route that describe it."""
    more: dict[str, Any] = {"security": SIGN_IN, "parameters": list(_parameters(parameters))}
    if body is not None:
        required = body.model_json_schema().get("required", [])
        schema = _schema(body)
        more["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": schema}}}
    answers = {200: {"model": answer, "description": "Done"}} if answer else {}
    return {"summary": summary, "responses": {**answers, **_REFUSALS}, "openapi_extra": more}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    schema.pop("$defs", None)
    return schema


def _parameters(model: type[BaseModel] | None) -> Iterator[dict[str, Any]]:
    if model is None:
        return
    schema = model.model_json_schema(by_alias=True)
    for name, described in schema["properties"].items():
        if name in ("$and", "$or"):
            continue  # what `$or[0][title]=…` is, OpenAPI cannot say
        yield {
            "name": name,
            "in": "query",
            "required": False,
            **({"description": described["description"]} if "description" in described else {}),
            "schema": _parameter_schema(described),
        }


def _parameter_schema(described: dict[str, Any]) -> dict[str, Any]:
    """Without references, and of a union its text: that is what `name=value` can say."""
    if "anyOf" in described:
        return {"type": "string"}
    return {name: value for name, value in described.items() if name not in ("description", "title", "default")}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    made = get_openapi(title=TITLE, version="1", description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0")
    components = made["components"]
    components["securitySchemes"] = SCHEMES
    components["schemas"]["ScopeAnswer"] = _schema(ScopeAnswer)
    components["schemas"].update(ScopeAnswer.model_json_schema(ref_template=_REF)["$defs"])
    # FastAPI's own validation has nothing to do: parameters and bodies are checked in Medusa's words.
    for model in ("HTTPValidationError", "ValidationError"):
        del components["schemas"][model]
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    made["paths"].update(_store())
    return made


def _store() -> dict[str, Any]:
    refused = {
        code: {
            "description": words,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model="Failure")}}},
        }
        for code, words in {
            "400": "The key is missing or not valid",
            "503": "Not now",
            "504": "No answer in time",
        }.items()
    }
    scope = {"schema": {"$ref": _REF.format(model="ScopeAnswer")}}
    common = {"tags": ["Store"], "security": [{"publishableKey": []}]}
    return {
        "/store/scope": {
            "get": {
                **common,
                "summary": "The sales channels of the publishable key in the header",
                "operationId": "store_scope",
                "responses": {
                    "200": {"description": "The context", "content": {"application/json": scope}},
                    **refused,
                },
            }
        },
        "/store/authorize": {
            "get": {
                **common,
                "summary": "The same for a proxy that asks before it lets a request pass: the answer is in the headers",
                "operationId": "store_authorize",
                "parameters": [
                    {
                        "name": "refuse",
                        "in": "query",
                        "required": False,
                        "description": "The status of a refusal instead of 400, for proxies that know no other",
                        "schema": {"type": "integer", "enum": [401, 403]},
                    }
                ],
                "responses": {
                    "204": {
                        "description": "Let it pass",
                        "headers": {
                            "x-sales-channel-ids": {
                                "description": "The ids, percent-encoded, separated by commas",
                                "schema": {"type": "string"},
                            }
                        },
                    },
                    "401": refused["400"],
                    "403": refused["400"],
                    **refused,
                },
            }
        },
    }
