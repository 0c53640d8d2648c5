"""The review in a real browser: by keyboard, with a server that dies, readable by everybody."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from review_site import KEYS, make_review, read_rows, served_here, servers, sources, write_rows

from cxrlabel.audit.review.export import export_review
from cxrlabel.audit.review.inputs import Sources

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STATES = ("positive", "negative", "uncertain", "blank")
DIGITS = dict(zip(STATES, "1234", strict=True))
LETTERS = dict(zip(STATES, "paun", strict=True))
NUMBERS = dict(zip(STATES, ("1", "0", "-1", ""), strict=True))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 30_000  # milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    if CHROMIUM is None:
        pytest.skip("no browser (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def serving() -> Iterator[Any]:
    with servers() as start:
        yield start


@pytest.fixture
def served() -> Iterator[Any]:
    """A function from a database to the links of its people, served by this process."""
    with ExitStack() as stack:
        yield lambda db: stack.enter_context(served_here(db))


@pytest.fixture
def visitor(browser: Any) -> Iterator[Any]:
    """A function that opens a link in a browser window of its own; complaints fail the test."""
    windows: list[Any] = []
    complaints: list[str] = []

    def open_window(url: str, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1440, "height": 860})
        options.setdefault("reduced_motion", "reduce")  # no color is caught half way
        windows.append(browser.new_context(**options))
        page = windows[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.goto(url)
        return page

    open_window.complaints = complaints  # type: ignore[attr-defined]
    yield open_window
    for window in windows:
        window.close()
    assert complaints == []


def until(page: Any, condition: str | Callable[[Any], bool]) -> None:
    """Wait; `page.wait_for_function` evaluates in the page, which the page's policy forbids."""
    holds = (lambda p: p.evaluate(condition)) if isinstance(condition, str) else condition
    end = time.monotonic() + WAIT / 1000
    while not _unless_it_navigates(lambda: holds(page)):
        assert time.monotonic() < end, f"never: {condition}"
        page.wait_for_timeout(20)


def _unless_it_navigates(ask: Callable[[], bool]) -> bool:
    from playwright.sync_api import Error

    try:
        return ask()
    except Error as error:
        if "navigation" not in str(error):
            raise
        return False


def on_study(page: Any, position: int) -> None:
    page.wait_for_url(f"**/study/{position}", timeout=WAIT)
    until(page, "!!document.activeElement?.closest('.finding, .foot')")


def saved(page: Any) -> None:
    until(page, "document.getElementById('saved')?.textContent === 'Saved'")


def chosen(page: Any) -> dict[str, str]:
    inputs = "[...document.querySelectorAll('.finding input:checked')]"
    found: dict[str, str] = page.evaluate(
        f"Object.fromEntries({inputs}.map((i) => [i.name.slice(2), i.value]))"
    )
    return found


