"""The frame that every REST route is declared in.

A route is one declaration: the decorator says method, path, status, response and errors; the handler's
signature says the rest. The frame reads both once, when the module is imported, and from then on they
drive validation, authentication and the OpenAPI document alike, so that none can tell another story.

    routes = Routes("workouts")

    @routes.put("/workouts/{id}", response=Workout, errors=("precondition_failed",))
    async def edit_workout(
        request: web.Request, caller: Identity, path: WorkoutPath, body: WorkoutEdit, if_match: IfMatch
    ) -> Reply:
        '''Change a workout's own fields.'''        # the summary in the documents

What a handler may take, by name:

    request    the aiohttp request, for the app's parts (`request.app[KEY]`)
    caller     Identity: the route needs an access token; Identity | None: it takes one
    path       a model of the path's parameters; what does not fit it names nothing: 404
    query      a model of the query string: 422 with each field's error
    body       a model of the JSON body: 400 unreadable, 413, 415, 422
    payload    the JSON or msgpack body of a `wire` route as plain values, not validated: 400, 413, 415
    if_match   IfMatch: the route needs If-Match: 428
    key        Key | None: the Idempotency-Key

It returns a `Reply`, or a model or document for the declared status, or None for an empty answer; or a
response of its own making.

A `wire` route is a twin of a live event: it speaks JSON and msgpack, compressed or not (see `media`), and
its problems carry `ok: false` and `message` besides, as the event's answers do.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from fitai.gateways import occasion
from fitai.gateways.identity import Authenticator, Identity, NotAuthenticated
from fitai.http import conditional, media
from fitai.http.problems import CATALOGUE, FieldError, Problem, invalid, not_found, translate

BODY_BYTES = 1024 * 1024  # the largest request body, after decompression, unless set otherwise
WIRE_BYTES = 1024 * 1024  # the same for a `wire` route
BODY_S = 15.0  # the longest that a body may take to arrive

AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("fitai_authenticator", Authenticator)
BODY_SECONDS: web.AppKey[float] = web.AppKey("fitai_body_seconds", float)

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)

_TAKES = ("request", "caller", "path", "query", "body", "payload", "if_match", "key")
_JSON = re.compile(r"application/(?:[!#$&^_.+\w-]+\+)?json", re.ASCII | re.IGNORECASE)
_PARAMETER = re.compile(r"\{(\w+)\}")


class Schema(BaseModel):
    """A JSON object of this API: strictly typed (`"1"` is no integer), no NaN or Infinity."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Query(BaseModel):
    """The parameters of a query string, which are all text; unknown ones are errors, as they are typos."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: a body (None: empty), the declared status unless another is given."""

    body: BaseModel | Mapping[str, Any] | None = None
    status: int | None = None
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One declaration, as compiled from decorator and signature (see the module)."""

    method: str
    path: str
    tag: str
    handler: Handler
    summary: str
    description: str
    status: int
    response: type[BaseModel] | None
    response_etag: bool
    errors: tuple[str, ...]
    takes: frozenset[str]
    caller_optional: bool
    path_model: type[BaseModel] | None
    query_model: type[BaseModel] | None
    body_model: type[BaseModel] | None
    wire: bool
    also: tuple[str, ...]
    scope: str | None
    limit: str

    @property
    def name(self) -> str:
        """The operation's id: the handler's name."""
        return self.handler.__name__

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: authenticate, read, validate, call, encode. Raises what `problems` knows."""
        try:
            arguments = await self._arguments(request)
            return self._response(request, await self.handler(request, **arguments))
        except Exception as error:
            problem = translate(error) if self.wire else None
            if problem is None:
                raise
            raise problem.as_answer() from error

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        """The handler's arguments. The caller comes first: strangers learn nothing from validation."""
        arguments: dict[str, Any] = {}
        if "caller" in self.takes:
            arguments["caller"] = await self._caller(request)
        if self.path_model is not None:
            arguments["path"] = _named(self.path_model, request.match_info)
        if self.query_model is not None:
            arguments["query"] = _validated(self.query_model, _flat(request), "query")
        if "if_match" in self.takes:
            arguments["if_match"] = conditional.if_match(request)
        raw = await self._body(request)
        if "payload" in self.takes:
            arguments["payload"] = (
                media.parse_msgpack(raw)
                if media.is_msgpack(request)
                else parse_json(request, raw, f"{media.JSON}, {media.MSGPACK}")
            )
        elif self.body_model is not None:
            arguments["body"] = _validated(self.body_model, parse_json(request, raw), "body")
        if "key" in self.takes:
            arguments["key"] = conditional.idempotency_key(request, raw)
        return arguments

    async def _body(self, request: web.Request) -> bytes:
        if "payload" in self.takes:
            return await read_body(request, WIRE_BYTES)
        return await read_body(request) if self.takes & {"body", "key"} else b""

    async def _caller(self, request: web.Request) -> Identity | None:
        if self.caller_optional and "Authorization" not in request.headers:
            return None
        caller = await request.app[AUTHENTICATOR].authenticate(bearer(request))
        occasion.called_by(caller)
        return caller

    def _response(self, request: web.Request, answer: Any) -> web.StreamResponse:
        if isinstance(answer, web.StreamResponse):
            return answer
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        headers = {"Cache-Control": "no-store", **reply.headers}
        if reply.etag is not None:
            headers["ETag"] = reply.etag
            # Kept by the caller, but asked for again each time.
            headers["Cache-Control"] = "private, no-cache"
            if request.method in ("GET", "HEAD") and conditional.none_match(request, reply.etag):
                return web.Response(status=304, headers=headers)
        status = reply.status or self.status
        if reply.body is None:
            return web.Response(status=status, headers=headers)
        if self.wire:
            return media.wire_response(request, reply.body, status, headers)
        return web.Response(
            status=status, body=encode(reply.body), content_type="application/json", headers=headers
        )


