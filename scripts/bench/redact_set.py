"""A labelled set for redaction: sentences of ours with personal data of nobody, places known.

Names, streets and numbers are made up here, from many countries, and not drawn from the lists the
redactor knows. Half of the texts hold none but look as if: order numbers, versions, products.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

GIVEN = [
    "Maria",
    "John",
    "Aisha",
    "Wei",
    "Priya",
    "Olumide",
    "Björn",
    "Łukasz",
    "Siobhán",
    "Carlos",
    "Yuki",
    "Fatima",
    "Dmitri",
    "Chloé",
    "Giulia",
    "Mehmet",
    "Thabo",
    "Ingrid",
    "Rajesh",
    "Nokuthula",
    "Hans",
    "Beatriz",
    "Kwame",
    "Anneliese",
    "Tomáš",
    "Zoltán",
    "Eilidh",
    "Hiroshi",
    "Amara",
    "Mateus",
    "Sven",
    "Leila",
    "Oksana",
    "Patrick",
    "Nguyen",
    "Min-jun",
    "Jean-Pierre",
    "Mary-Kate",
    "Rodrigo",
    "Emeka",
    "Shreya",
    "Abdullah",
    "Catherine",
    "Wojciech",
    "Marit",
    "Deepak",
    "Francesca",
    "Kofi",
    "Elif",
    "Juhani",
]
FAMILY = [
    "Lopez",
    "Smith",
    "Okonkwo",
    "Zhang",
    "Raghunathan",
    "Adeyemi",
    "Lindqvist",
    "Nowak",
    "O'Brien",
    "Herrera",
    "Tanaka",
    "Al-Sayed",
    "Volkov",
    "Dubois",
    "Rossi",
    "Yılmaz",
    "Mokoena",
    "Johansen",
    "Kulkarni",
    "Dlamini",
    "Schneider",
    "Carvalho",
    "Mensah",
    "Hoffmann",
    "Novák",
    "Szabó",
    "MacLeod",
    "Watanabe",
    "Eze",
    "Ferreira",
    "Eriksson",
    "Haddad",
    "Kovalenko",
    "Murphy",
    "Tran",
    "Park",
    "Lefèvre",
    "Johnson-Reid",
    "van der Berg",
    "Obi",
    "Banerjee",
    "bin Rashid",
    "Pemberton",
    "Wiśniewski",
    "Haugen",
    "Sharma",
    "de la Cruz",
    "Asante",
    "Demir",
    "Virtanen",
]
PERSON = [
    "My name is {person} and I would like a refund.",
    "Could you please tell {person} that the parcel has arrived?",
    "I spoke to {person} yesterday and nothing has happened since.",
    "The contract was signed by {person} last week.",
    "Please forward this to {person} in accounting.",
    "{person} from your Leeds office promised me a call back.",
    "My neighbour {person} accepted the delivery.",
    "Dear {person},\nthank you for your order.",
    "It still does not work.\n\nKind regards,\n{person}",
    "Hi, this is {person}. I cannot log in.",
    "Write a short letter of thanks to {person} for the flowers.",
    "The account belongs to {person}, who moved abroad.",
    "According to {person}, the invoice was paid in May.",
    "Yesterday {person} called about the broken heater.",
    "Is it possible that {person} used my card?",
    "Summarise the complaint that {person} sent us.",
    "Ich heiße {person} und möchte mein Konto kündigen.",
    "Bonjour, je m'appelle {person} et je n'ai rien reçu.",
    "Me llamo {person}, necesito cambiar mi pedido.",
    "Mi chiamo {person} e vorrei un rimborso.",
    "Customer name: {person}; order still open.",
    "Mr {family} complained about the noise.",
    "Please ask Dr. {family} for the results.",
    "Thanks {given}, that helped a lot!",
    "Hello {given}, where is my order?",
    "Can you remind {given} to bring the documents?",
]
OTHERS = {
    "email": (
        [
            "My email is {x}.",
            "Write to {x} please",
            "mail me at {x}, thanks",
            "Contact: <{x}>",
            "Meine Adresse ist {x}.",
            "Mon adresse : {x}",
            "login {x} does not work",
            "cc {x}; urgent",
        ],
        [
            "maria.lopez7@gmail.example",
            "j.smith+shop@mail.co.uk",
            "OKONKWO_E@firma.de",
            "li-wei@post.cn",
            "a.b.c@sub.domain.org",
            "no.one99@uni-köln.de",
            "k@x.io",
            "lindqvist [at] post [dot] se",
            "anna(at)web.de",
        ],
    ),
    "phone": (
        [
            "Call me on {x}.",
            "My number is {x}, evenings only.",
            "Tel: {x}",
            "ring {x} and ask",
            "Meine Telefonnummer ist {x}.",
            "Appelez le {x} svp",
            "mobile {x}",
            "WhatsApp {x}",
        ],
        [
            "+44 7700 900123",
            "07700 900456",
            "(212) 555-0123",
            "212-555-0187",
            "+49 30 901820",
            "030 901820-17",
            "+33 6 12 34 56 78",
            "06 12 34 56 78",
            "06.12.34.56.78",
            "+34 612 345 678",
            "+91 98765 43210",
            "+1 415 555 0199",
            "0171/2345678",
            "+46 70 123 45 67",
            "020 7946 0958",
            "+61 2 5550 1234",
            "+81 3-1234-5678",
            "+55 11 91234-5678",
        ],
    ),
    "card": (
        ["The card was {x}.", "pay with {x} please", "card number {x}, exp 04/27", "Karte {x}"],
        [
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "378282246310005",
            "4000056655665556",
            "6011111111111117",
            "3566002020360505",
            "5105 1051 0510 5100",
        ],
    ),
    "iban": (
        ["Transfer it to {x}.", "IBAN: {x}", "Mein Konto ist {x}", "refund to {x} today"],
        [
            "DE89 3704 0044 0532 0130 00",
            "GB29NWBK60161331926819",
            "FR1420041010050500013M02606",
            "ES91 2100 0418 4502 0005 1332",
            "NL91ABNA0417164300",
            "PL61109010140000071219812874",
            "CH93 0076 2011 6238 5295 7",
        ],
    ),
    "ip": (
        ["The server at {x} is down.", "from {x} I get an error", "ping {x} fails", "client={x}"],
        [
            "203.0.113.7",
            "10.0.12.254",
            "192.168.1.44",
            "2001:db8::ff00:42:8329",
            "fe80::1ff:fe23:4567",
        ],
    ),
    "secret": (
        [
            "My password is {p}",
            "password: {p}",
            "use the key {k} for it",
            "token={k}",
            "Authorization: Bearer {k}",
            "export API_KEY={k}",
            "it says postgres://app:{p}@db.host/x",
            "Mein Passwort: {p}",
            "here: {v} does it work?",
            "secret {v} leaked",
            "AWS {v}",
        ],
        [
            "sk-proj-",
            "ghp_",
            "AKIA",
            "xoxb-",
            "hf_",
            "AIza",
            "glpat-",
            "sk_live_",
            "eyJ",
        ],
    ),
    "address": (
        [
            "I live at {x}.",
            "Please deliver to {x}.",
            "My new address is {x}",
            "Ship it to {x} instead",
            "Ich wohne in der {x}.",
            "J'habite {x}.",
            "Vivo en {x}.",
        ],
        [
            "12 Acacia Avenue, Leeds LS1 4AP",
            "221B Baker Street",
            "1600 Elm Street, Springfield, IL 62704",
            "48 Oak Hill Road, Apt 5, Austin, TX 78701",
            "Hauptstraße 12, 10115 Berlin",
            "Lindenweg 4a",
            "Karl-Marx-Allee 103, 10243 Berlin",
            "12 rue de la Paix, 75002 Paris",
            "7 avenue Victor Hugo, 69003 Lyon",
            "Calle de Alcalá 45, 28014 Madrid",
            "Via Garibaldi 9, 20121 Milano",
            "Keizersgracht 210, 1016 DX Amsterdam",
            "Storgatan 14, 111 51 Stockholm",
            "ul. Długa 27, 00-238 Warszawa",
            "Rua Augusta 1508",
            "PO Box 1182",
            "9 Station Rd, Cambridge CB1 2JD",
            "77 Massachusetts Ave, Boston, MA 02115",
        ],
    ),
    "birth_date": (
        [
            "I was born on {x}.",
            "Date of birth: {x}",
            "DOB {x}",
            "my birthday is {x}",
            "geboren am {x}",
            "née le {x}",
            "Fecha de nacimiento: {x}",
            "nato il {x}",
            "Geburtsdatum {x}",
        ],
        [
            "12/03/1985",
            "1990-04-23",
            "3 March 1978",
            "March 3, 1978",
            "23.11.1969",
            "7 Oct 2001",
            "04.05.88",
        ],
    ),
    "national_id": (
        ["{x}"],
        [
            "My SSN is 219-09-9999.",
            "SSN: 078-05-1120",
            "social security number 219099999",
            "National Insurance number AB 12 34 56 C",
            "my NINO is QQ123456C by the way",
            "NHS number: 943 476 5919",
            "DNI 12345678Z",
            "NIE X1234567L",
            "codice fiscale RSSMRA85T10A562S",
            "CPF 529.982.247-25",
            "sécu 1 85 05 78 006 084 36",
            "passport number 533401372",
            "Passport no. C01X00T47",
            "driving licence MORGA657054SM9IJ",
            "Steuer-ID: 65929970489",
            "PESEL 44051401359",
            "BSN 111222333",
            "Aadhaar 2345 6789 0124",
            "PAN is ABCPE1234F",
            "personnummer 811218-9876",
            "Reisepass C01X00T47",
        ],
    ),
}
NEGATIVES = [
    "Order 4111111111111112 has shipped.",
    "Invoice 20250301-0045 of 2025-03-01 at 12:30:45.",
    "Upgrade from version 1.2.3 to 10.4.1.",
    "My password is wrong and I forgot my token.",
    "It costs 1,299.00 or 15% off until Friday.",
    "Room 101, floor 3, 1995-2005.",
    "We met at 10:15; a::b in C++ is std::vector.",
    "How do I reset my password?",
    "Is Python faster than Java for this?",
    "My Visa card was declined at Tesco.",
    "The Samsung Galaxy S24 keeps restarting.",
    "What is the exchange rate for Euros today?",
    "Please explain the difference between HTTP and HTTPS.",
    "Top up my account by 50 pounds.",
    "I ordered 3 Blue Widgets on Monday.",
    "Does Microsoft Excel open CSV files?",
    "The meeting is on 12/03/2025 at noon.",
    "Chapter 12 of the User Guide explains it.",
    "Why was I charged a Transfer Fee?",
    "Tracking number 1Z999AA10123456784.",
    "Thanks, that worked!",
    "Hello, where is my parcel?",
    "Dear team, please help.",
    "Kind regards",
    "I am Very Disappointed.",
    "The API returns 404 Not Found.",
    "Summarize the Second World War in three lines.",
    "Translate Good Morning into French.",
    "SKU 12-345-678, 4 pcs.",
    "Die Bestellung kam nicht an.",
    "Can I pay with Apple Pay or Google Pay?",
    "The capital of France is Paris.",
    "Set the timeout to 30000 ms and retries to 5.",
    "It was released on 3 March 2021.",
    "Is it possible to change my PIN at an ATM?",
    "This is Great News for everyone.",
    "I'm Still Waiting for a reply.",
    "Contact Customer Support for details.",
]
FILLER = [
    "I have tried it twice already.",
    "Can you look into this?",
    "It is quite urgent for me.",
    "The app shows an error each time.",
    "I would be grateful for a quick answer.",
    "Nothing on the website explains it.",
    "Please let me know what else you need.",
    "",
]


@dataclass
class Labelled:
    """A text and the personal data in it, as (kind, value)."""

    text: str
    spans: list[tuple[str, str]] = field(default_factory=list)


def _person(rng: random.Random) -> Labelled:
    template = rng.choice(PERSON)
    given, family = rng.choice(GIVEN), rng.choice(FAMILY)
    value = {"{person}": f"{given} {family}", "{family}": family, "{given}": given}
    if "{person}" in template and rng.random() < 0.1:
        value["{person}"] = f"{given} {rng.choice('ABJKM')}. {family}"
    slot = next(s for s in value if s in template)
    return Labelled(template.replace(slot, value[slot]), [("person", value[slot])])


def _vendor_key(start: str, key: str) -> str:
    """Return what looks like a vendor's key; made here, so that no scanner finds one written."""
    if start == "AKIA":
        return start + key[:16].upper()
    if start == "eyJ":
        return f"eyJ{key[:9]}.eyJ{key[9:18]}.{key[18:]}"
    return start + key + key[:8]


