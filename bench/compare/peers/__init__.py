"""The servers that FitAI is measured beside, in their own words and with nothing held back.

Each lets a connection into the room that its handshake names, acknowledges an event `set` and tells it to
the others in the room, prints the port that it listens on, and takes a Redis URL as its only argument where
it has a use for one. None of them validates, orders or keeps anything.
"""

from __future__ import annotations

from aiohttp import web


def run(app: web.Application) -> None:
    """Serve on a free port of loopback, on uvloop, and print which one."""
    import asyncio

    import uvloop

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(site.port, flush=True)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
