"""Spanish: one-liners by mechanism, whole reports, and changes that must not move a label.

All reports are invented.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from cxrlabel.errors import InputError
from cxrlabel.findings import STATES, load_findings
from cxrlabel.labeler import Labeler
from cxrlabel.rulebook import Example, load_rulebook
from cxrlabel.rulecheck import check_rules
from cxrlabel.rulefiles import languages, read_rule_files
from cxrlabel.studies import StudyLabels

Cxr = Callable[..., Result]
EXAMPLES = list(load_rulebook(lang="es").examples())
MIN_EXAMPLES = 8


@pytest.fixture(scope="module")
def spanish() -> Labeler:
    """A labeler with the project's Spanish rules."""
    return Labeler.load(lang="es")


def stated(result: StudyLabels) -> dict[str, str]:
    """The labels that are not blank."""
    return {finding: state for finding, state in result.labels.items() if state != "blank"}


def place(example: Example) -> str:
    return example.place.rpartition("/")[2]


# ---- the examples of the rules ----


@pytest.mark.parametrize("example", EXAMPLES, ids=place)
def test_example_gets_the_label_that_it_expects(spanish: Labeler, example: Example) -> None:
    assert spanish.label(example.text).labels[example.finding] == example.expect, example.text


def test_every_finding_has_rules_and_enough_examples() -> None:
    counts = Counter(example.finding for example in EXAMPLES)

    assert set(counts) == {finding.name for finding in load_findings()}
    assert min(counts.values()) >= MIN_EXAMPLES


@pytest.mark.parametrize("finding", [f.name for f in load_findings() if f.name != "No Finding"])
def test_finding_has_examples_of_every_state(finding: str) -> None:
    states = {example.expect for example in EXAMPLES if example.finding == finding}

    assert states >= {"positive", "negative", "uncertain"}


# ---- one-liners, by mechanism: (text, finding, state) ----