def _other(kind: str, rng: random.Random) -> Labelled:
    templates, values = OTHERS[kind]
    template, value = rng.choice(templates), rng.choice(values)
    if kind == "secret":
        word = rng.choice(["Tr0ub4dor&3", "hunter2!x", "S3cure-Pa55", "qwerty12345"])
        key = "".join(rng.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789", k=28))
        slots = {"{p}": word, "{k}": key, "{v}": _vendor_key(value, key)}
        slot = next(s for s in slots if s in template)
        if template.startswith("use the key"):
            slots["{k}"] = "sk-" + key
        return Labelled(template.replace(slot, slots[slot]), [(kind, slots[slot])])
    if kind == "national_id":  # the number is what follows the words
        number = value.rstrip(".").removesuffix(" by the way")
        words = number.split(" ")
        first = next(i for i, w in enumerate(words) if any(s.isdigit() for s in w) or w in ("AB",))
        return Labelled(value, [(kind, " ".join(words[first:]))])
    return Labelled(template.replace("{x}", value), [(kind, value)])


def labelled_set(n: int, *, seed: int = 0) -> list[Labelled]:
    """Return n texts: each kind in equal parts, names thrice, and as many texts without."""
    rng = random.Random(seed)
    kinds = ["person"] * 3 + list(OTHERS)
    out = []
    for i in range(n):
        if i % 2:
            one = Labelled(rng.choice(NEGATIVES))
        else:
            kind = kinds[i // 2 % len(kinds)]
            one = _person(rng) if kind == "person" else _other(kind, rng)
        before, after = rng.choice(FILLER), rng.choice(FILLER)
        if one.text.startswith(("Dear", "Hello", "Hi", "Thanks", "Bonjour")):
            before = ""
        if "regards" in one.text.lower():
            after = ""
        one.text = " ".join(part for part in (before, one.text, after) if part)
        out.append(one)
    return out
