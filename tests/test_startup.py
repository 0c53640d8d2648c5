"""Starting without torch: in processes of their own, since what is loaded stays loaded."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_spacy_is_imported_alone_and_what_it_left_out_can_be_imported_later(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("print('torch was loaded')\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from cxrlabel.startup import import_spacy_alone

import_spacy_alone()
print("spacy" in sys.modules, "torch" in sys.modules, "spacy.cli" in sys.modules)
from cxrlabel.labeler import Labeler
print(Labeler.load().label("Small left effusion.").labels["Pleural Effusion"])
print("torch" in sys.modules, "spacy.cli" in sys.modules)
import spacy.cli
print(callable(spacy.cli.download), callable(spacy.cli.info), callable(spacy.info))
import torch
"""

    assert run(program).splitlines() == [
        "True False False",
        "positive",
        "False False",
        "True True True",
        "torch was loaded",
    ]


def test_caller_who_loaded_torch_or_spacy_before_is_left_alone() -> None:
    program = """
import sys
from types import ModuleType
from cxrlabel.startup import import_spacy_alone

for names in (["torch"], ["spacy", "spacy.cli"]):
    sys.modules.update({name: ModuleType(name) for name in names})
    before = dict(sys.modules)
    import_spacy_alone()
    assert sys.modules == before, names
    for name in names:
        del sys.modules[name]
"""

    assert run(program) == ""