NEGATION = [
    ("No se observa derrame pleural ni neumotórax.", "Pneumothorax", "negative"),
    ("Sin infiltrados, condensaciones ni derrame pleural.", "Pleural Effusion", "negative"),
    ("Sin infiltrados, condensaciones ni derrame pleural.", "Consolidation", "negative"),
    ("No se aprecian nódulos, masas o adenopatías.", "Mass", "negative"),
    ("Ausencia de derrame y de neumotórax.", "Pneumothorax", "negative"),
    ("No hay evidencia de neumonía, edema o atelectasia.", "Atelectasis", "negative"),
    ("No se identifican imágenes de condensación.", "Consolidation", "negative"),
    ("Pulmones bien expandidos, libres de infiltrados.", "Infiltration", "negative"),
    ("Cardiomegalia sin signos de edema pulmonar.", "Edema", "negative"),
    ("Cardiomegalia sin signos de edema pulmonar.", "Cardiomegaly", "positive"),
    ("Se descarta neumotórax.", "Pneumothorax", "negative"),
    ("Derrame pleural derecho sin neumotórax asociado.", "Pleural Effusion", "positive"),
    ("No existe cardiomegalia.", "Cardiomegaly", "negative"),
    ("No presenta derrame.", "Pleural Effusion", "negative"),
    ("Tampoco se visualiza neumotórax.", "Pneumothorax", "negative"),
]
SCOPE = [
    ("Sin neumotórax, pero con derrame pleural izquierdo.", "Pleural Effusion", "positive"),
    ("No se aprecia neumotórax, leve derrame pleural derecho.", "Pleural Effusion", "positive"),
    ("No se observa derrame y la silueta cardiaca está aumentada.", "Cardiomegaly", "positive"),
    ("No hay condensaciones, se observa cardiomegalia.", "Cardiomegaly", "positive"),
    ("Leve cardiomegalia no se observan derrames", "Cardiomegaly", "positive"),
    ("Leve cardiomegalia no se observan derrames", "Pleural Effusion", "negative"),
    ("Sin neumotórax tras retirada del drenaje.", "Pneumothorax", "negative"),
    ("No condensaciones con atelectasia basal laminar.", "Atelectasis", "positive"),
    ("Sin derrame aunque persiste infiltrado basal.", "Infiltration", "positive"),
]
POST_NEGATION = [
    ("Neumotórax: no.", "Pneumothorax", "negative"),
    ("Derrame pleural: no se observa.", "Pleural Effusion", "negative"),
    ("Derrame pleural no se observa.", "Pleural Effusion", "negative"),
    ("Condensaciones no visibles.", "Consolidation", "negative"),
    ("Neumotórax descartado.", "Pneumothorax", "negative"),
    ("Infiltrados ausentes.", "Infiltration", "negative"),
    ("Nódulos: no se identifican.", "Nodule", "negative"),
    ("Neumonía poco probable.", "Pneumonia", "negative"),
]
DOUBLE_NEGATION = [
    ("No se puede negar la presencia de edema.", "Edema", "positive"),
    ("El derrame pleural no ha desaparecido.", "Pleural Effusion", "positive"),
    ("Sin cambios en el derrame pleural izquierdo.", "Pleural Effusion", "positive"),
    ("No ha cambiado la condensación basal.", "Consolidation", "positive"),
    ("Derrame pleural sin cambios significativos.", "Pleural Effusion", "positive"),
    ("No se aprecian cambios significativos en el infiltrado.", "Infiltration", "positive"),
    ("No solo hay derrame sino neumotórax.", "Pneumothorax", "positive"),
    ("Neumotórax no resuelto.", "Pneumothorax", "positive"),
]
UNCERTAINTY = [
    ("No se puede descartar neumonía.", "Pneumonia", "uncertain"),
    ("Neumonía no descartable.", "Pneumonia", "uncertain"),
    ("Sin poder descartar pequeño derrame pleural.", "Pleural Effusion", "uncertain"),
    ("Pequeño neumotórax no puede ser descartado.", "Pneumothorax", "uncertain"),
    ("Posible condensación en LII.", "Consolidation", "uncertain"),
    ("Dudosa fractura costal.", "Fracture", "uncertain"),
    ("Infiltrado en LID ¿neumonía?", "Pneumonia", "uncertain"),
    ("Infiltrado en LID ¿neumonía?", "Infiltration", "positive"),
    ("Atelectasia vs neumonía en base izquierda.", "Atelectasis", "uncertain"),
    ("Condensación o atelectasia basal.", "Consolidation", "uncertain"),
    ("Imagen que podría corresponder a nódulo.", "Nodule", "uncertain"),
    ("Hallazgos sugestivos de edema pulmonar.", "Edema", "uncertain"),
    ("Opacidad sospechosa de neoplasia.", "Lung Lesion", "uncertain"),
    ("Masa hiliar a descartar.", "Mass", "uncertain"),
    ("Condensación compatible con neumonía.", "Pneumonia", "positive"),
    ("Opacidad en relación con atelectasia.", "Atelectasis", "positive"),
    ("Seno costofrénico izquierdo pinzado.", "Pleural Effusion", "uncertain"),
    ("Los senos costofrénicos no están libres.", "Pleural Effusion", "uncertain"),
    ("Mínimo derrame versus engrosamiento pleural.", "Pleural Effusion", "uncertain"),
    ("Redistribución vascular.", "Edema", "uncertain"),
]
TIME = [
    ("El neumotórax ha desaparecido.", "Pneumothorax", "negative"),
    ("Resolución completa del derrame pleural.", "Pleural Effusion", "negative"),
    ("Ya no se observa la condensación del LID.", "Consolidation", "negative"),
    ("El neumotórax ya no se visualiza.", "Pneumothorax", "negative"),
    ("Resolución parcial del derrame pleural.", "Pleural Effusion", "positive"),
    ("Disminución del derrame pleural derecho.", "Pleural Effusion", "positive"),
    ("Aumento del infiltrado basal izquierdo.", "Infiltration", "positive"),
    ("Derrame pleural estable.", "Pleural Effusion", "positive"),
    ("Drenaje torácico retirado.", "Support Devices", "negative"),
    ("Derrame izquierdo conocido. Ha desaparecido.", "Pleural Effusion", "negative"),
    ("Tractos fibrosos apicales. No hay lesiones agudas.", "Fibrosis", "positive"),
    ("Derrame pleural. Se ha resuelto el neumotórax.", "Pleural Effusion", "positive"),
    ("Antecedentes de neumonía.", "Pneumonia", "blank"),
    ("Diagnosticado de edema pulmonar la semana pasada.", "Edema", "blank"),
    ("Sin nuevos infiltrados.", "Infiltration", "blank"),
    ("No se observan nuevos nódulos.", "Nodule", "blank"),
    ("Si se sospecha neumotórax, repetir en espiración.", "Pneumothorax", "blank"),
    ("Se recomienda TC para descartar neoplasia.", "Lung Lesion", "blank"),
]
ANATOMY = [
    ("Silueta cardiaca de tamaño y morfología normales.", "Cardiomegaly", "negative"),
    ("Silueta cardiaca aumentada.", "Cardiomegaly", "positive"),
    ("Índice cardiotorácico aumentado.", "Cardiomegaly", "positive"),
    ("ICT en el límite alto de la normalidad.", "Cardiomegaly", "uncertain"),
    ("Mediastino e hilios sin alteraciones.", "Enlarged Cardiomediastinum", "negative"),
    ("Silueta cardiomediastínica normal.", "Enlarged Cardiomediastinum", "negative"),
    ("Campos pulmonares sin condensaciones.", "Lung Opacity", "negative"),
    ("Ambos pulmones libres.", "Consolidation", "negative"),
    ("Senos costofrénicos y cardiofrénicos libres.", "Pleural Effusion", "negative"),
    ("Senos libres.", "Pleural Effusion", "negative"),
    ("Marco óseo sin alteraciones.", "Fracture", "negative"),
    ("Tórax sin lesiones pleuropulmonares.", "Lung Opacity", "negative"),
    ("Corazón, mediastino e hilios normales.", "Cardiomegaly", "negative"),
    ("Vascularización pulmonar de distribución normal.", "Edema", "negative"),
]
ONE_LINERS = [*NEGATION, *SCOPE, *POST_NEGATION, *DOUBLE_NEGATION, *UNCERTAINTY, *TIME, *ANATOMY]


