"""The language model finds names in running text; what it only takes for names stays."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from tuneloop.config.privacy import RedactConfig
from tuneloop.curate.privacy import language
from tuneloop.curate.privacy.redact import make_redactor, mask_texts
from tuneloop.errors import DataError

SCRIPTS = Path(__file__).parents[4] / "scripts" / "bench"
installed = pytest.mark.skipif(
    not language.available(), reason="presidio, spaCy, its model or Faker is not installed"
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def recall(engine):
    """Return kind → share of the labelled values of which no letter or digit is left."""
    redactor = make_redactor(RedactConfig(engine=engine), seed=0)
    labelled = load("redact_set").labelled_set(1200, seed=3)
    masked = mask_texts([one.text for one in labelled], redactor).to_pylist()
    total, found = Counter(), Counter()
    for one, text in zip(labelled, masked, strict=True):
        for kind, value in one.spans:
            total[kind] += 1
            found[kind] += value not in text and not any(
                len(word) > 2 and word in text and word not in one.text.replace(value, "")
                for word in value.split()
            )
    clean = [(o.text, t) for o, t in zip(labelled, masked, strict=True) if not o.spans]
    wrong = sum(text != after for text, after in clean)
    return {kind: found[kind] / n for kind, n in total.items()}, wrong / len(clean)


@installed
def test_recall_of_every_kind_with_the_model():
    shares, wrong = recall("presidio")
    assert len(shares) == 10
    assert min(shares.values()) >= 0.95, shares
    assert wrong <= 0.05


def test_recall_of_every_kind_with_a_form_by_patterns():
    shares, wrong = recall("patterns")
    person = shares.pop("person")
    assert 0.3 < person < 0.9  # only where words around a name say so
    assert min(shares.values()) >= 0.95, shares
    assert wrong <= 0.01


@installed
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I gave my SSN and IP to Olumide Adeyemi.", "I gave my SSN and IP to [PERSON]."),
        ("Is Python faster than Java?", "Is Python faster than Java?"),
        ("My Visa card was declined.", "My Visa card was declined."),
        ("Can you email Bram about it?", "Can you email [PERSON] about it?"),
        ("my NHS number is 943 476 5919", "my NHS number is [NATIONAL_ID]"),
    ],
)
def test_names_and_what_looks_like_them(text, expected):
    redactor = make_redactor(RedactConfig(engine="presidio"), seed=0)
    assert mask_texts([text], redactor)[0].as_py() == expected


@installed
def test_places_and_organisations_only_where_asked_for():
    text = "She flew to Denver with Lufthansa last week."
    default = make_redactor(RedactConfig(engine="presidio"), seed=0)
    asked = make_redactor(RedactConfig(engine="presidio", kinds=["place", "organisation"]), seed=0)
    assert mask_texts([text], default)[0].as_py() == text
    assert mask_texts(pa.array([text]), asked)[0].as_py() == (
        "She flew to [PLACE] with [ORGANISATION] last week."
    )


def test_without_the_libraries_auto_is_patterns_and_presidio_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    assert make_redactor(RedactConfig(engine="auto"), seed=0).engine == "patterns"
    with pytest.raises(DataError, match=r"needs spacy.*presidio") as error:
        make_redactor(RedactConfig(engine="presidio"), seed=0)
    assert "tuneloop[privacy]" in error.value.hint
