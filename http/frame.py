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
from pydantic import BaseModel, ConfigDict

from fitai.gateways import occasion
from fitai.gateways.identity import Authenticator, Identity
from fitai.http import conditional, media, reading
from fitai.http.boundary import EXTRA
from fitai.http.deprecation import Deprecated
from fitai.http.limits.rates import CLASSES, Limiter
from fitai.http.problems import CATALOGUE, Problem, forbidden, translate

WIRE_BYTES = 1024 * 1024  # the largest body of a `wire` route
ANSWER_S = 30.0  # the longest that a request may be worked on, unless set otherwise

AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("fitai_authenticator", Authenticator)
LIMITER: web.AppKey[Limiter] = web.AppKey("fitai_limiter", Limiter)
ANSWER_SECONDS: web.AppKey[float] = web.AppKey("fitai_answer_seconds", float)

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)
T = TypeVar("T")

_TAKES = ("request", "caller", "path", "query", "body", "payload", "if_match", "key")
_SCOPE = re.compile(r"[a-z]+:(?:read|write)")
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
    limit: str | None
    deprecated: Deprecated | None

    @property
    def name(self) -> str:
        """The operation's id: the handler's name."""
        return self.handler.__name__

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: admit, read, validate, call, encode. Raises what `problems` knows.

        Work that takes too long is called off: what it was writing is stored whole or not at all.
        """
        if self.deprecated is not None:
            request[EXTRA].update(self.deprecated.headers())
        try:
            caller = await _in_time(request, self._admitted(request))
            arguments = await self._arguments(request, caller)
            return self._response(request, await _in_time(request, self.handler(request, **arguments)))
        except Exception as error:
            problem = translate(error) if self.wire else None
            if problem is None:
                raise
            raise problem.as_answer() from error

    async def _admitted(self, request: web.Request) -> Identity | None:
        """The caller, when it may call this now; None for one that has no token and needs none."""
        limiter = None if self.limit is None else request.app.get(LIMITER)
        if limiter is not None and self.limit is not None:
            await limiter.from_address(request, self.limit)
        if "caller" not in self.takes or (self.caller_optional and "Authorization" not in request.headers):
            return None
        caller = await request.app[AUTHENTICATOR].authenticate(reading.bearer(request))
        occasion.called_by(caller)
        if not caller.may(self.scope):
            raise forbidden(self.scope)
        if limiter is not None and self.limit is not None:
            await limiter.by_account(request, self.limit, caller.user)
        return caller

    async def _arguments(self, request: web.Request, caller: Identity | None) -> dict[str, Any]:
        """The handler's arguments. The caller came first: strangers learn nothing from validation."""
        arguments: dict[str, Any] = {}
        if "caller" in self.takes:
            arguments["caller"] = caller
        if self.path_model is not None:
            arguments["path"] = reading.named(self.path_model, request.match_info)
        if self.query_model is not None:
            arguments["query"] = reading.validated(self.query_model, reading.flat_query(request), "query")
        if "if_match" in self.takes:
            arguments["if_match"] = conditional.if_match(request)
        raw = await self._body(request)
        if "payload" in self.takes:
            arguments["payload"] = (
                media.parse_msgpack(raw)
                if media.is_msgpack(request)
                else reading.parse_json(request, raw, f"{media.JSON}, {media.MSGPACK}")
            )
        elif self.body_model is not None:
            arguments["body"] = reading.validated(self.body_model, reading.parse_json(request, raw), "body")
        if "key" in self.takes:
            arguments["key"] = conditional.idempotency_key(request, raw)
        return arguments

    async def _body(self, request: web.Request) -> bytes:
        if "payload" in self.takes:
            return await reading.read_body(request, WIRE_BYTES)
        return await reading.read_body(request) if "body" in self.takes else b""

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
        # What holds tokens is never compressed beside what somebody else may have put in (BREACH).
        return media.json_response(request, encode(reply.body), status, headers, plain=self.limit == "auth")


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
        limit: str | None = "default",
        deprecated: Deprecated | None = None,
    ) -> Callable[[H], H]:
        """Declare a route. `errors` are the codes that the handler itself may answer, `etag` says that the
        answer carries one; those that follow from the signature (401, 404, 422…) are added.

        scope       what a personal token must have to call it; None: only people may
        limit       its class of rates (`limits.rates`); None: it is not counted
        deprecated  it should not be used any more
        wire        see the module; `accepts` describes what such a handler takes as `payload`, `also` names
                    further media types of the answer

        Raises TypeError for a handler that the frame cannot serve, when its module is imported.
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
                    deprecated=deprecated,
                )
            )
            return handler

        return declare


def install(app: web.Application, routes: Iterable[Route]) -> None:
    """Serve each route as written and with `/v1` in front.

    A path that is a case of another one's template (`/workouts/shared`, `/workouts/{id}`) answers every
    method: one that it lacks is not looked for in the template.
    """
    routes = list(routes)
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.path, set()).update(_with(route.method))
    for path, known in methods.items():
        for prefix in ("", "/v1"):
            resource = app.router.add_resource(prefix + path)
            for route in routes:
                if route.path == path:
                    for method in _with(route.method):
                        resource.add_route(method, route.serve)
            if any(_is_case(path, other) for other in methods):
                resource.add_route("*", _refusing(known))


def _with(method: str) -> set[str]:
    return {"GET", "HEAD"} if method == "GET" else {method}


def _is_case(path: str, template: str) -> bool:
    """Whether requests for `path` would also fit the other path's template."""
    pattern = _PARAMETER.sub("[^{}/]+", template)
    return path != template and re.fullmatch(pattern, path) is not None


