"""What is personal goes, what only looks like it stays, and the fast pass misses nothing."""

from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tuneloop.config.data import PersonalData, RedactConfig
from tuneloop.curate.redact import _KINDS, Redactor, may_hold_personal_data

KINDS = frozenset(get_args(PersonalData))
FOUND = [
    ("mail jo.doe+x@mail.example.co.uk, thanks", "mail [EMAIL_1], thanks"),
    ("pay with 4111 1111 1111 1111 please", "pay with [CARD_1] please"),
    ("card 5500-0000-0000-0004.", "card [CARD_1]."),
    ("to DE89 3704 0044 0532 0130 00 and not later", "to [IBAN_1] and not later"),
    ("gb29nwbk60161331926819", "[IBAN_1]"),
    ("from 192.168.0.17:8080", "from [IP_1]:8080"),
    ("host 2001:db8::ff00:42:8329 is down", "host [IP_1] is down"),
    ("call +44 20 7946 0958 now", "call [PHONE_1] now"),
    ("call (212) 555-0123 or 212.555.0123", "call [PHONE_1] or [PHONE_1]"),
    ("ring 030 1234567", "ring [PHONE_1]"),
    ("ring 0170/1234567", "ring [PHONE_1]"),
    ("key sk-proj-abcdefghijklmnop1234", "key [SECRET_1]"),
    ("ghp_abcdefghijklmnopqrstuvwxyz012345", "[SECRET_1]"),
    ("AKIAIOSFODNN7EXAMPLE", "[SECRET_1]"),
    ("password: hunter2", "password: [SECRET_1]"),
    ("my password is Tr0ub4dor&3.", "my password is [SECRET_1]."),
    ('{"api_key": "abcd1234", "n": 1}', '{"api_key": "[SECRET_1]", "n": 1}'),
    ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [SECRET_1]"),
    ("https://me:pa55word@host/x", "https://me:[SECRET_1]@host/x"),
    ("eyJhbGciOi.eyJzdWIiOi.SflKxwRJSM", "[SECRET_1]"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- ok",
        "[SECRET_1] ok",
    ),
]
KEPT = [
    "order 4111111111111112 has shipped",  # fails Luhn
    "invoice 20250301-0045 of 2025-03-01 at 12:30:45",
    "version 1.2.3 and 10.4.1",
    "my password is wrong and I forgot my token",
    "it costs 1,299.00 or 1 299 euros, 15% off",
    "DE89 ABCD 1234 EFGH 5678 90",  # fails the modulus
    "room 101, floor 3, 1995-2005",
    "at 10:15 we met; a::b in C++ is std::vector",
    "{'a': 12345678}",
]


def redact(text, kinds=KINDS):
    return Redactor(kinds).conversation()(text)


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_found(text, expected):
    assert redact(text) == expected
    assert may_hold_personal_data([text]) == [True]


@pytest.mark.parametrize("text", KEPT)
def test_kept(text):
    assert redact(text) == text


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_redacting_twice_changes_nothing(text, expected):
    assert redact(expected) == expected


def test_one_person_is_one_placeholder():
    conversation = Redactor(KINDS).conversation()
    assert conversation("A@x.org and b@x.org") == "[EMAIL_1] and [EMAIL_2]"
    assert conversation("again a@x.org; +1 212 555 0123") == "again [EMAIL_1]; [PHONE_1]"


def test_kinds_can_be_left_out_but_secrets_cannot():
    text = "a@x.org, password: hunter2"
    assert redact(text, frozenset({"phone"})) == "a@x.org, password: [SECRET_1]"


def test_found_is_counted_over_conversations():
    redactor = Redactor(KINDS)
    for _ in range(3):
        redactor.conversation()("a@x.org b@x.org")
    assert redactor.found == {"email": 6}


pieces = st.sampled_from(
    [*(text for text, _ in FOUND), *KEPT, "+49", "::1", "٤١١١", "pwd=", "tokens", " ", "1.2.3.4"]
) | st.text(max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=4).map("".join))
@example("mail@x.y")
@example("fe80::1")
def test_the_fast_pass_misses_nothing(text):
    if redact(text) != text:
        assert may_hold_personal_data([text]) == [True]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "bomb", ["1 " * 50_000, "a" * 100_000 + "@", "password is " * 8_000, "+" * 50_000,
             "0:" * 40_000, "-----BEGIN PRIVATE KEY-----" * 4_000, "1." * 50_000, "aa11 " * 20_000]
)  # fmt: skip
def test_no_text_takes_for_ever(bomb):
    redact(bomb)


def test_a_kind_that_nothing_looks_for_is_refused():
    assert {kind for kind, _, _ in _KINDS} | {"secret"} == KINDS
    assert set(RedactConfig().kinds) == KINDS
    with pytest.raises(ValidationError, match="email"):
        RedactConfig(kinds=["emial"])


def test_secrets_go_whatever_is_named():
    redact = Redactor(frozenset({"email"}))
    said = redact("my password: hunter2hunter2, call +44 20 7946 0958")
    assert said == "my password: [SECRET_1], call +44 20 7946 0958"
