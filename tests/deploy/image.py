"""Performs the steps of the Dockerfile without an engine: python -m tests.deploy.image

Each stage gets a folder that stands for its `/`, and a fresh environment that stands for the Python of its
base. The instructions are read from the Dockerfile and done in order: COPY takes what `.dockerignore` lets
through, RUN runs with the absolute paths moved into the folder. Then the command is started as the image's
user (by a caller that is root; else as the caller), with the image's variables and nothing else, asked by
the image's own health check, and stopped with the image's signal.

What this can not show: the base images themselves, and `useradd`, which would change this machine's users.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOVED = ("/opt/", "/src", "/data", "/tmp/")
START_S = 60.0


@dataclass
class Stage:
    """FROM `base`, and the instructions after it, in order: (keyword, rest)."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str:
        """What the last instruction of this kind says."""
        return [rest for found, rest in self.instructions if found == keyword][-1]


def read(dockerfile: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for instruction in "\n".join(lines).replace("\\\n", " ").splitlines():
        keyword, rest = instruction.split(None, 1)
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            stages[-1].instructions.append((keyword, rest))
    return stages


def context(root: Path, ignore: str) -> list[str]:
    """The files of the build context that `.dockerignore` lets through. Understood are an opening `*`,
    `!name` at the top, and patterns of what is left out below."""
    lines = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "only an allow-list is understood"
    tops = [line[1:] for line in lines if line.startswith("!")]
    left_out = [line.removeprefix("**/") for line in lines[1:] if not line.startswith("!")]
    found = []
    for top in tops:
        for path in [root / top, *(root / top).rglob("*")]:
            parts = path.relative_to(root).parts
            if path.is_file() and not any(fnmatch.fnmatch(part, out) for part in parts for out in left_out):
                found.append(str(path.relative_to(root)))
    return sorted(found)


@dataclass
class Image:
    """What came out: the folder that stands for `/`, and how a container of it is started."""

    root: Path
    environment: dict[str, str]
    folder: Path
    user: int | None
    command: list[str]
    health: list[str]
    stop: signal.Signals

    @contextmanager
    def container(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command, running; ended by its process id."""
        process = self._start(self.command, environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def healthy(self, **environment: str) -> bool:
        """What the image's health check says of a container with these variables."""
        return self._start(self.health, environment, stderr=subprocess.DEVNULL).wait() == 0

    def _start(
        self, command: list[str], environment: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        program = shutil.which(command[0], path=self.environment["PATH"])
        assert program is not None, f"{command[0]} is not in the image"
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=self.folder,
            env={**self.environment, **environment},
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user is not None else None,
            **options,
        )


class Builder:
    """Performs the stages, one after the other, each at the same place: scripts name their interpreter by
    its whole path, so what one stage makes must be found there by the next."""

    def __init__(self, place: Path) -> None:
        self._root = place / "root"
        self._place = place
        self._built: dict[str, Path] = {}
        self._user: int | None = None
        self._files = context(ROOT, (ROOT / ".dockerignore").read_text())
        self._python = _python_for_all(place / "python")

    def build(self, stages: list[Stage]) -> Image:
        """The last stage's image."""
        for index, stage in enumerate(stages):
            if index:
                self._built[stages[index - 1].name] = self._root.rename(self._place / f"stage-{index}")
            environment, folder = self._perform(stage)
        last = stages[-1]
        health = json.loads(last.last("HEALTHCHECK").partition("CMD ")[2])
        command = json.loads(last.last("CMD"))
        stop = signal.Signals[last.last("STOPSIGNAL")]
        assert last.last("USER") not in ("root", "0")
        user = self._user if os.geteuid() == 0 else None
        return Image(self._root, environment, folder, user, command, health, stop)

    def _perform(self, stage: Stage) -> tuple[dict[str, str], Path]:
        base = self._root / "usr"
        self._root.mkdir(mode=0o755)
        (self._root / "tmp").mkdir()
        subprocess.run([self._python, "-m", "venv", base], check=True)
        environment = {
            "PATH": f"{base}/bin:/usr/bin:/bin",
            "HOME": str(Path.home()),
            "LC_ALL": "C.UTF-8",
            "LD_LIBRARY_PATH": str(self._python.parents[1] / "lib"),  # a copied Python's own libpython
            "PIP_QUIET": "2",
        }
        folder = self._root
        for keyword, rest in stage.instructions:
            print(f"  {keyword} {rest[:100]}", flush=True)
            if keyword == "WORKDIR":
                folder = Path(self._moved(rest))
                folder.mkdir(parents=True, exist_ok=True)
            elif keyword == "ENV":
                environment |= self._variables(rest, environment)
            elif keyword == "COPY":
                self._copy(shlex.split(rest), folder)
            elif keyword == "RUN":
                self._run(rest, folder, environment)
        return environment, folder

    def _moved(self, text: str) -> str:
        """The text with the absolute paths of the image moved into the folder that stands for `/`."""
        paths = "|".join(MOVED)
        return re.sub(rf"(^|[\s=:'\"])({paths})", lambda m: f"{m[1]}{self._root}{m[2]}", text)

    def _variables(self, rest: str, environment: Mapping[str, str]) -> dict[str, str]:
        pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
        return {
            name: self._moved(value).replace("$PATH", environment["PATH"]) for name, value in pairs.items()
        }

    def _copy(self, arguments: list[str], folder: Path) -> None:
        if arguments[0].startswith("--from="):
            stage, [source, target] = self._built[arguments[0].partition("=")[2]], arguments[1:]
            shutil.copytree(stage / source.lstrip("/"), self._moved(target), symlinks=True)
            return
        *sources, target = arguments
        for name in self._files:
            if "." in sources or name in sources:
                copy = folder / target / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, copy)

    def _run(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        command = re.sub(r"^(--mount=\S+\s+)*", "", command).strip()
        steps = [step.strip() for step in command.split("&&")]
        for step in [step for step in steps if step.startswith("useradd ")]:
            self._user = int(shlex.split(step)[shlex.split(step).index("--uid") + 1])
            steps.remove(step)
            print(f"    not performed here: {step}")
        owner = "-o fitai -g fitai"
        own = f"-o {self._user} -g {self._user}" if os.geteuid() == 0 else ""
        performed = " && ".join(self._moved(step.replace(owner, own)) for step in steps)
        subprocess.run(["/bin/sh", "-ec", performed], cwd=folder, env=environment, check=True)


def _python_for_all(place: Path) -> Path:
    """A Python like this one that the image's user may run too: a copy when this one's folder is closed."""
    base = Path(sys.base_prefix).resolve()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if all(folder.stat().st_mode & 0o001 for folder in (base, *base.parents)):
        return base / "bin" / name
    shutil.copytree(base, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "test", "*.a"))
    return place / "bin" / name


@contextmanager
def built() -> Iterator[Image]:
    """The image of the Dockerfile, in a folder that others may read, until the end of the block."""
    place = Path(tempfile.mkdtemp(prefix="fitai-image-"))
    place.chmod(0o755)
    try:
        yield Builder(place).build(read((ROOT / "Dockerfile").read_text()))
    finally:
        shutil.rmtree(place)


def prove(image: Image) -> list[str]:
    """Start a container, see it healthy, stop it; sentences about what was seen. Raises AssertionError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    where = {"FITAI_HOST": "127.0.0.1", "FITAI_PORT": port}
    assert not image.healthy(**where), "healthy before anything runs"
    with image.container(**where) as process:
        deadline = time.monotonic() + START_S
        while not image.healthy(**where):
            assert process.poll() is None, "the container ended at once"
            assert time.monotonic() < deadline, "not healthy in time"
            time.sleep(0.2)
        uid = Path(f"/proc/{process.pid}").stat().st_uid
        process.send_signal(image.stop)
        code = process.wait(START_S)
    assert code == 0, f"exit code {code}"
    assert uid != 0 or image.user is None, "runs as root"
    kept = sorted(path.name for path in (image.root / "data").iterdir())
    assert "fitai.db" in kept, kept
    own = image.root / "opt"
    assert not list(own.rglob("site-packages/pip")), "pip is in the image"
    megabytes = sum(path.lstat().st_size for path in own.rglob("*") if not path.is_symlink()) / 1e6
    return [
        f"healthy as user {uid}, stopped by {image.stop.name} with exit code {code}",
        f"/data holds {', '.join(kept)}",
        f"/opt holds {megabytes:.0f} MB beside the base's Python",
    ]


if __name__ == "__main__":
    with built() as made:
        print("\n".join(prove(made)))
