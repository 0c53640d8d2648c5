"""The rules and the package data are found however cxr was installed.

Every test builds and installs for real, into an empty environment of its own, without network: the
build backend and the dependencies come from the environment that runs the tests.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
UV = os.environ.get("UV") or shutil.which("uv")  # `uv run` says where it is

pytestmark = pytest.mark.skipif(
    UV is None, reason="uv builds and installs here, and is not on PATH"
)

# `-I` keeps the working directory and PYTHONPATH out of it: only what is installed can be imported.
PROBE = """
import importlib.metadata, json
from pathlib import Path
import cli, cxrlabel, cxrvision
from cxrlabel import rulefiles

books = [rulefiles.read_rule_files(lang=lang) for lang in rulefiles.languages()]
files = [file for book in books for file in book.files.values()]
print(json.dumps({
    "packages": [str(Path(module.__file__).resolve()) for module in (cli, cxrlabel, cxrvision)],
    "rules": str(rulefiles.rules_dir()),
    "rule_files": {
        file.path.relative_to(rulefiles.rules_dir()).as_posix(): str(file.path) for file in files
    },
}))
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the dependencies of the running one, but not its cxr."""

    root: Path

    @property
    def site_packages(self) -> Path:
        paths = {"base": str(self.root), "platbase": str(self.root)}
        return Path(sysconfig.get_path("purelib", "venv", vars=paths)).resolve()

    def command(self, name: str) -> str:
        folder = "Scripts" if os.name == "nt" else "bin"
        return str(self.root / folder / name)

    def install(self, *arguments: str | Path) -> None:
        options = ["--offline", "--no-deps", "--no-build-isolation", "--python", self.root]
        run(UV, "pip", "install", *options, *arguments)

    def probe(self, setup: str = "") -> dict[str, Any]:
        return json.loads(run(self.command("python"), "-I", "-c", setup + PROBE))


def run(*arguments: Any) -> str:
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkout_rule_files() -> set[str]:
    rules = ROOT / "rules"
    return {path.relative_to(rules).as_posix() for path in rules.rglob("*.toml")}


def package_files(root: Path) -> set[str]:
    """What a user's machine needs of the two packages, as paths relative to `root`."""
    paths = [path for name in ("cxrlabel", "cxrvision") for path in (root / name).rglob("*")]
    return {
        path.relative_to(root).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "environment")
    run(UV, "venv", "--offline", "--python", sys.executable, made.root)
    # A .pth line adds one folder and does not run the .pth files in it, so that an editable
    # install of cxr over there stays invisible here.
    dependencies = sysconfig.get_path("purelib")
    (made.site_packages / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    return made


def build(source: Path, out: Path, kind: str) -> Path:
    """Build an sdist or a wheel of `source` with the running environment's backend."""
    options = ["--offline", "--no-build-isolation", "--python", sys.executable]
    run(UV, "build", f"--{kind}", *options, "--out-dir", out, source)
    [built] = out.glob("cxr-*")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def wheel_of_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sdist = build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")
    return build(sdist, tmp_path_factory.mktemp("wheel_of_sdist"), "wheel")


@pytest.fixture(params=["wheel", "wheel_of_sdist"])
def installed(request: pytest.FixtureRequest, environment: Environment) -> Environment:
    environment.install(request.getfixturevalue(request.param))
    return environment


def assert_read_from(found: dict[str, Any], packages: Path, rules: Path) -> None:
    assert all(Path(file).is_relative_to(packages) for file in found["packages"])
    assert Path(found["rules"]) == rules
    assert set(found["rule_files"]) == checkout_rule_files()
    assert all(Path(path).is_relative_to(rules) for path in found["rule_files"].values())


def test_checkout_reads_its_own_rules(environment: Environment) -> None:
    found = environment.probe(setup=f"import sys; sys.path.insert(0, {str(ROOT)!r})")

    assert_read_from(found, packages=ROOT, rules=ROOT / "rules")


def test_editable_install_reads_the_rules_of_the_checkout(environment: Environment) -> None:
    environment.install("--editable", ROOT)

    assert_read_from(environment.probe(), packages=ROOT, rules=ROOT / "rules")
    assert not (environment.site_packages / "cxrlabel").exists()  # no copy that could go stale


def test_wheel_reads_the_rules_it_carries(installed: Environment) -> None:
    packages = installed.site_packages

    assert_read_from(installed.probe(), packages=packages, rules=packages / "cxrlabel" / "rules")


def test_wheel_carries_every_file_of_the_packages(installed: Environment) -> None:
    rules = {f"cxrlabel/rules/{name}" for name in checkout_rule_files()}

    assert package_files(installed.site_packages) == package_files(ROOT) | rules


def test_wheel_brings_the_command(installed: Environment) -> None:
    assert importlib.metadata.version("cxr") in run(installed.command("cxr"), "--version")