def frames(page: Any) -> None:
    """Wait until what the last keys asked for is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def study_id(page: Any) -> str:
    text: str = page.text_content(".study-head .id")
    return text.strip()


# the whole way


def test_twenty_studies_by_keyboard_two_reviewers_adjudication_and_export(
    tmp_path: Path, served: Any, visitor: Any
) -> None:
    """Ann and Bob read at once; Bob's window is closed in the middle; the judge decides."""
    db = make_review(
        tmp_path,
        sources(tmp_path, studies=20),
        reviewers=["Ann", "Bob"],
        adjudicators=["Judge"],
        double=1,
    )
    links = served(db)
    rng = random.Random(1)
    truth = {f"s{n}": dict(zip(KEYS, rng.choices(STATES, k=3), strict=True)) for n in range(1, 21)}
    other = {study: dict(states) for study, states in truth.items()}
    for study in ("s3", "s8", "s13"):
        index = STATES.index(truth[study]["pneumonia"])
        other[study]["pneumonia"] = STATES[(index + 1) % 4]

    def read(page: Any, position: int, plan: dict[str, dict[str, str]], keys: Any) -> None:
        on_study(page, position)
        states = plan[study_id(page)]
        if position % 5 == 0:  # the rest by one key, against the order of the page
            for key in reversed(KEYS):
                if states[key] != "blank":
                    while not page.evaluate(
                        f"document.activeElement.closest('[data-key={key}]') !== null"
                    ):
                        page.keyboard.press("ArrowUp" if position % 2 else "k")
                        if page.evaluate("document.activeElement.closest('[data-key=edema]')"):
                            for _ in range(KEYS.index(key)):
                                page.keyboard.press("ArrowDown" if position % 2 else "j")
                    page.keyboard.press(keys[states[key]])
            page.keyboard.press("r")
            saved(page)
            until(page, "document.querySelector('.answers b')?.textContent === '3'")
        else:
            for key in KEYS:
                page.keyboard.press(keys[states[key]])
        assert chosen(page) == states
        page.keyboard.press("Enter")

    ann, bob = visitor(links["Ann"]), visitor(links["Bob"])
    for position in range(1, 21):
        read(ann, position, truth, DIGITS)
        read(bob, position, other, LETTERS)
        if position == 9:  # in the middle of the next study
            on_study(bob, 10)
            half = study_id(bob)
            bob.keyboard.press(LETTERS[other[half]["edema"]])
            saved(bob)
            bob.context.close()
            bob = visitor(links["Bob"])
            on_study(bob, 10)
            assert chosen(bob) == {"edema": other[half]["edema"]}
    ann.wait_for_url("**/done")
    assert "All 20 studies are read" in ann.text_content("h1")
    bob.wait_for_url("**/done")

    judge = visitor(links["Judge"])
    for left in (3, 2, 1):
        until(judge, f"document.querySelector('.bar .count')?.textContent === '{left}'")
        until(judge, "!!document.activeElement?.closest('.finding')")
        assert judge.locator(".finding").count() == 1
        before = study_id(judge)
        judge.keyboard.press(DIGITS[truth[before]["pneumonia"]])
        saved(judge)
        judge.keyboard.press("Enter")
    judge.wait_for_selector("text=No study waits for you")

    export_review(db, tmp_path / "manual.csv", which="final")
    rows = {row["uid"]: list(row.values())[3:] for row in read_rows(tmp_path / "manual.csv")}
    assert rows == {
        study: [NUMBERS[states[key]] for key in KEYS] for study, states in truth.items()
    }


# nothing is lost


def test_choices_made_while_the_server_is_dead_are_saved_when_it_is_back(
    tmp_path: Path, serving: Any, visitor: Any
) -> None:
    db = make_review(tmp_path)
    served = serving(db)
    page = visitor(served.urls[0])
    on_study(page, 1)
    page.keyboard.press("1")
    saved(page)
    served.stop()

    page.keyboard.press("2")
    page.keyboard.press("t")
    page.keyboard.type("Written in the dark")
    page.wait_for_selector("text=The server does not answer")
    assert chosen(page) == {"edema": "positive", "pneumonia": "negative"}

    port = int(served.urls[0].split(":")[2].split("/")[0])
    serving(db, port)
    saved(page)
    assert page.is_hidden("#message")
    page.reload()
    on_study(page, 1)
    assert chosen(page) == {"edema": "positive", "pneumonia": "negative"}
    assert page.input_value("#note") == "Written in the dark"
    assert all("Failed to fetch" in c or "ERR_CONN" in c for c in visitor.complaints)
    visitor.complaints.clear()


def test_window_closed_while_the_server_is_dead_still_has_its_choices(
    tmp_path: Path, serving: Any, visitor: Any
) -> None:
    db = make_review(tmp_path)
    served = serving(db)
    page = visitor(served.urls[0])
    on_study(page, 1)
    served.stop()
    page.keyboard.press("3")
    page.wait_for_selector("text=The server does not answer")
    kept = page.evaluate("Object.values(localStorage).join()")
    assert "uncertain" in kept
    assert "Zebrafish" not in kept
    context = page.context
    page.close(run_before_unload=False)

    port = int(served.urls[0].split(":")[2].split("/")[0])
    serving(db, port)
    page = context.new_page()
    page.goto(served.urls[0].replace("/login", "/study/2?"))  # another study, by the cookie
    until(page, "localStorage.length === 0")
    page.goto(f"http://127.0.0.1:{port}/study/1")
    assert chosen(page) == {"edema": "uncertain"}
    visitor.complaints.clear()