class Routes:
    """The declared routes of one domain, in order; `tag` groups them in the documents."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.declared: list[Route] = []

    def get(self, path: str, **declaration: Any) -> Callable[[H], H]:
        """Declare a GET (and HEAD); `declaration` as for `route`."""
        return self.route("GET", path, **declaration)

    def post(self, path: str, **declaration: Any) -> Callable[[H], H]:
        """Declare a POST; `declaration` as for `route`."""
        return self.route("POST", path, **declaration)

    def put(self, path: str, **declaration: Any) -> Callable[[H], H]:
        """Declare a PUT; `declaration` as for `route`."""
        return self.route("PUT", path, **declaration)

    def patch(self, path: str, **declaration: Any) -> Callable[[H], H]:
        """Declare a PATCH; `declaration` as for `route`."""
        return self.route("PATCH", path, **declaration)

    def delete(self, path: str, **declaration: Any) -> Callable[[H], H]:
        """Declare a DELETE; `declaration` as for `route`."""
        return self.route("DELETE", path, **declaration)

    def route(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        response: type[BaseModel] | None = None,
        etag: bool = False,
        errors: Iterable[str] = (),
        wire: bool = False,
        accepts: type[BaseModel] | None = None,
        also: Iterable[str] = (),
        scope: str | None = None,
        limit: str = "default",
    ) -> Callable[[H], H]:
        """Declare a route. `errors` are the codes that the handler itself may answer, `etag` says that the
        answer carries one; those that follow from the signature (401, 404, 422…) are added. `wire` routes
        see the module; `accepts` describes what such a handler takes as `payload`, `also` names further
        media types of the answer. Raises TypeError for a handler that the frame cannot serve, when its module
        is imported.
        """

        def declare(handler: H) -> H:
            self.declared.append(
                _compiled(
                    handler,
                    method=method,
                    path=path,
                    tag=self.tag,
                    status=status,
                    response=response,
                    response_etag=etag,
                    errors=tuple(errors),
                    wire=wire,
                    accepts=accepts,
                    also=tuple(also),
                    scope=scope,
                    limit=limit,
                )
            )
            return handler

        return declare


def install(app: web.Application, routes: Iterable[Route]) -> None:
    """Serve each route as written and with `/v1` in front."""
    for route in routes:
        for prefix in ("", "/v1"):
            if route.method == "GET":
                app.router.add_get(prefix + route.path, route.serve)
            else:
                app.router.add_route(route.method, prefix + route.path, route.serve)


def _compiled(
    handler: Handler,
    *,
    errors: tuple[str, ...],
    path: str,
    accepts: type[BaseModel] | None,
    **declared: Any,
) -> Route:
    takes = list(inspect.signature(handler).parameters)
    unknown = set(takes) - set(_TAKES)
    if unknown or takes[:1] != ["request"]:
        raise TypeError(f"{handler.__name__} must take request, then only {', '.join(_TAKES[1:])}")
    hints = typing.get_type_hints(handler)
    models = {name: _model(handler, hints, name) for name in ("path", "query", "body")}
    parameters = set(models["path"].model_fields) if models["path"] else set()
    if parameters != set(_PARAMETER.findall(path)):
        raise TypeError(f"{handler.__name__}: {path} and its path model name different parameters")
    summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n\n")
    if not summary:
        raise TypeError(f"{handler.__name__} needs a docstring: it is the route's summary")
    return Route(
        handler=handler,
        path=path,
        summary=" ".join(summary.split()).removesuffix("."),
        description=description,
        errors=_all_errors(frozenset(takes), errors),
        takes=frozenset(takes),
        caller_optional=hints.get("caller") != Identity,
        path_model=models["path"],
        query_model=models["query"],
        body_model=models["body"] or accepts,
        **declared,
    )


def _model(handler: Handler, hints: dict[str, Any], name: str) -> type[BaseModel] | None:
    model = hints.get(name)
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{handler.__name__}: `{name}` must be a pydantic model")
    return model


_FOLLOWING: Mapping[str, tuple[str, ...]] = {
    "caller": ("unauthorized", "token_expired", "device_revoked"),
    "path": ("not_found",),
    "query": ("validation_failed",),
    "body": ("bad_request", "request_timeout", "too_large", "unsupported_media_type", "validation_failed"),
    "payload": ("bad_request", "request_timeout", "too_large", "unsupported_media_type"),
    "if_match": ("precondition_required", "precondition_failed", "validation_failed"),
    "key": ("idempotency_key_reused", "validation_failed"),
}


def _all_errors(takes: frozenset[str], own: tuple[str, ...]) -> tuple[str, ...]:
    """The handler's own codes and those that its arguments bring, in the order of the catalogue."""
    following = {code for name in takes for code in _FOLLOWING.get(name, ())}
    unknown = set(own) - set(CATALOGUE)
    if unknown:
        raise TypeError(f"no such problem: {', '.join(sorted(unknown))}")
    return tuple(code for code in CATALOGUE if code in following | set(own) | {"unavailable"})