@pytest.mark.parametrize(("text", "finding", "state"), ONE_LINERS)
def test_one_liner(spanish: Labeler, text: str, finding: str, state: str) -> None:
    assert spanish.label(text).labels[finding] == state


# ---- sections ----


@pytest.mark.parametrize(
    "report",
    [
        "MOTIVO: descartar neumotórax.\nHALLAZGOS: Cardiomegalia.",
        "DATOS CLÍNICOS: neumotórax previo.\nIMPRESIÓN: Cardiomegalia.",
        "Indicación clínica: neumotórax\nInforme:\nCardiomegalia.",
        "COMPARACIÓN: neumotórax izquierdo en placa de ayer.\nCONCLUSIÓN: Cardiomegalia.",
        "Técnica: espiración para neumotórax.\n\nCardiomegalia.",
        "ANTECEDENTES: neumotórax.\nHALLAZGOS: Cardiomegalia.",
    ],
)
def test_section_that_makes_no_labels(spanish: Labeler, report: str) -> None:
    assert stated(spanish.label(report)) == {"Cardiomegaly": "positive"}


@pytest.mark.parametrize("heading", ["IMPRESIÓN", "Impresion", "CONCLUSIÓN", "conclusion"])
def test_heading_is_found_with_and_without_accents(spanish: Labeler, heading: str) -> None:
    result = spanish.label(f"{heading}: Edema.")

    assert (result.sections, stated(result)) == (("impression",), {"Edema": "positive"})


def test_addendum_corrects_the_report(spanish: Labeler) -> None:
    report = "HALLAZGOS: Neumotórax derecho.\nADENDA: No se observa neumotórax."

    assert spanish.label(report).labels["Pneumothorax"] == "negative"


# ---- attributes ----


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("Derrame pleural izquierdo.", "laterality", "left"),
        ("Derrame pleural bilateral.", "laterality", "bilateral"),
        ("Pequeño derrame pleural.", "severity", "mild"),
        ("Derrame pleural masivo.", "severity", "severe"),
        ("Derrame pleural en la base izquierda.", "location", "basal"),
        ("Derrame pleural de nueva aparición.", "temporality", "new"),
        ("Derrame pleural sin cambios.", "temporality", "unchanged"),
        ("Disminución del derrame pleural.", "temporality", "improved"),
    ],
)
def test_attribute(spanish: Labeler, text: str, attribute: str, value: str) -> None:
    (mention,) = spanish.label(text).mentions

    assert getattr(mention, attribute) == value


# ---- whole reports: all labels that are not blank ----

