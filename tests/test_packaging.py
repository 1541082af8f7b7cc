"""What a person gets who installs FitAI, and the directions in which its folders may import.

The folders are mapped to `fitai.*` one by one: one of them is called `http`, which must never hide the
standard library's module of that name, and a folder that nobody listed would be missing from the wheel.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("app", "bench", "engine", "gateways", "http", "persistence", "sync")
# Run by Alembic inside its own context, not imported.
SCRIPTS = {"fitai.persistence.migrations.env"}


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """What `command` prints; fails the test with all it said when it does not succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy: what is under version control, or would be after `git add`."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = run(
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        cwd=ROOT,
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    links = copy / ".cache" / "types"
    links.mkdir(parents=True)
    (links / "fitai").symlink_to("../..")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        folder,
        ".",
        cwd=checkout,
    )
    shutil.rmtree(checkout / "build", ignore_errors=True)
    [built] = folder.glob("fitai-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel; what the wheel needs, it borrows from this one."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=place.parent)
    # A folder named in a .pth file has its own .pth files ignored: the editable install stays out of sight.
    [own] = place.glob("lib/python*/site-packages")
    (own / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def test_the_folder_http_does_not_hide_the_standard_library():
    assert not (ROOT / "http" / "__init__.py").exists()
    found = run(sys.executable, "-c", "import http.client; print(http.client.__file__)", cwd=ROOT)
    assert not Path(found.strip()).is_relative_to(ROOT)


def test_every_folder_with_code_is_listed_as_a_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    parents = {path.parent.relative_to(ROOT) for folder in FOLDERS for path in python_files(folder)}
    with_code = {".".join(("fitai", *parent.parts)) for parent in parents}
    assert set(settings["packages"]) == with_code
    assert settings["packages"] == sorted(settings["packages"])
    assert settings["package-dir"] == {f"fitai.{folder}": folder for folder in FOLDERS}


def test_every_package_but_the_folder_http_has_an_init_file():
    folders = {path.parent for folder in FOLDERS for path in python_files(folder)}
    assert {path for path in folders if not (path / "__init__.py").exists()} == {ROOT / "http"}


def python_files(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]


def test_the_wheel_holds_every_file_of_every_folder_and_nothing_else(checkout: Path, wheel: Path):
    expected = {
        f"fitai/{path.relative_to(checkout)}"
        for folder in FOLDERS
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected


def test_an_installed_wheel_imports_every_module(installed: Path, wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        paths = [Path(name) for name in archive.namelist() if name.endswith(".py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths} - SCRIPTS
    script = (
        "import importlib, json, sys\n"
        "modules = [importlib.import_module(name) for name in json.loads(sys.argv[1])]\n"
        "print(json.dumps([module.__file__ for module in modules]))\n"
    )
    asked = json.dumps(["http.client", *sorted(names)])
    files = json.loads(run(installed, "-c", script, asked, cwd=tmp_path))
    assert len(files) == len(names) + 1
    assert "site-packages" not in files[0]
    # Each of them is the wheel's, and none the working copy's.
    assert all(Path(file).is_relative_to(installed.parents[1]) for file in files[1:])


def test_an_installed_wheel_has_the_command(installed: Path, tmp_path: Path):
    assert "serve" in run(installed.with_name("fitai"), "--help", cwd=tmp_path)


# -- the lock files ----------------------------------------------------------------------------------


def test_an_installed_wheel_serves_and_passes_the_demo(installed: Path, tmp_path: Path):
    told = run(installed.with_name("fitai"), "demo", cwd=tmp_path)
    assert "Every count is as it must be" in told


@pytest.mark.parametrize(
    ("name", "least"),
    [("requirements.lock", 31), ("requirements-dev.lock", 31), ("requirements-peers.lock", 2)],
)
def test_a_lock_file_pins_every_package_by_hash_and_names_no_place_to_fetch_it(name: str, least: int):
    text = (ROOT / name).read_text()
    lines = text.replace("\\\n", " ").splitlines()
    entries = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(entries) >= least
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize(
    ("folder", "package"), [("tests/js", "socket.io-client"), ("bench/compare/peers", "socket.io")]
)
def test_a_lock_of_javascript_names_no_place_to_fetch_it(folder: str, package: str):
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    fetched = {name: entry for name, entry in packages.items() if name}
    assert f"node_modules/{package}" in fetched
    assert all("integrity" in entry and "resolved" not in entry for entry in fetched.values())


def test_the_lock_files_hold_all_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["ai"]]
    assert names(asked) <= locked("requirements.lock")
    tools = [*project["project"]["optional-dependencies"]["bench"], *project["dependency-groups"]["dev"]]
    assert names([*asked, *tools]) <= locked("requirements-dev.lock")
    assert names(project["dependency-groups"]["peers"]) <= locked("requirements-peers.lock")


def names(requirements: list[str]) -> set[str]:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return {canonicalize_name(Requirement(text).name) for text in requirements}


def locked(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.split("==")[0] for line in lines if "==" in line.split(";")[0]}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine/broken.py", "import time"),
        ("engine/broken.py", "import fitai.sync"),
        ("sync/broken.py", "import asyncio"),
        ("sync/broken.py", "import fitai.persistence"),
        ("persistence/broken.py", "import fitai.gateways.bus"),
        ("gateways/live/broken.py", "import fitai.http.auth"),
        ("http/broken.py", "import fitai.app.settings"),
        ("app/broken.py", "import fitai.bench.command"),
    ],
)
def test_an_import_against_the_arrows_is_found(checkout: Path, tmp_path: Path, module: str, line: str):
    (checkout / module).write_text(f"{line}\n")
    try:
        found = subprocess.run(
            [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": ".cache/types", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=100,
        )
    finally:
        (checkout / module).unlink()
    assert found.returncode == 1, found.stdout + found.stderr
    assert "BROKEN" in found.stdout
    name = "fitai." + module.removesuffix(".py").replace("/", ".")
    assert f"{name} -> {line.removeprefix('import ')} (l.1)" in found.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import asyncio\n\ntask = asyncio.create_task(work())\n", "use fitai.gateways.tasks.spawn"),
        ("import time\n\nnow = time.time()\n", "Time is data"),
        ("from datetime import UTC, datetime\n\nnow = datetime.now(UTC)\n", "Time is data"),
        ("from . import ops\n", "Prefer absolute imports"),
    ],
)
def test_a_banned_call_is_found_with_what_to_use_instead(code: str, message: str):
    ruff = Path(sys.executable).with_name("ruff")
    found = subprocess.run(
        [ruff, "check", "--no-cache", "--select", "TID", "--stdin-filename", "engine/example.py", "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert message in found.stdout
