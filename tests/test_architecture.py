"""Who may import what, checked by running with packages blocked and by reading the source.

Blocking in a subprocess, because spaCy imports torch wherever torch is installed, so that
`sys.modules` would say nothing about our own imports.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IMAGE_PACKAGES = {
    "torch", "torchvision", "timm", "lightning", "lightning_fabric", "transformers",
}  # fmt: skip
LANGUAGE_PACKAGES = {"spacy", "thinc", "negspacy"}
# `cxr --help` answers at once because none of these is loaded for it.
SLOW_PACKAGES = IMAGE_PACKAGES | LANGUAGE_PACKAGES | {
    "dask", "distributed", "fastapi", "jinja2", "matplotlib", "numpy", "pandas", "pyarrow",
    "sklearn", "sqlalchemy", "starlette", "uvicorn",
}  # fmt: skip
# What cxrvision may use of cxrlabel: none of these imports spaCy.
SHARED_MODULES = {
    f"cxrlabel.{name}"
    for name in (
        "checks", "columns", "errors", "files", "findings", "formats", "readers", "rulefiles",
        "tables", "terminal", "writers", "audit.compare", "audit.consensus", "audit.design",
        "audit.estimates", "audit.intervals", "audit.observation", "audit.observe",
        "audit.patients", "audit.pooling", "audit.reviews", "audit.sampling",
    )
}  # fmt: skip
MAX_LINES = 400


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


LABEL_SOURCES = [
    path for path in sources("cxrlabel") if not path.is_relative_to(ROOT / "cxrlabel/learned")
]
VISION_SOURCES = sources("cxrvision")
ALL_SOURCES = [ROOT / "cli.py", *sources("cxrlabel", "cxrvision")]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def import_with_blocked(modules: list[str], blocked: set[str]) -> None:
    run_python(
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(blocked)!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )


def imported_names(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, at any depth of its code."""
    names = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(path)}


def test_cxrlabel_imports_without_image_packages() -> None:
    import_with_blocked([module_name(path) for path in LABEL_SOURCES], IMAGE_PACKAGES)


def test_learned_labelers_import_without_torch_but_for_the_transformer() -> None:
    folder = ROOT / "cxrlabel" / "learned"
    plain = [p for p in folder.rglob("*.py") if not p.is_relative_to(folder / "transformer")]
    import_with_blocked([module_name(path) for path in plain], IMAGE_PACKAGES)


def test_learned_labelers_name_their_extra_where_a_package_is_missing() -> None:
    said = run_python(
        "import sys; sys.modules.update(dict.fromkeys(['tokenizers']))\n"
        "from importlib import util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'tokenizers' else found(name)\n"
        "from cxrlabel.learned.kinds import require_packages\n"
        "require_packages('hybrid')\n"
        "try: require_packages('transformer')\n"
        "except ValueError as error: print(error)\n"
    )

    assert "needs the package tokenizers: pip install 'cxr[transformer]'" in said


def test_cxrvision_and_what_it_shares_import_without_language_packages() -> None:
    modules = [module_name(path) for path in VISION_SOURCES]
    import_with_blocked([*modules, *sorted(SHARED_MODULES)], LANGUAGE_PACKAGES)


def test_command_line_imports_without_slow_packages() -> None:
    loaded = run_python("import cli, sys; print(*sys.modules)").split()

    assert SLOW_PACKAGES.isdisjoint(loaded)


@pytest.mark.parametrize("path", LABEL_SOURCES, ids=relative)
def test_cxrlabel_never_names_image_packages_cxrvision_or_cli(path: Path) -> None:
    assert imported_packages(path).isdisjoint(IMAGE_PACKAGES | {"cxrvision", "cli"})


@pytest.mark.parametrize("path", VISION_SOURCES, ids=relative)
def test_cxrvision_names_no_language_package_and_only_shared_modules(path: Path) -> None:
    ours = {name for name in imported_names(path) if name.startswith("cxrlabel")}

    assert imported_packages(path).isdisjoint(LANGUAGE_PACKAGES | {"cli"})
    for name in ours:
        assert any(name == module or name.startswith(f"{module}.") for module in SHARED_MODULES)


@pytest.mark.parametrize("path", ALL_SOURCES, ids=relative)
def test_module_is_short_enough_to_be_one_step(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
