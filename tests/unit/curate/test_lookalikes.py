"""Texts that look alike are one text to what compares them, in every alphabet."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.curate.lookalikes import fold
from tuneloop.curate.similar import normalise

PLAIN = "please reset the password of my account"
ALIKE = {
    "Cyrillic": PLAIN.translate(str.maketrans("aeopcy", "аеорсу")),
    "Greek": PLAIN.translate(str.maketrans("ao", "αο")),
    "Cyrillic capitals": "РLЕАSЕ RЕSЕТ ТНЕ РАSSWОRD ОF МУ АССОUNТ",
    "zero width": "\u200b".join(PLAIN),
    "soft hyphens": PLAIN.replace("ss", "s\u00ads"),
    "accents": PLAIN.replace("e", "é").replace("o", "ö"),
    "accents apart": unicodedata.normalize("NFD", PLAIN.replace("a", "à")),
    "directions": f"\u202e{PLAIN}\u202c",
    "variants": PLAIN.replace("e", "e\ufe0f"),
    "tags": PLAIN.replace(" ", "\U000e0041 "),
    "wide": "".join(chr(ord(c) + 0xFEE0) if c != " " else c for c in PLAIN),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_looks_the_same_is_the_same(kind):
    assert normalise([ALIKE[kind]])[0].as_py() == PLAIN


@pytest.mark.parametrize(
    "text", ["कितना समय लगेगा", "كيف أغير كلمة المرور", "비밀번호", "ราคาเท่าไร"]
)
def test_marks_of_other_scripts_stay(text):
    assert fold(pa.array([text]))[0].as_py() == unicodedata.normalize("NFKC", text)


@given(st.text(), st.text())
def test_folding_twice_changes_nothing_and_equal_texts_stay_equal(left, right):
    both = normalise([left, right]).to_pylist()
    assert normalise(both).to_pylist() == both
    folded = fold(pa.array([left, right, left], pa.large_string())).to_pylist()
    assert folded[0] == folded[2]
    assert fold(pa.array(folded, pa.large_string())).to_pylist() == folded
