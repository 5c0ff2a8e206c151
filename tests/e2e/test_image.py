"""The Dockerfile, as far as it can be carried out without an engine: its steps, in plain folders.

What stands in for what: this machine's compiler and Python for the base images; the packages of this
environment for those that pip would fetch; the repository, whose compiled core is reused, for /src. That what
was copied to /src is enough to build from is shown by comparing it with what was installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.e2e.harness import Client, request

# A virtual environment is made, and the package installed in it: seconds, and many on a busy machine.
pytestmark = pytest.mark.timeout(240)

ROOT: Final = Path(__file__).resolve().parents[2]
INSTALLED: Final = "/opt/otelprof"
END_SECS: Final = 20.0


class Step(NamedTuple):
    """One instruction."""

    instruction: str
    arguments: str


@dataclass
class Stage:
    """What the Dockerfile says of one stage."""

    steps: list[Step] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        """The arguments of every instruction of a kind, in order."""
        return [step.arguments for step in self.steps if step.instruction == instruction]

    def command(self, instruction: str) -> list[str]:
        """The words of the one CMD or ENTRYPOINT."""
        (arguments,) = self.of(instruction)
        words: list[str] = json.loads(arguments)
        return words


def stages() -> list[Stage]:
    """The Dockerfile's stages."""
    found: list[Stage] = []
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            found.append(Stage())
        elif line and not line.startswith("#"):
            found[-1].steps.append(Step(instruction, arguments))
    return found


def is_sent(path: Path) -> bool:
    """Whether .dockerignore lets a file of the repository through to the builder."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {one.removeprefix("!") for one in patterns if one.startswith("!")}
    left_out = [one.removeprefix("**/") for one in patterns if one.startswith("**/")]
    parts = path.relative_to(ROOT).parts
    return parts[0] in sent and not any(fnmatch(part, one) for part in parts for one in left_out)


def copy(arguments: str, folder: Path) -> None:
    """Carry out a COPY from the repository; a target that ends with a slash is a folder."""
    *sources, target = arguments.split()
    for source in sources:
        found = [
            one for one in (ROOT / source, *(ROOT / source).rglob("*")) if one.is_file() and is_sent(one)
        ]
        assert found, f"COPY {arguments}: {source} is not there, or .dockerignore keeps it back"
        for path in found:
            below = path.name if target.endswith("/") else path.relative_to(ROOT / source)
            place = folder / target.lstrip("/") / below
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def dependencies(folder: Path) -> Path:
    """A folder with the packages of this environment but otelprof itself."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("otelprof") and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


@dataclass(frozen=True)
class Image:
    """What the Dockerfile makes.

    Attributes:
        source: what was copied to /src.
        installed: what stands for /opt/otelprof.
        root: what stands for / of the last stage.
    """

    source: Path
    installed: Path
    root: Path

    def start(self, *words: str, port: int) -> subprocess.Popen[str]:
        """Start a command as the engine would, unable to write to any file."""
        environment = dict(pair.split("=", 1) for line in stages()[-1].of("ENV") for pair in line.split())
        environment |= {
            "PATH": f"{self.installed}/bin:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "OTELPROF_PORT": str(port),
            "OTELPROF_HTTP_PORT": "0",
            "OTELPROF_HEALTH_ENDPOINT": f"127.0.0.1:{port}",
            "OTELPROF_METRICS_PORT": "0",
        }
        here = [word.replace("/etc/otelprof", f"{self.root}/etc/otelprof") for word in words]
        return subprocess.Popen(  # noqa: S603 - our own program
            ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *here],
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, port: int) -> tuple[int, str]:
        """Run a command to its end: exit code, and what it said."""
        with self.start(*words, port=port) as process:
            out, err = process.communicate(timeout=END_SECS)
        return process.returncode, out + err

    def files(self) -> dict[Path, tuple[int, int]]:
        """Everything in it, with size and time of change."""
        found = [*self.root.rglob("*"), *self.installed.rglob("*")]
        return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Carry out the steps of both stages."""
    folder = tmp_path_factory.mktemp("image")
    made = Image(folder / "src", folder / "otelprof", folder / "root")
    build, last = stages()
    assert ["/src"] == build.of("WORKDIR")
    for arguments in build.of("COPY"):
        if not arguments.startswith("--from=rust:"):  # this machine's own toolchain
            copy(arguments, made.source)
    packages = dependencies(folder / "packages")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of build_isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    (install,) = [one for one in build.of("RUN") if not one.startswith("apt-get ")]  # the base image's
    command = ["/bin/sh", "-c", install.replace(INSTALLED, str(made.installed))]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=180)  # noqa: S603
    (site,) = made.installed.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n", encoding="utf-8")
    for arguments in last.of("COPY"):
        if arguments != f"--from=build {INSTALLED} {INSTALLED}":
            copy(arguments, made.root)
    return made


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def package(folder: Path) -> set[str]:
    """The files of a package that are not made."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if path.suffix not in {".so", ".pyc"}}


def test_what_is_copied_is_enough(image: Image) -> None:
    """The core's sources are whole, and what was installed from the repository is what was copied."""
    cargo = ("cargo", "metadata", "--no-deps", "--offline", "--locked", "--format-version=1")
    metadata = subprocess.run(cargo, cwd=image.source, check=True, capture_output=True, timeout=20)  # noqa: S603
    (core,) = json.loads(metadata.stdout)["packages"]
    (site,) = image.installed.glob("lib/python*/site-packages")
    assert [f"{image.source}/src/lib.rs"] == [one["src_path"] for one in core["targets"]]
    assert package(ROOT / "src") == package(image.source / "src")
    assert package(image.source / "otelprof") == package(site / "otelprof")
    for name in ("README.md", "LICENSE", "pyproject.toml"):
        assert (ROOT / name).read_bytes() == (image.source / name).read_bytes()


def test_it_runs_as_nobody() -> None:
    """The last stage has a numeric user that is not root, and nothing is installed in it."""
    last = stages()[-1]
    (user,) = last.of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [] == last.of("RUN")


@pytest.mark.parametrize("name", ["config", "gateway", "sidecar"])
def test_its_configurations_are_good(image: Image, name: str) -> None:
    """Every configuration in the image can be run as it is."""
    code, said = image.run("otelprof", "validate", "--config", f"/etc/otelprof/{name}.yaml", port=4317)
    assert (0, []) == (code, re.findall("^(?:warning|error):.*", said, re.MULTILINE))


def test_it_serves_without_writing(image: Image) -> None:
    """Started with the image's own command it serves, its health check agrees, and no file changes."""
    last = stages()[-1]
    (health,) = last.of("HEALTHCHECK")
    probe = json.loads(health.partition(" CMD ")[2])
    port, before = free_port(), image.files()
    with image.start(*last.command("ENTRYPOINT"), *last.command("CMD"), port=port) as process:
        assert process.stderr is not None
        assert "otelprof is ready" in (json.loads(line)["event"] for line in process.stderr)
        with Client(f"127.0.0.1:{port}") as client:
            answer = client.export(request().SerializeToString())
        serving = image.run(*probe, port=port)
        process.kill()
    assert ("OK", (0, "SERVING\n")) == (answer.code.name, serving)
    assert 1 == image.run(*probe, port=port)[0]
    assert before == image.files()
