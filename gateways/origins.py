"""Pages of which origins may use this server from a browser: one rule for sockets and REST alike.

An origin is what a browser says in `Origin`: scheme, host and port of the page, in one spelling (lower case,
punycode, no default port). So it is compared as a whole and as text: nothing begins with, ends with or
contains an origin.

Who sends no `Origin` is no page of another site: a native app, another server, or a page of our own that
only reads. Those are held to their token alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from yarl import URL

ALL = "*"


@dataclass(frozen=True, slots=True)
class Origins:
    """The pages that may call.

    listed   origins as browsers spell them (`normal`), or "*" for all
    own      our own; empty: whatever the caller names as `Host`, since nobody told us better
    """

    listed: frozenset[str] = frozenset()
    own: str = ""

    @property
    def everyone(self) -> bool:
        """Pages of all origins may call."""
        return ALL in self.listed

    def shared_with(self, origin: str | None) -> bool:
        """Whether the pages of this other origin may call and read the answer."""
        return origin is not None and (self.everyone or origin in self.listed)

    def trusted(self, origin: str | None) -> bool:
        """Whether they may do so with what the browser keeps for us (cookies): only if listed by name."""
        return origin != ALL and origin in self.listed

    def may_use_cookies(self, origin: str | None, host: str) -> bool:
        """Whether a request may be answered by what a cookie proves: only from a page that says it is ours,
        or that is listed by name."""
        return origin is not None and (self.trusted(origin) or self._is_own(origin, host))

    def admits(self, origin: str | None, host: str) -> bool:
        """Whether to serve a request that a browser sends without asking first, such as a WebSocket's
        handshake: from a page of ours, from one that may call, or from no browser."""
        return origin is None or self.shared_with(origin) or self._is_own(origin, host)

    def _is_own(self, origin: str, host: str) -> bool:
        if self.own:
            return origin == self.own
        return host != "" and origin in (f"http://{host.lower()}", f"https://{host.lower()}")


def origins(listed: Iterable[str] = (), public_url: str = "") -> Origins:
    """The rule for these origins, spelled as people do, and for a server whose links begin with this URL."""
    spelled = frozenset(each if each == ALL else normal(each) for each in listed)
    return Origins(spelled, normal(public_url) if public_url else "")


def normal(url: str) -> str:
    """The origin of a URL as a browser spells it; raises ValueError for a URL that has none."""
    return str(URL(url).origin())
