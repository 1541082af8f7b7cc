"""Where Redis is, from a URL.

    redis://[user:password@]host[:port][/db][?options]            one server
    rediss://…                                                    the same over TLS
    unix://[user:password@]/path/to/socket[?options]
    redis+sentinel://[user:password@]host[:port],…/service[/db]   the master that the Sentinels name
    redis+cluster://[user:password@]host[:port],…                 a cluster, found by any of its nodes
    rediss+sentinel://…  rediss+cluster://…                       over TLS, the Sentinels too

Options are those of redis-py's connections, such as `ssl_ca_certs=/path` or `ssl_cert_reqs=none`. Sentinels
that want a password of their own get `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

Kind = Literal["single", "sentinel", "cluster"]
Host = tuple[str, int]

SLOTS = 16_384  # of a cluster
SHARDED_SINCE = 7  # SSUBSCRIBE and SPUBLISH
_PORTS: Mapping[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_OF_POOLS = ("max_connections", "timeout")  # options of a pool, which a single connection does not know


class BadRedisUrl(ValueError):
    """The message goes on after the name of the setting: "must …"."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers that carry the messages now, each with how it is connected to.

    `slots` says which of them has a slot (as an index); it is empty when there is one server for all.
    """

    options: tuple[Mapping[str, Any], ...]
    slots: tuple[int, ...] = ()

    @property
    def sharded(self) -> bool:
        """Whether channels are spread over the servers."""
        return bool(self.slots)

    def of(self, channel: bytes) -> int:
        """The index of the server that a channel lives on."""
        return self.slots[key_slot(channel)] if self.slots else 0


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL taken apart. `options` are keyword arguments of `connection`, without host and port."""

    kind: Kind
    scheme: str
    hosts: tuple[Host, ...]
    service: str
    connection: type[AbstractConnection]
    options: Mapping[str, Any]
    sentinel_options: Mapping[str, Any]

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Raises BadRedisUrl."""
        try:
            return _parse(url)
        except BadRedisUrl:
            raise
        except TypeError as error:
            unknown = str(error).partition("argument ")[2]
            raise BadRedisUrl(
                f"must not have the option {unknown}: its kind of connection has none"
            ) from None
        except (ValueError, RedisError) as error:
            raise BadRedisUrl(f"must be a URL of Redis ({error})") from None

    def __str__(self) -> str:
        """Fit for a log: without user and password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts or self.options['path']}{'/' if self.service else ''}{self.service}"

    def connect(self, options: Mapping[str, Any]) -> AbstractConnection:
        """A connection that is not open yet, which never retries and never times out by itself."""
        return self.connection(**{**self.options, **options, **_OURS, "retry": Retry(NoBackoff(), 0)})

    async def servers(self, timeout: float) -> Servers:
        """Ask where to connect to; `timeout` (seconds) is for each of those that are asked.

        Raises RedisError, OSError or TimeoutError when nobody answers.
        """
        if self.kind == "cluster":
            return await self._cluster(timeout)
        if self.kind == "sentinel":
            return await self._sentinel(timeout)
        return Servers(tuple({"host": host, "port": port} for host, port in self.hosts) or ({},))

    async def _sentinel(self, timeout: float) -> Servers:
        sentinel = Sentinel(list(self.hosts), sentinel_kwargs=self._asking(self.sentinel_options, timeout))
        try:
            host, port = await sentinel.discover_master(self.service)
        finally:
            await sentinel.aclose()
        return Servers(({"host": host, "port": port},))

    async def _cluster(self, timeout: float) -> Servers:
        cluster = RedisCluster(**self.cluster_options(timeout))
        try:
            await cluster.initialize()
            slots = cluster.nodes_manager.slots_cache
            owners = [slots[slot][0] for slot in range(SLOTS)]
            nodes = list(dict.fromkeys(owners))
            options = tuple({"host": node.host, "port": int(node.port)} for node in nodes)
            for node in nodes:
                about = await cluster.info("server", target_nodes=node)
                if int(about["redis_version"].partition(".")[0]) < SHARDED_SINCE:
                    return Servers(options[:1])  # the nodes pass a message on to each other
            index = {node.name: place for place, node in enumerate(nodes)}
            return Servers(options, tuple(index[owner.name] for owner in owners))
        finally:
            await cluster.aclose()

    def cluster_options(self, timeout: float) -> dict[str, Any]:
        """Keyword arguments of a RedisCluster that never retries."""
        nodes = [ClusterNode(host, port) for host, port in self.hosts]
        return {**self._asking(self.options, timeout), "startup_nodes": nodes}

    def pool(self, timeout: float) -> ConnectionPool:
        """Connections to the one server, or to whatever the Sentinels name as its master."""
        asking = self._asking(self.options, timeout)
        if self.kind == "sentinel":
            asked = self._asking(self.sentinel_options, timeout)
            sentinel = Sentinel(list(self.hosts), sentinel_kwargs=asked)
            return SentinelConnectionPool(self.service, sentinel, **asking)
        asking.pop("ssl")  # which the kind of connection says already
        if self.hosts:
            asking["host"], asking["port"] = self.hosts[0]
        return ConnectionPool(self.connection, **asking)

    def _asking(self, options: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Keyword arguments of a redis-py client that asks once."""
        return {
            **options,
            "ssl": self.connection is SSLConnection,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
        }


_OURS: Mapping[str, Any] = {
    "decode_responses": False,
    "protocol": 2,
    "health_check_interval": 0,
    "socket_timeout": None,
}


def _parse(url: str) -> RedisUrl:
    scheme, found, _ = url.partition("://")
    base, _, kind = scheme.lower().partition("+")
    if not found or base not in {"redis", "rediss", "unix"} or kind not in {"", "sentinel", "cluster"}:
        raise BadRedisUrl(
            "must be a URL like redis://host:6379/0, rediss://…, unix:///path/to/socket, "
            "redis+sentinel://host,host/service or redis+cluster://host,host"
        )
    if base == "unix":
        if kind:
            raise BadRedisUrl(f"must not be {scheme}://: a socket is one server")
        return _unix(url)
    return _network(url, base, "single" if not kind else "sentinel" if kind == "sentinel" else "cluster")


def _unix(url: str) -> RedisUrl:
    options = dict(parse_url(url))
    if not options.get("path"):
        raise BadRedisUrl("must name a socket, like unix:///path/to/socket")
    return _checked("single", "unix", (), "", options)


def _network(url: str, base: str, kind: Kind) -> RedisUrl:
    parts = urlsplit("//" + url.partition("://")[2])
    credentials, at, members = parts.netloc.rpartition("@")
    hosts = tuple(_host(member, kind) for member in members.split(","))
    if kind == "single" and len(hosts) > 1:
        raise BadRedisUrl("must name one server, or be redis+sentinel://… or redis+cluster://…")
    service, database = _path(parts.path, kind)
    options = dict(parse_url(f"{base}://{credentials}{at}host{database}?{parts.query}"))
    options.pop("host")
    scheme = base if kind == "single" else f"{base}+{kind}"
    return _checked(kind, scheme, hosts, service, options)


def _host(member: str, kind: Kind) -> Host:
    try:
        found = urlsplit(f"//{member}")
        host, port = found.hostname, found.port
    except ValueError:
        host = None
    if not host:
        raise BadRedisUrl("must name its servers as host or host:port, with commas between them")
    return unquote(host), _PORTS[kind] if port is None else port


def _path(path: str, kind: Kind) -> tuple[str, str]:
    """The service of a Sentinel URL, and the database as `/n` or nothing."""
    named = [unquote(part) for part in path.strip("/").split("/") if part]
    service = named.pop(0) if kind == "sentinel" and named else ""
    if kind == "sentinel" and not service:
        raise BadRedisUrl("must name the service, like redis+sentinel://host,host/mymaster")
    if len(named) > 1 or not all(part.isdecimal() for part in named):
        raise BadRedisUrl("must end with the number of a database, or nothing")
    if kind == "cluster" and named not in ([], ["0"]):
        raise BadRedisUrl("must not name a database: a cluster has only 0")
    return service, f"/{named[0]}" if named else ""


def _checked(
    kind: Kind, scheme: str, hosts: tuple[Host, ...], service: str, options: dict[str, Any]
) -> RedisUrl:
    connection = options.pop("connection_class", Connection)
    for name in _OF_POOLS:
        options.pop(name, None)
    names = {"sentinel_username": "username", "sentinel_password": "password"} if kind == "sentinel" else {}
    asked = {ours: options.pop(theirs) for theirs, ours in names.items() if theirs in options}
    asked |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    found = RedisUrl(kind, scheme, hosts, service, connection, options, asked)
    found.connect({})  # an option that redis-py does not know is refused by it here
    return found
