"""Personal data for messages: made up, from ranges that belong to nobody."""

from __future__ import annotations

import random

_FIRST = ["Maja", "Tomasz", "Aoife", "Rashid", "Ines", "Bram", "Yuki", "Chidi", "Lena", "Owen"]
_LAST = ["Okafor", "Lindqvist", "Moreau", "Kowalska", "Byrne", "Tanaka", "Haddad", "Whitlock"]
# Test numbers of the card schemes; Luhn-valid and never issued.
_CARDS = ["4111 1111 1111 1111", "5555-5555-5555-4444", "4000056655665556", "3782 822463 10005"]
# Ofcom's and the North American plan's numbers for drama.
_PHONES = ["07700 900{:03d}", "+44 7700 900{:03d}", "020 7946 0{:03d}", "(555) 555-0{:03d}"]


def personal_data(rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """Return a clause with personal data, and what is in it as (kind, value)."""
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    mail = f"{first}.{last}{rng.randrange(100)}@example.{rng.choice(['com', 'org', 'net'])}".lower()
    phone = rng.choice(_PHONES).format(rng.randrange(100, 200))
    card = rng.choice(_CARDS)
    name = f"{first} {last}"
    clauses: list[tuple[str, list[tuple[str, str]]]] = [
        (f"My email is {mail}.", [("email", mail)]),
        (f"You can reach me on {phone}.", [("phone", phone)]),
        (f"Name: {name}, mail {mail}.", [("name", name), ("email", mail)]),
        (f"The card was {card}.", [("card", card)]),
        (f"Call {phone}, ask for {name}.", [("phone", phone), ("name", name)]),
        (f"Write to {mail} or ring {phone}.", [("email", mail), ("phone", phone)]),
        (f"{name}, paid with {card}", [("name", name), ("card", card)]),
    ]
    return rng.choice(clauses)