def bearer(request: web.Request) -> str:
    """The token of `Authorization: Bearer …`; raises NotAuthenticated without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("unauthorized", "An access token is needed.")
    return token.strip()


async def read_body(request: web.Request, limit: int | None = None) -> bytes:
    """The whole body, inflated, bounded in size (before and after) and time; raises Problem."""
    limit = limit or request.client_max_size
    if (request.content_length or 0) > limit:
        raise media.too_large(limit)
    raw = bytearray()
    try:
        async with asyncio.timeout(request.app[BODY_SECONDS]):
            while chunk := await request.content.readany():
                raw += chunk
                if len(raw) > limit:
                    raise media.too_large(limit)
    except TimeoutError:
        raise Problem("request_timeout", headers={"Connection": "close"}) from None
    except web.RequestPayloadError as error:
        raise Problem("bad_request", f"The body cannot be read: {error}") from None
    return media.inflated(request, bytes(raw), limit)


def parse_json(request: web.Request, raw: bytes, accepted: str = media.JSON) -> Any:
    """The body as plain values, strictly by RFC 8259 (no NaN, no lone surrogate, at most 1,024 levels).

    An empty body is an empty object, whatever its type. Raises bad_request, or unsupported_media_type with
    the types that are `accepted`.
    """
    if not raw:
        return {}
    if _JSON.fullmatch(request.content_type) is None or (request.charset or "utf-8").lower() not in (
        "utf-8",
        "utf8",
        "us-ascii",
    ):
        raise Problem("unsupported_media_type", headers={"Accept": accepted})
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem("bad_request", f"The body is not JSON: {error}.") from None


def encode(body: BaseModel | Mapping[str, Any]) -> bytes:
    """A model or a plain document as JSON."""
    if isinstance(body, BaseModel):
        body = body.model_dump(mode="json")
    return orjson.dumps(body)


def _flat(request: web.Request) -> dict[str, str]:
    """The query as one value per name; raises validation_failed for a name that comes twice."""
    query = request.query
    twice = sorted({name for name in query if len(query.getall(name)) > 1})
    if twice:
        raise invalid(FieldError("query", name, "repeated", "may come once only") for name in twice)
    return dict(query)


def _named(model: type[BaseModel], parameters: Mapping[str, str]) -> BaseModel:
    try:
        return model.model_validate(dict(parameters))
    except ValidationError:
        raise not_found() from None


def _validated(model: type[BaseModel], value: Any, where: str) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(_field_errors(error, where)) from None


def _field_errors(error: ValidationError, where: str) -> list[FieldError]:
    """pydantic's errors without its links and without the value: a password must not come back in print."""
    return [
        FieldError(where, ".".join(map(str, item["loc"])), item["type"], item["msg"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
