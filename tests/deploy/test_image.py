"""The image's steps, performed; see tests/deploy/image.py."""

from __future__ import annotations

import shutil

import pytest

from tests.deploy import image


@pytest.mark.timeout(300)
def test_the_steps_of_the_dockerfile_make_a_healthy_server_of_an_ordinary_user():
    with image.built() as built:
        seen = image.prove(built)
        assert len(seen) == 3
        assert shutil.which("fitai", path=built.environment["PATH"]) is not None
        assert not (built.root / "src").exists(), "what was built from is in the image"


def test_the_build_context_is_what_the_wheel_is_made_of(tmp_path):
    for name in ("app/a.py", "app/__pycache__/a.pyc", "app/b.pyc", "tests/t.py", ".env", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    ignore = "# why\n*\n!pyproject.toml\n!app\n**/__pycache__\n**/*.pyc\n"
    assert image.context(tmp_path, ignore) == ["app/a.py", "pyproject.toml"]


def test_a_dockerfile_is_read_stage_by_stage():
    build = "# a comment\nFROM one AS build\nRUN a \\\n # inside\n && b\n"
    last = 'FROM two\nCOPY --from=build /x /x\nCMD ["c"]\n'
    first, second = image.read(f"{build}\n{last}")
    assert (first.base, first.name, first.instructions) == ("one", "build", [("RUN", "a   && b")])
    assert (second.base, second.last("CMD")) == ("two", '["c"]')