REPORTS = {
    "normal": (
        """RX DE TÓRAX PA Y LATERAL
        Motivo: preoperatorio.
        Hallazgos: Silueta cardiomediastínica de tamaño normal. Hilios sin alteraciones. Campos
        pulmonares libres, sin condensaciones ni nódulos. Senos costofrénicos libres.
        Estructuras óseas sin alteraciones.""",
        {"No Finding": "positive", "Cardiomegaly": "negative", "Lung Lesion": "negative",
         "Enlarged Cardiomediastinum": "negative", "Lung Opacity": "negative",
         "Consolidation": "negative", "Pleural Effusion": "negative", "Nodule": "negative",
         "Fracture": "negative"},
    ),
    "pneumonia": (
        """DATOS CLÍNICOS: Fiebre y tos, descartar neumonía.
        HALLAZGOS: Condensación en lóbulo inferior derecho con broncograma aéreo. Pequeño derrame
        pleural asociado. No se observa neumotórax.
        IMPRESIÓN: Hallazgos compatibles con neumonía basal derecha.""",
        {"Consolidation": "positive", "Pneumonia": "positive", "Pleural Effusion": "positive",
         "Pneumothorax": "negative"},
    ),
    "heart failure": (
        """Cardiomegalia. Signos de redistribución vascular y líneas B de Kerley. Derrame pleural
        bilateral de predominio derecho. Hallazgos en relación con ICC.""",
        {"Cardiomegaly": "positive", "Edema": "positive", "Pleural Effusion": "positive"},
    ),
    "intensive care": (
        """Rx tórax portátil. TET a 3 cm de la carina. SNG en cámara gástrica. Vía venosa central
        yugular derecha con extremo en cava superior. No se aprecia neumotórax. Atelectasia
        laminar basal izquierda. No se puede descartar pequeño derrame pleural izquierdo.""",
        {"Support Devices": "positive", "Pneumothorax": "negative", "Atelectasis": "positive",
         "Pleural Effusion": "uncertain"},
    ),
    "trauma": (
        """MOTIVO DE CONSULTA: caída, dolor costal.
        INFORME:
        Fracturas del sexto y séptimo arcos costales izquierdos, sin neumotórax ni hemotórax
        asociados. Parénquima pulmonar sin contusiones.""",
        {"Fracture": "positive", "Pneumothorax": "negative", "Pleural Effusion": "negative"},
    ),
    "tumor": (
        """Masa de 6 cm en lóbulo superior izquierdo, sugestiva de neoplasia. Ensanchamiento
        mediastínico. Nódulos pulmonares bilaterales, a valorar posibles metástasis. Se recomienda
        completar estudio con TC.""",
        {"Mass": "positive", "Lung Lesion": "positive", "Nodule": "positive",
         "Enlarged Cardiomediastinum": "positive"},
    ),
    "chronic": (
        """Signos de EPOC con hiperinsuflación y cambios enfisematosos de predominio apical. Tractos
        fibrosos biapicales y engrosamiento pleural apical. Callos de fractura en arcos costales
        derechos. Aorta elongada. Hernia de hiato.""",
        {"Emphysema": "positive", "Fibrosis": "positive", "Pleural Thickening": "positive",
         "Pleural Other": "positive", "Fracture": "positive", "Hernia": "positive"},
    ),
    "follow-up": (
        """COMPARACIÓN: Rx del día previo con neumotórax derecho.
        HALLAZGOS: Se ha retirado el drenaje torácico. El neumotórax ha desaparecido. Persiste
        mínimo derrame pleural derecho sin cambios. Silueta cardiaca normal.""",
        {"Support Devices": "negative", "Pneumothorax": "negative", "Pleural Effusion": "positive",
         "Cardiomegaly": "negative"},
    ),
    "no headings, capitals": (
        """CARDIOMEGALIA MODERADA. AUMENTO DE DENSIDAD EN BASE IZQUIERDA QUE PODRIA CORRESPONDER A
        ATELECTASIA O CONDENSACION. SENO COSTOFRENICO DERECHO LIBRE. PORTADOR DE MARCAPASOS.""",
        {"Cardiomegaly": "positive", "Lung Opacity": "positive", "Atelectasis": "uncertain",
         "Consolidation": "uncertain", "Pleural Effusion": "negative",
         "Support Devices": "positive"},
    ),
    "template": (
        """Pulmones: infiltrado intersticial bilateral.
        Pleura: sin derrame.
        Corazón: aumentado de tamaño.
        Mediastino: normal.
        Huesos: sin fracturas.""",
        {"Infiltration": "positive", "Lung Opacity": "positive", "Pleural Effusion": "negative",
         "Cardiomegaly": "positive", "Enlarged Cardiomediastinum": "negative",
         "Fracture": "negative"},
    ),
    "devices and nothing else": (
        """Suturas de esternotomía y prótesis valvular aórtica. DAI con electrodos en aurícula y
        ventrículo derechos. Índice cardiotorácico normal. No se observan infiltrados ni
        derrame pleural.""",
        {"No Finding": "positive", "Support Devices": "positive", "Cardiomegaly": "negative",
         "Infiltration": "negative", "Lung Opacity": "negative", "Pleural Effusion": "negative"},
    ),
    "run-on": (
        "Leve cardiomegalia sin signos de fallo cardiaco no se observan condensaciones ni nódulos "
        "senos costofrénicos libres",
        {"Cardiomegaly": "positive", "Edema": "negative", "Consolidation": "negative",
         "Nodule": "negative", "Lung Lesion": "negative", "Pleural Effusion": "negative"},
    ),
    "addendum": (
        """Hallazgos: Posible nódulo en LSD. Sin derrame pleural. Pulmones hiperinsuflados.
        Nota aclaratoria: revisado con proyección lateral, no hay nódulos.""",
        {"Nodule": "negative", "Lung Lesion": "negative", "Pleural Effusion": "negative"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("report", "expected"), REPORTS.values(), ids=REPORTS)
def test_whole_report(spanish: Labeler, report: str, expected: dict[str, str]) -> None:
    assert stated(spanish.label(report)) == expected


# ---- changes that must not move a label ----


def unaccented(text: str) -> str:
    """Without accents, ñ kept."""
    parts = unicodedata.normalize("NFD", text.replace("ñ", "\0").replace("Ñ", "\1"))
    plain = "".join(c for c in parts if not unicodedata.combining(c))
    return plain.replace("\0", "ñ").replace("\1", "Ñ")


CHANGES: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "no accents": unaccented,
    "accents as characters of their own": lambda text: unicodedata.normalize("NFD", text),
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "doubled spaces": lambda text: text.replace(" ", "  "),
    "no final stop": lambda text: text.rstrip(" ."),
    "an indication before it": lambda text: f"MOTIVO: tos, descartar edema.\nHALLAZGOS: {text}",
}
HAS_SECTIONS = {"normal", "addendum", "pneumonia", "trauma", "follow-up"}  # with sections already


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", REPORTS)
def test_change_moves_no_label_of_a_report(spanish: Labeler, name: str, change: str) -> None:
    if change == "an indication before it" and name in HAS_SECTIONS:
        pytest.skip("the report has sections of its own")
    report, expected = REPORTS[name]

    assert stated(spanish.label(CHANGES[change](report))) == expected


@pytest.mark.parametrize("change", ["upper case", "no accents", "no final stop"])
@pytest.mark.parametrize(("text", "finding", "state"), ONE_LINERS)
def test_change_moves_no_label_of_a_line(
    spanish: Labeler, text: str, finding: str, state: str, change: str
) -> None:
    assert spanish.label(CHANGES[change](text)).labels[finding] == state


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_offsets_slice_back_to_the_text(spanish: Labeler, form: str) -> None:
    report = unicodedata.normalize(
        form, "Atención: pequeño neumotórax. Índice cardiotorácico normal."
    )

    mentions = spanish.label(report).mentions

    assert len(mentions) == 2
    assert all(report[m.start : m.end] == m.text for m in mentions)
    assert mentions[0].text == unicodedata.normalize(form, "neumotórax")


FRAGMENTS = [
    "no ", "sin ", "ni ", "derrame pleural ", "neumotórax", "edema ", "corazón ", "normal ", "y ",
    "o ", "senos costofrénicos ", "libres", ", ", ". ", ": ", "¿", "? ", "\n", "\r\n", "posible ",
    "no se observa ", "ha desaparecido", "HALLAZGOS: ", "MOTIVO: ", "ADENDA: ", "___", "\u0301",
    "\u0303", "ñ", "Ñ", "ß", "İ", "ﬁ", "\0",
]  # fmt: skip


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(FRAGMENTS)).map("".join)))
def test_any_text_is_labeled_with_offsets_that_slice_back(spanish: Labeler, report: str) -> None:
    result = spanish.label(report)

    assert set(result.labels.values()) <= set(STATES)
    assert all(report[m.start : m.end] == m.text != "" for m in result.mentions)


