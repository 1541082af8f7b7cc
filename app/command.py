"""The `fitai` command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from enum import Enum
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fitai.app.command_jobs import jobs, mail
from fitai.app.command_users import users
from fitai.app.failures import Refused, shown_url, told
from fitai.app.garbage import rarely_collected
from fitai.app.settings import Settings, load_settings

app = typer.Typer(
    name="fitai",
    help="A real-time workout engine: every device of a person sees one workout, in one order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Codec(Enum):
    """How packets are written on a socket."""

    JSON = "json"
    MSGPACK = "msgpack"


app.add_typer(users, name="user")
app.add_typer(jobs, name="jobs")
app.add_typer(mail, name="mail")
signing_keys = typer.Typer(no_args_is_help=True, help="Keys that sign access tokens.")
app.add_typer(signing_keys, name="keys")

# The commands import what they need themselves: `fitai --help` should not wait for a web server's modules.


def main() -> None:
    """Run the command; the installed script's entry point."""
    rarely_collected()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # “×” is no reason to fail where only ASCII is printed
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fitai {version('fitai')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Settings come from the environment (FITAI_…) and from `.env`; see the README."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes behind the port; needs Redis.")] = None,
    announce: Annotated[
        Path | None, typer.Option(help="File to write {url, host, port, pid} to, as JSON, when ready.")
    ] = None,
) -> None:
    """Serve REST and sockets, until Ctrl-C."""
    with told():
        settings = load_settings(host=host, port=port, workers=workers)
        from fitai.app import serve as server

        raise typer.Exit(server.serve(settings, announce=announce, say=_say))