def _refusing(known: set[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, known)

    return refuse


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
    _check_access(handler, takes, declared["scope"], declared["limit"])
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
        errors=_all_errors(frozenset(takes), errors, counted=declared["limit"] is not None),
        takes=frozenset(takes),
        caller_optional=hints.get("caller") != Identity,
        path_model=models["path"],
        query_model=models["query"],
        body_model=models["body"] or accepts,
        **declared,
    )


def _check_access(handler: Handler, takes: list[str], scope: str | None, limit: str | None) -> None:
    if limit is not None and limit not in CLASSES:
        raise TypeError(f"{handler.__name__}: a limit is one of {', '.join(CLASSES)}, or None")
    if scope is not None and ("caller" not in takes or _SCOPE.fullmatch(scope) is None):
        raise TypeError(f"{handler.__name__}: a scope is like `workouts:read`, and takes a caller")


def _model(handler: Handler, hints: dict[str, Any], name: str) -> type[BaseModel] | None:
    model = hints.get(name)
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{handler.__name__}: `{name}` must be a pydantic model")
    return model


_FOLLOWING: Mapping[str, tuple[str, ...]] = {
    "caller": ("unauthorized", "token_expired", "device_revoked", "forbidden"),
    "path": ("not_found",),
    "query": ("validation_failed",),
    "body": ("bad_request", "request_timeout", "too_large", "unsupported_media_type", "validation_failed"),
    "payload": ("bad_request", "request_timeout", "too_large", "unsupported_media_type"),
    "if_match": ("precondition_required", "precondition_failed", "validation_failed"),
    "key": ("idempotency_key_reused", "validation_failed"),
}


def _all_errors(takes: frozenset[str], own: tuple[str, ...], *, counted: bool) -> tuple[str, ...]:
    """The handler's own codes and those that its declaration brings, in the order of the catalogue."""
    following = {code for name in takes for code in _FOLLOWING.get(name, ())}
    following |= {"unavailable", "later"} if counted else set()
    unknown = set(own) - set(CATALOGUE)
    if unknown:
        raise TypeError(f"no such problem: {', '.join(sorted(unknown))}")
    return tuple(code for code in CATALOGUE if code in following | set(own))


async def _in_time(request: web.Request, work: Awaitable[T]) -> T:
    """The work's result; raises Problem unavailable when it takes longer than a request may."""
    seconds = request.app.get(ANSWER_SECONDS, ANSWER_S)
    try:
        async with asyncio.timeout(seconds) as clock:
            return await work
    except TimeoutError:
        if not clock.expired():
            raise
        raise Problem("unavailable", f"No answer in {seconds:g} s.", headers={"Retry-After": "1"}) from None


def encode(body: BaseModel | Mapping[str, Any]) -> bytes:
    """A model or a plain document as JSON."""
    return body.model_dump_json().encode() if isinstance(body, BaseModel) else orjson.dumps(body)