def test_undo_by_keyboard_and_reopen(tmp_path: Path, served: Any, visitor: Any) -> None:
    page = visitor(served(make_review(tmp_path))["reviewer"])
    on_study(page, 1)
    for key in ("1", "2", "Control+z", "3", "x", "k", "k", "n"):
        page.keyboard.press(key)  # faster than the server answers
    until(page, lambda p: chosen(p) == {"edema": "blank", "pneumonia": "uncertain"})
    page.keyboard.press("x")
    saved(page)
    page.reload()
    on_study(page, 1)
    assert chosen(page) == {"edema": "blank"}

    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'confirm'")
    page.keyboard.press("Escape")
    page.wait_for_selector("#confirm", state="hidden")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'confirm'")
    page.keyboard.press("Enter")
    on_study(page, 2)
    page.keyboard.press("h")
    on_study(page, 1)
    assert chosen(page) == dict.fromkeys(KEYS, "blank")
    page.keyboard.press("1")  # it is committed: nothing happens
    page.keyboard.press("o")
    page.wait_for_selector("#findings:not(.committed)")
    page.keyboard.press("p")
    saved(page)
    assert chosen(page) == {**dict.fromkeys(KEYS, "blank"), "edema": "positive"}


def test_normal_study_takes_two_keys(tmp_path: Path, served: Any, visitor: Any) -> None:
    page = visitor(served(make_review(tmp_path))["reviewer"])
    on_study(page, 1)

    page.keyboard.press("2")
    page.keyboard.press("Shift+Enter")

    on_study(page, 2)
    page.keyboard.press("h")
    on_study(page, 1)
    assert chosen(page) == {**dict.fromkeys(KEYS, "blank"), "edema": "negative"}


def test_letters_can_be_turned_off(tmp_path: Path, served: Any, visitor: Any) -> None:
    page = visitor(served(make_review(tmp_path))["reviewer"])
    on_study(page, 1)
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help[open]", state="detached")

    page.keyboard.press("1")
    assert chosen(page) == {}
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")  # as any radio button
    saved(page)
    assert chosen(page) == {"pneumonia": "positive"}


# reports and labels


def test_script_in_a_report_does_not_run(tmp_path: Path, served: Any, visitor: Any) -> None:
    attack = "Clear. <script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'> Lungs."
    db = make_review(tmp_path, sources(tmp_path, reports={"s1": attack}))
    page = visitor(served(db)["reviewer"])
    on_study(page, 1)

    assert "<script>window.hurt = 1</script>" in page.inner_text(".material")
    assert page.evaluate("window.hurt") is None
    page.keyboard.press("t")
    page.keyboard.type("<script>window.hurt = 1</script>")
    saved(page)
    page.reload()
    assert page.input_value("#note") == "<script>window.hurt = 1</script>"
    assert page.evaluate("window.hurt") is None