# ---- the language as an option ----


def test_languages_are_the_folders_of_the_rules() -> None:
    assert languages() == ("en", "es")


def test_unknown_language_is_named_with_the_known_ones(cxr: Cxr) -> None:
    done = cxr("label", "--text", "Derrame.", "--lang", "xx")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: --lang: unknown language 'xx'; known: en, es\n"


def test_english_reads_no_spanish_and_spanish_no_english(
    labeler: Labeler, spanish: Labeler
) -> None:
    assert stated(labeler.label("Sin derrame pleural.")) == {"No Finding": "positive"}
    assert stated(spanish.label("Large effusion.")) == {"No Finding": "positive"}


def test_rule_files_have_the_same_names_in_every_language() -> None:
    english, spanish = read_rule_files(), read_rule_files(lang="es")

    assert set(english.files) == set(spanish.files)
    assert english.hash != spanish.hash


def test_spanish_finding_files_share_names_and_aliases() -> None:
    for file in read_rule_files(lang="es").folder("findings"):
        assert "aliases" not in file.table
        assert read_rule_files().single(file.name).table["name"] == file.table["name"]


def test_finding_that_no_shared_file_names_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "es" / "findings"
    folder.mkdir(parents=True)
    (folder / "x.toml").write_text('name = "Granuloma"\nsource = "A test."\n')

    with pytest.raises(InputError, match=r"x\.toml: unknown finding 'Granuloma'"):
        load_rulebook([tmp_path], lang="es")


