"""The report page: complete, self-contained, inert, the same bytes every time."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from evaluations import INTENTS, evidence, help_desk
from reports import run_inputs, write_report

from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.evaluate.canaries import EQUAL, WORSE
from tuneloop.evaluate.certificate import Item
from tuneloop.report.words import ITEMS

PROTECTED = DecideConfig(protected_slices=["safety", "intent:refund"], n_bootstrap=500)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Tags(HTMLParser):
    """Every element with its attributes, and the visible text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return run_inputs(Store(str(folder / "store")), folder / "in", help_desk(), PROTECTED)


@pytest.fixture(scope="module")
def page(inputs, tmp_path_factory):
    path = write_report(inputs, tmp_path_factory.mktemp("page")).files["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_verdict_comes_first_with_its_number_and_interval(page):
    text = " ".join("".join(Tags(page).text).split())
    body = text[text.index("May helpdesk") :]
    assert body.index("PROMOTE") < body.index("The candidate is better") < body.index("Gates")
    assert "+75.0 points" in body[: body.index("Gates")]
    assert "90 % interval +69.8 to +79.4" in body[: body.index("Gates")]


def test_every_part_that_explains_the_verdict_is_there(page):
    text = " ".join("".join(Tags(page).text).split())
    for intent in INTENTS:
        assert f"intent:{intent}" in text
    for word in ("protected: passed", "1 campaign", "near duplicate", "212", "email",
                 "Candidate won", "Candidate lost", "Candidate tied", "Failed: intent",
                 "null answer", "tuneloop lineage"):  # fmt: skip
        assert word in text
    drawn = [tag for tag, _ in Tags(page).elements]
    assert drawn.count("polyline") == 4
    assert drawn.count("svg") == 2 + 15


def test_the_lineage_names_every_artefact_and_its_parents(inputs, page):
    for _, _, artefact in inputs.stages():
        assert artefact.digest in page
        assert artefact.manifest.key in page
        assert all(parent.digest in page for parent in artefact.manifest.parents)


def test_the_page_reaches_for_nothing_and_runs_nothing(page):
    found = Tags(page)
    assert not {"script", "img", "link", "iframe", "object", "form"} & {
        t for t, _ in found.elements
    }
    for tag, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert not {"src", "srcset", "action", "data"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    styles = re.search(r"<style>(.*?)</style>", page, re.S).group(1)
    assert "url(" not in styles
    assert "@import" not in styles
    policy = [a["content"] for t, a in found.elements if a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_what_a_model_wrote_is_shown_as_text(page):
    assert "&lt;script&gt;document.title=" in page
    assert "<script" not in page
    assert "Help desk &lt;demo&gt;" in page
    assert "<b>our</b>" not in page


def test_the_same_run_gives_the_same_bytes(inputs, page, tmp_path):
    again = write_report(inputs, tmp_path).files["report.html"].read_text(encoding="utf-8")
    assert again == page


@pytest.mark.parametrize("curated", [{}, {"redactions": {}, "brigades": None, "odd": [[1], "x"]}])
def test_summaries_that_lack_keys_are_shown_as_far_as_they_go(tmp_path, curated):
    made = evidence([(False, True)] * 20 + [(True, None)])
    inputs = run_inputs(
        Store(str(tmp_path / "store")), tmp_path / "in", made, curated=curated, examples={}
    )
    html = write_report(replace(inputs, adapters=()), tmp_path / "page", n_examples=1)
    text = "".join(Tags(html.files["report.html"].read_text()).text)
    assert "No training stage left a loss curve." in text
    assert "Without a value for one side: 1 prompts" in text
    assert "No answer: timeout" in text


def test_a_verdict_without_any_number_is_shown_too(tmp_path):
    inputs = run_inputs(Store(str(tmp_path / "s")), tmp_path / "in", evidence([(None, None)] * 3))
    html = write_report(inputs, tmp_path / "page").files["report.html"].read_text()
    assert "HOLD" in html
    assert "Nothing could be compared" in html


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: the page is not opened in a browser")
def test_a_browser_shows_it_without_running_anything(page, tmp_path):
    path, picture = tmp_path / "report.html", tmp_path / "page.png"
    path.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
             "--window-size=1200,2400"]  # fmt: skip
    shown = subprocess.run(
        [CHROMIUM, *flags, f"--screenshot={picture}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "<title>PROMOTE: Help desk &lt;demo&gt;</title>" in shown
    assert picture.stat().st_size > 50_000


def test_a_hold_says_what_stands_in_the_way_and_what_to_do_next(tmp_path):
    made = evidence([(True, True)] * 20 + [(False, True)] * 2)
    inputs = run_inputs(Store(str(tmp_path / "store")), tmp_path / "in", made)
    html = write_report(inputs, tmp_path / "page").files["report.html"].read_text()
    for part in ("What stands in the way", "What to do next:", "Add about", "What answers cost"):
        assert part in html
    top = " ".join("".join(Tags(html[: html.index('id="gates"')]).text).split())
    for part in (
        "Not proven better",
        "would settle a difference of this size",
        "moment of the verdict",
    ):
        assert part in top
    in_the_way = top[top.index("What stands in the way") : top.index("What to do next")]
    assert "Both systems answered" not in in_the_way
    assert "Both systems answered" in top[top.index("What else is known") :]


def test_the_certificate_is_shown_item_by_item_and_every_item_is_explained(tmp_path):
    items = [
        Item("null", "failed", 0.47, 0.35, "at most", 9, 1, 0.31, 0.62).row(),
        Item("kappa", "unproven", None, 0.2, "at least", 0, detail="nobody labelled").row(),
    ]
    one = {"judge": "judge", "model": "m", "status": "failed", "items": items}
    judge = {
        "role": "advisory",
        "canaries": [],
        "certificates": [
            {"judge": "judge", "model": "m", "status": "failed", "failed": ["null"], "unproven": []}
        ],
    }
    made = evidence([(False, True)] * 20, judge=judge, scores={0: (0.5, 0.5)})
    inputs = run_inputs(
        Store(str(tmp_path / "store")), tmp_path / "in", made, certificate={"judges": [one]}
    )
    html = write_report(inputs, tmp_path / "page").files["report.html"].read_text()
    text = " ".join(" ".join(Tags(html).text).split())
    assert "null failed 0.47 0.31 to 0.62 at most 0.35 9 1 score of an empty phrase" in text
    assert "kappa unproven – – at least 0.2 0 0" in text
    assert "nobody labelled" in text
    assert {*EQUAL, *WORSE} <= set(ITEMS)


def test_a_promote_that_waits_says_for_whom(tmp_path):
    policy = {"name": "two", "approvals": {"n": 2},
              "freeze": [{"weekdays": ["sat"], "reason": "weekend"}]}  # fmt: skip
    made = evidence([(False, True)] * 40)
    inputs = run_inputs(Store(str(tmp_path / "s")), tmp_path / "in", made, policy=policy)
    html = write_report(inputs, tmp_path / "page").files["report.html"].read_text()
    text = " ".join("".join(Tags(html).text).split())
    assert "once 2 different persons said yes, outside of freezes (weekend)." in text
    assert "Have 2 different persons approve it (`tuneloop approve`)." in text
