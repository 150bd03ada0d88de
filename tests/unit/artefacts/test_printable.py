"""Text from outside cannot steer a terminal."""

import json

import pytest

from tuneloop.artefacts.printable import printable, printable_json

EVIL = [chr(c) for c in (*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x200F, 0x2028, 0xD800)]


@pytest.mark.parametrize("character", EVIL)
def test_each_control_character_shows_as_its_escape(character):
    shown = printable(f"a{character}b")
    assert character not in shown
    assert shown[1] == "\\"
    assert shown.isprintable()


def test_text_of_any_script_stays():
    text = "Grüße 你好 مرحبا שלום 👍🏽 e\u0301 a\u00a0b"
    assert printable(text) == printable_json(text) == text


def test_newlines_stay_only_where_asked_for():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert printable("a\nb") == "a\\nb"


def test_json_keeps_its_meaning():
    body = {"reason": "".join(EVIL) + "é"}
    shown = printable_json(json.dumps(body, indent=1, ensure_ascii=False))
    assert json.loads(shown) == body
    assert not set(shown) & (set(EVIL) - {"\n"})
