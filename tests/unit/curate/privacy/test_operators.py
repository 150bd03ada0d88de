import pytest

from tuneloop.config.privacy import RedactConfig
from tuneloop.curate.privacy.redact import make_redactor, redact_batch

DESK = "You are the help desk of Larkwell. Sign your replies."


def redacted(system, user, answer):
    redactor = make_redactor(RedactConfig(engine="patterns", surrogates="placeholder"), seed=1)
    prompt = [[{"role": "system", "content": system}, {"role": "user", "content": user}]]
    done = redact_batch({"prompt": prompt, "answer": [answer]}, ["c1"], redactor)
    messages = done.columns["prompt"].to_pylist()[0]
    return [m["content"] for m in messages] + done.columns["answer"].to_pylist()


@pytest.mark.parametrize("greeting", ["Dear Larkwell,", "Dear Mr Larkwell,"])
def test_the_operators_name_stays(greeting):
    said = f"{greeting} where is my parcel? My name is Ines Haddad."
    system, user, answer = redacted(DESK, said, "Hello Ines Haddad. - Larkwell")
    assert system == DESK
    assert "Larkwell" in user
    assert "Haddad" not in user + answer
    assert answer.endswith("- Larkwell")


def test_a_person_in_the_system_prompt_is_one():
    system = "You help a customer. The customer's name is Ines Haddad."
    texts = redacted(system, "My name is Ines Haddad.", "Hello Ines Haddad.")
    assert "Haddad" not in " ".join(texts)
