"""Surrogates: the same for the same, of the form of what they stand for, of nobody."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.curate.privacy.surrogates import Surrogates
from tuneloop.recognise.numbers import iban_rest, luhn

DRAW = Surrogates(b"k", natural=True)
PLACEHOLDER = Surrogates(b"k", natural=False)


def test_one_person_stays_one_person():
    full = DRAW("person", "María López", "s")
    first, last = full.split()
    assert DRAW("person", "Maria", "s") == first
    assert DRAW("surname", "Lopez", "s") == last
    assert DRAW("person", "Ms Lopez", "s") == f"Ms {last}"
    assert DRAW("person", "MARIA LOPEZ", "s") == full.upper()
    mail = DRAW("email", "maria.lopez7@gmail.com", "s")
    assert re.fullmatch(rf"{first}\.{last}\d@\w+\.example".lower(), mail)


def test_another_conversation_and_another_key_draw_anew():
    names = {DRAW("person", "Maria Lopez", str(i)) for i in range(20)}
    assert len(names) > 15
    assert Surrogates(b"other", natural=True)("person", "Maria Lopez", "s") != DRAW(
        "person", "Maria Lopez", "s"
    )


@given(st.text(max_size=8), st.sampled_from(["4111 1111 1111 1111", "378282246310005"]))
def test_cards_and_ibans_have_the_form_of_the_original(conversation, card):
    new = DRAW("card", card, conversation)
    assert luhn(new)
    assert re.sub(r"\d", "9", new) == re.sub(r"\d", "9", card)
    iban = DRAW("iban", "GB29NWBK60161331926819", conversation)
    assert iban_rest(iban) == 1


@pytest.mark.parametrize("value", ["10.0.0.1", "2a00:1450::8a"])
def test_addresses_are_from_ranges_for_documentation(value):
    new = ipaddress.ip_address(DRAW("ip", value, "s"))
    assert any(
        new in ipaddress.ip_network(net)
        for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
        if ipaddress.ip_network(net).version == new.version
    )


@pytest.mark.parametrize(
    ("value", "form"),
    [("+49 30 901820", r"\+44 7700 900\d{3}"), ("(212) 555-4321", r"\(\d{3}\) 555-01\d\d"),
     ("07911123456", r"07700900\d{3}")],
)  # fmt: skip
def test_phones_are_numbers_for_drama(value, form):
    assert re.fullmatch(form, DRAW("phone", value, "s"))


@pytest.mark.parametrize("value", ["1990-04-23", "3 March 1978", "March 3, 1985", "12/03/85"])
def test_dates_keep_their_form(value):
    new = DRAW("birth_date", value, "s")
    assert new != value
    assert re.sub(r"[A-Za-z]+", "M", re.sub(r"\d+", "9", new)) == re.sub(
        r"[A-Za-z]+", "M", re.sub(r"\d+", "9", value)
    )


def test_placeholders_are_numbered_and_the_same_for_equal_values():
    one = PLACEHOLDER("phone", "+1 212 555 0123", "s")
    assert re.fullmatch(r"\[PHONE_\d+\]", one)
    assert PLACEHOLDER("phone", "+12125550123", "s") == one
    assert PLACEHOLDER("phone", "+1 212 555 0124", "s") != one
    assert PLACEHOLDER("person", "Maria Lopez", "s") == PLACEHOLDER("person", "Maria", "s")


def test_a_hash_is_the_same_in_every_conversation_and_a_secret_is_never_natural():
    assert re.fullmatch(r"\[EMAIL_[0-9a-f]{10}\]", DRAW.hashed("email", "a@x.org"))
    assert DRAW.hashed("email", "a@x.org") == DRAW.hashed("email", "A@X.org")
    assert DRAW("secret", "hunter2", "s").startswith("[SECRET_")