def test_policy_stops_a_script_that_got_into_the_page(
    tmp_path: Path, served: Any, visitor: Any
) -> None:
    """The second line: even markup that was not escaped runs nothing and asks nobody."""
    page = visitor(served(make_review(tmp_path))["reviewer"])
    on_study(page, 1)
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hurt = 1";
          document.body.append(script);
        }"""
    )
    asked = page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'stopped')")

    assert page.evaluate("window.hurt") is None
    assert asked == "stopped"
    assert any("Content Security Policy" in text for text in visitor.complaints)
    visitor.complaints.clear()


def test_labels_are_shown_by_key_after_a_question(
    tmp_path: Path, served: Any, visitor: Any
) -> None:
    given = sources(tmp_path, studies=1)
    rows = [{"uid": "s1", "Edema": 1, "Pneumonia": 1, "Pleural Effusion": 0}]
    labels = write_rows(tmp_path / "labels.csv", rows)
    files = Sources(sample=given.sample, reports=given.reports, labels=labels, id_column="uid")
    page = visitor(served(make_review(tmp_path, files))["reviewer"])
    on_study(page, 1)
    page.keyboard.press("v")  # not yet
    for key in ("2", "2", "2", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/done")
    page.goto(page.url.replace("/done", "/study/1"))
    on_study(page, 1)
    assert page.locator("text=Labeler:").count() == 0

    page.keyboard.press("v")
    page.wait_for_selector("text=this reading is final")
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.keyboard.press("Enter")

    page.wait_for_selector("text=The labeler differs in 2 findings")
    assert page.locator("[data-reopen]").count() == 0


# images


def _gray(page: Any) -> float:
    """The mean gray of the first image as it is drawn."""
    mean: float = page.evaluate(
        """() => {
          const canvas = document.querySelector("[data-film]");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return pixels.data.filter((_, at) => at % 4 === 0).reduce((a, b) => a + b) * 4
            / pixels.data.length;
        }"""
    )
    return mean


def test_images_side_by_side_in_a_window_by_keys_and_mouse(
    tmp_path: Path, served: Any, visitor: Any
) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.png")
    Image.radial_gradient("L").save(tmp_path / "b.png")
    given = sources(tmp_path, studies=1)
    rows = [{"uid": "s1", "path": "a.png", "view": "frontal"}]
    rows.append({"uid": "s1", "path": "b.png", "view": "lateral"})
    images = write_rows(tmp_path / "studies.csv", rows)
    files = Sources(sample=given.sample, reports=given.reports, images=images, id_column="uid")
    page = visitor(served(make_review(tmp_path, files, reference="image"))["reviewer"])
    until(page, "document.querySelector('[data-film]').width === 256")
    until(page, "document.querySelectorAll('[data-film]')[1].width === 256")
    left, right = (page.locator(".film canvas").nth(n).bounding_box() for n in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"] + 16
    first = _gray(page)
    assert first == pytest.approx(127.5, abs=2)

    def after(*keys: str) -> float:
        for key in keys:
            page.keyboard.press(key)
        frames(page)
        return _gray(page)

    assert after("w", "w") > first + 10
    assert after("s", "s", "s") < first - 5
    assert after("0") == first
    ends = "() => document.querySelector('[data-film]').getContext('2d')"
    black = f"({ends})().getImageData(0, 64, 1, 1).data[0]"
    before = page.evaluate(black)
    after("e", "e", "e")
    assert page.evaluate(black) < before  # more contrast: dark is darker
    after("0")
    assert page.evaluate("(" + ends + ")().getImageData(0, 0, 1, 1).data[0]") == 0
    after("i")
    assert page.evaluate("(" + ends + ")().getImageData(0, 0, 1, 1).data[0]") == 255
    after("0")

    page.mouse.move(left["x"] + 50, left["y"] + 150)
    page.mouse.down()
    page.mouse.move(left["x"] + 50, left["y"] + 60, steps=4)
    page.mouse.up()
    frames(page)
    assert _gray(page) > first + 10
    assert chosen(page) == {}  # no key of the images answers a finding


# for everybody


CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].map((c, i) => (i < 3 ? c : c / 255));
  };
  const over = (top, under) => {
    const alpha = top[3] + under[3] * (1 - top[3]);
    const mix = (i) => (top[i] * top[3] + under[i] * under[3] * (1 - top[3])) / (alpha || 1);
    return [mix(0), mix(1), mix(2), alpha];
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    let color = [0, 0, 0, 0];
    for (let at = element; at && color[3] < 1; at = at.parentElement) {
      color = over(color, rgba(getComputedStyle(at).backgroundColor));
    }
    return over(color, [255, 255, 255, 1]);
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(":disabled, noscript, .skip, script")) continue;
    if (element.closest(".choice")?.querySelector(":disabled:not(:checked)")) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const a = light(over(rgba(style.color), ground)), b = light(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      const shown = walker.currentNode.data.trim().slice(0, 20);
      bad.push(`${element.className || element.tagName}: ${shown} ${ratio.toFixed(2)}`);
    }
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(
    tmp_path: Path, served: Any, visitor: Any, scheme: str
) -> None:
    given = sources(tmp_path, studies=2)
    rows = [{"uid": f"s{n}", "Edema": 1, "Pneumonia": 0, "Pleural Effusion": -1} for n in (1, 2)]
    labels = write_rows(tmp_path / "labels.csv", rows)
    files = Sources(sample=given.sample, reports=given.reports, labels=labels, id_column="uid")
    links = served(make_review(tmp_path, files))
    page = visitor(links["reviewer"], color_scheme=scheme)
    on_study(page, 1)
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (max(map(int, background[4:-1].split(","))) < 40) == (scheme == "dark")

    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Enter")
    on_study(page, 2)
    page.keyboard.press("3")
    page.keyboard.press("4")
    page.keyboard.press("?")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    on_study(page, 1)
    page.keyboard.press("v")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The labeler differs")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("g")
    page.wait_for_url("**/studies")
    assert page.evaluate(CONTRAST) == []
    overseer = visitor(links["overview"], color_scheme=scheme)
    assert overseer.evaluate(CONTRAST) == []


def test_contrast_check_finds_pale_text(visitor: Any) -> None:
    page = visitor(
        "data:text/html,<p style='color:%23aaa'>pale</p><p style='color:%23555'>dark</p>"
    )

    assert page.evaluate(CONTRAST) == ["P: pale 2.32"]


@pytest.mark.parametrize(
    ("width", "height", "touch"),
    [(1280, 720, False), (1080, 810, True), (810, 1080, True), (390, 844, True)],
)
def test_page_fits_laptops_tablets_and_telephones(
    tmp_path: Path, served: Any, visitor: Any, width: int, height: int, touch: bool
) -> None:
    url = served(make_review(tmp_path, findings=(), label_set="all"))["reviewer"]
    page = visitor(url, viewport={"width": width, "height": height}, has_touch=touch)
    on_study(page, 1)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    commit = page.locator("#commit")
    assert commit.is_visible()
    box = commit.bounding_box()
    assert box["y"] + box["height"] <= height  # without scrolling
    first = page.locator(".choice").first.bounding_box()
    assert first["height"] >= (44 if touch else 30)
    assert first["width"] >= 44
    for _ in range(20):
        page.keyboard.press("j")
    until(page, "!!document.activeElement?.closest('[data-key=hernia]')")
    focused = page.locator("[data-key=hernia]").bounding_box()
    foot = page.locator(".foot").bounding_box()
    assert focused["y"] + focused["height"] <= foot["y"] + 1  # not under the buttons


def test_colors_can_be_switched_and_stay(tmp_path: Path, served: Any, visitor: Any) -> None:
    page = visitor(served(make_review(tmp_path))["reviewer"], color_scheme="light")
    on_study(page, 1)
    page.click("[data-theme-switch]")
    page.keyboard.press("l")
    on_study(page, 2)

    assert page.get_attribute("html", "data-theme") == "dark"


def test_page_has_names_for_screen_readers(tmp_path: Path, served: Any, visitor: Any) -> None:
    page = visitor(served(make_review(tmp_path))["reviewer"])
    on_study(page, 1)

    group = page.get_by_role("radiogroup", name="Pleural Effusion")
    assert [radio.get_attribute("aria-label") for radio in group.get_by_role("radio").all()] == [
        "Present",
        "Absent",
        "Uncertain",
        "Not mentioned",
    ]
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("progressbar", name="Studies read").count() == 1
    assert page.get_by_role("checkbox", name="Unsure, look again later Q").count() == 1
    assert page.get_by_role("status").get_attribute("id") == "saved"
    assert page.get_attribute("html", "lang") == "en"