@app.command()
def worker(
    announce: Annotated[
        Path | None, typer.Option(help="File to write {pid} to, as JSON, when it is at work.")
    ] = None,
) -> None:
    """Run jobs (letters, erasures, sweeps) in a process of its own, beside those that serve."""
    with told():
        settings = load_settings()
        from fitai.app import worker as process

        process.work(settings, announce=announce, say=_say)


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest version."""

    async def work(settings: Settings) -> None:
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=True):
            pass

    with told():
        settings = load_settings()
        asyncio.run(work(settings))
        _say(f"The schema of {shown_url(settings.database_url)} is up to date.")


@app.command()
def demo(
    group: Annotated[
        int | None,
        typer.Option(min=7, max=48, help="So many people train together instead, and a node is killed."),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            envvar="FITAI_REDIS_URL", help="With --group: three nodes, joined by this Redis; else one."
        ),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(help="With --group: a server on which a database is made for it; else SQLite."),
    ] = None,
) -> None:
    """Two devices play a workout through lost connections, a killed server and a merge, and count."""
    from fitai.app import demo as alone
    from fitai.app import demo_group

    console = Console(highlight=False)
    if group is None:
        raise typer.Exit(alone.play(console))
    raise typer.Exit(demo_group.play(console, group, redis=redis, postgres=postgres))


@app.command()
def bench(
    scenario: Annotated[
        str, typer.Argument(help="connect, live, rooms, group, reconnect, sync, rest, mixed or soak.")
    ],
    url: Annotated[
        str | None, typer.Option(help="A server that is there; without it one is started and taken away.")
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=1, help="People; each scenario has its own number.")
    ] = None,
    devices: Annotated[
        list[int] | None, typer.Option(min=1, help="Devices of each; `rooms` takes it several times.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Participants of the group; `group` takes it several times."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Open loop: works per second, latency from intended times."),
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=1, help="Closed loop: works that each user keeps on the way.")
    ] = None,
    duration: Annotated[float | None, typer.Option(min=1, help="Seconds.")] = None,
    codec: Annotated[Codec, typer.Option(help="What the sockets speak.")] = Codec.JSON,
    generators: Annotated[
        int | None, typer.Option(min=1, help="Client processes; half of the cores unless said.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all chances: the same seed is the same load.")] = 1,
    database: Annotated[str | None, typer.Option(help="Database URL for the server that is started.")] = None,
    redis: Annotated[str | None, typer.Option(help="Redis URL for the server that is started.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the server that is started; several need --redis.")
    ] = None,
    metrics_token: Annotated[
        str | None, typer.Option(envvar="FITAI_METRICS_TOKEN", help="Opens /metrics of the server at --url.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the whole result.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a page with plots.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder for a table and its JSON, kept to compare with.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="JSON of an earlier run, to compare with.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Load a server that is not on this machine.")] = False,
) -> None:
    """Put a server under load as its users would, and say whether the figures can be trusted."""
    with told():
        try:
            from fitai.bench import command
        except ModuleNotFoundError as missing:
            if missing.name not in ("hdrh", "picows", "psutil"):
                raise
            raise Refused(f"`fitai bench` needs {missing.name}: pip install 'fitai[bench]'.") from missing
        asked = command.Asked(
            scenario=scenario,
            url=url,
            users=users,
            devices=devices or (),
            sizes=size or (),
            rate=rate,
            window=window,
            duration=duration,
            codec=codec.value,
            generators=generators,
            seed=seed,
            database=database,
            redis=redis,
            workers=workers,
            metrics_token=metrics_token,
            json=json,
            html=html,
            into=into,
            against=against,
            yes=yes,
        )
        code = command.bench(asked, Console(highlight=False))
    raise typer.Exit(code)


@app.command()
def replay(
    workout: Annotated[str, typer.Argument(help="The workout's id.")],
    user: Annotated[
        str | None, typer.Option(help="E-mail of its owner; needed if several have this id.")
    ] = None,
) -> None:
    """Print the log of a workout as a timeline."""

    async def work(settings: Settings) -> None:
        from fitai.app.replay import find_history, print_timeline
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            history = await find_history(db, workout, user)
        print_timeline(history, Console(highlight=False))

    with told():
        asyncio.run(work(load_settings()))


@app.command()
def rebuild() -> None:
    """Write all projections (lists, history, records) anew from the log."""

    async def work(settings: Settings) -> None:
        from fitai.app.rebuild import rebuild
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            done = await rebuild(db, settings.limits, Console(stderr=True))
        _say(f"Rebuilt {done.workouts} workouts of {done.streams} users in {done.seconds:.1f} s.")

    with told():
        asyncio.run(work(load_settings()))


Backup = Annotated[Path, typer.Argument(help="The backup's file.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def backup(
    file: Backup,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Only hold a backup that is there against what it says of itself."),
    ] = False,
) -> None:
    """Back the database up to a file, while servers run."""
    from fitai.app import backup as backups
    from fitai.app.runtime import now_ms

    with told():
        if verify:
            _say(backups.verify(file))
        else:
            _say(asyncio.run(backups.back_up(load_settings(), file, now_ms())))


@app.command()
def restore(file: Backup, yes: Yes = False) -> None:
    """Replace all that the database holds by a backup; devices then offer again what it lacks."""
    from fitai.app import backup as backups
    from fitai.app.runtime import now_ms

    with told():
        _say(asyncio.run(backups.restore(load_settings(), file, now_ms(), _confirmed(yes))))


@app.command("begin-anew")
def begin_anew(yes: Yes = False) -> None:
    """Give every log a new epoch, after the database was restored by other means than `fitai restore`."""
    from fitai.app import backup as backups
    from fitai.app.runtime import now_ms

    with told():
        _say(asyncio.run(backups.begin_anew(load_settings(), now_ms(), _confirmed(yes))))


def _confirmed(yes: bool) -> Callable[[str], bool]:
    def ask(what: str) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm(f"{what} Go on?"))

    return ask


@signing_keys.command("list")
def list_keys() -> None:
    """Show the keys, and what each is good for."""

    async def work(settings: Settings) -> None:
        from fitai.app.keys import described
        from fitai.app.runtime import key_keeper, now_ms
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            keeper = key_keeper(settings, db)
            await keeper.read()
        for line in described(keeper.ring, now_ms()):
            _say(line)

    with told():
        asyncio.run(work(load_settings()))


@signing_keys.command("rotate")
def rotate_keys(
    now: Annotated[
        bool,
        typer.Option("--now", help="Sign with it at once, and honour no other: after a key was stolen."),
    ] = False,
) -> None:
    """Make the next key. It is published now and signs in ten minutes; running servers see to that."""

    async def work(settings: Settings) -> str:
        from fitai.app.keys import rotate
        from fitai.app.runtime import key_keeper, now_ms
        from fitai.app.stores import open_database

        async with open_database(settings, migrate=False) as db:
            return await rotate(key_keeper(settings, db), now_ms, at_once=now)

    with told():
        _say(asyncio.run(work(load_settings())))


def _say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