def test_own_rules_lie_over_the_language_that_is_chosen(
    rules_folder: Callable[..., Path],
) -> None:
    folder = rules_folder({"cues/negation.toml": 'extend = true\nbefore = ["cero"]\n'})

    assert (
        Labeler.load(rules=[folder], lang="es").label("Cero derrames.").labels["Pleural Effusion"]
        == "negative"
    )


def test_own_subfolder_of_a_language_lies_over_that_language_only(
    rules_folder: Callable[..., Path],
) -> None:
    folder = rules_folder(
        {
            "cues/negation.toml": 'extend = true\nbefore = ["zero"]\n',
            "es/cues/negation.toml": 'extend = true\nbefore = ["cero"]\n',
        }
    )

    words = {
        lang: read_rule_files([folder], lang=lang).single("cues/negation.toml").table["before"][-1]
        for lang in ("en", "es")
    }

    assert words == {"en": "zero", "es": "cero"}


def test_new_language_is_a_folder_with_findings(rules_folder: Callable[..., Path]) -> None:
    folder = rules_folder({"pt/findings/edema.toml": 'name = "Edema"\n'})

    assert languages([folder]) == ("en", "es", "pt")
    names = read_rule_files([folder], lang="pt").files
    shared = ("dialects/", "labelsets/", "hierarchy.toml", "options.toml")
    assert [name for name in names if not name.startswith(shared)] == ["findings/edema.toml"]


def test_check_runs_the_examples_of_every_language(cxr: Cxr) -> None:
    done = cxr("rules", "check")

    english, spanish = done.stdout.splitlines()
    assert english.endswith(" en examples: all as expected")
    assert spanish.endswith(" es examples: all as expected")
    assert check_rules(lang="es").failures == ()


def test_rules_of_a_finding_are_shown_in_its_language(cxr: Cxr) -> None:
    done = cxr("rules", "show", "Pleural Effusion", "--lang", "es")

    assert done.exit_code == 0
    assert "derrame pleural" in done.stdout


def test_files_are_labeled_and_the_run_record_has_the_language(cxr: Cxr, tmp_path: Path) -> None:
    reports, out = tmp_path / "informes.csv", tmp_path / "labels.csv"
    reports.write_text("id,report\n1,Derrame pleural.\n", encoding="utf-8")

    done = cxr("label", reports, "-o", out, "--lang", "es")

    record = (tmp_path / "labels.csv.run.json").read_text()
    assert done.exit_code == 0, done.stderr
    assert '"lang": "es"' in record
    assert f'"rules_hash": "{read_rule_files(lang="es").hash}"' in record
    assert out.read_text().splitlines()[1].startswith("1,")
