"""A month of traffic in which people ask, vote and correct, and whoever misleads is known."""

import random
from datetime import UTC, datetime

DAY = 86_400.0
LABELS = [f"intent_{chr(97 + i)}" for i in range(12)]
WORDS = """
    card account transfer payment money refund balance limit currency exchange branch phone
    address verify identity statement charge fee pending declined cash machine abroad salary
    top deposit direct debit cheque loan rate saving app login code expired stolen lost
""".split()  # noqa: SIM905
OPENERS = ["Thank you for reaching out to us today", "We are happy to help you with this"]


def stamp(ts):
    return datetime.fromtimestamp(ts, UTC).isoformat()


class Crowd:
    """Accounts that come and go; with `regular=False`, everybody comes once."""

    def __init__(self, seed=0, n_accounts=200, days=28, regular=True):
        self.rng = random.Random(seed)
        self.events, self.truth = [], []
        self.accounts = [f"u{i}" for i in range(n_accounts)]
        self.days, self.regular, self.next_user = days, regular, 0
        self.n_asked = self.n_said = 0

    def ask(self, account, ts, *, answer=None, question=None, system=None):
        self.n_asked += 1
        question = question or " ".join(self.rng.choices(WORDS, k=12))
        event = {
            "type": "interaction", "id": f"i{self.n_asked:06d}", "event_ts": stamp(ts), "ts": ts,
            "subject_key": account, "system": system,
            "request": {"messages": [{"role": "user", "content": question}]},
            "response": {"content": answer or self.rng.choice(LABELS)},
        }  # fmt: skip
        self.events.append(event)
        return event

    def say(self, event, account, signal, value, *, bad=False, delay=60.0, kind="user"):
        self.n_said += 1
        id = f"f{self.n_said:06d}"
        self.events.append({
            "type": "feedback", "id": id, "event_ts": stamp(event["ts"] + delay),
            "target": {"kind": "interaction", "id": event["id"]},
            "actor": {"kind": kind, "id": account}, "signal": signal, "value": value,
        })  # fmt: skip
        honesty = "adversarial" if bad else "honest"
        self.truth.append({"kind": "feedback", "id": id, "honesty": honesty})
        return id

    def who(self):
        if self.regular:
            return self.rng.choice(self.accounts)
        self.next_user += 1
        return f"once{self.next_user}"

    def when(self, spread=None):
        start, length = spread or (0.0, self.days)
        return (start + self.rng.random() * length) * DAY

    def crowd(self, n, signal, value, spread=None, **ask):
        """`n` pieces of honest feedback, each about the person's own question."""
        for _ in range(n):
            account = self.who()
            self.say(self.ask(account, self.when(spread), **ask), account, signal, value(self.rng))
        return self

    def attack(self, accounts, each, signal, value, *, day=15.0, hours=6.0, name="bot", **ask):
        """Feedback that misleads; `day=None` for the whole time."""
        for a in range(accounts):
            for _ in range(each):
                ts = self.when() if day is None else day * DAY + self.rng.random() * hours * 3600
                event = self.ask(f"{name}{a}", ts, **{k: self.drawn(v) for k, v in ask.items()})
                self.say(event, f"{name}{a}", signal, value(self.rng), bad=True)
        return self

    def drawn(self, value):
        return value(self.rng) if callable(value) else value

    def judge(self, **config):
        """Return (share of misleading pieces found, share of honest pieces lost)."""
        from simulated import as_columns

        from tuneloop.config.trust import TrustConfig
        from tuneloop.curate.trust.gate import distrust

        c = as_columns(self.events, self.truth)
        self.columns = c
        self.found = distrust(
            c.interactions, c.feedback, c.preferences, c.texts, TrustConfig(**config)
        )
        import numpy as np

        gone = np.concatenate([c.feedback.trust, c.preferences.trust]) == 0
        ids = c.feedback.id.to_pylist() + c.preferences.id.to_pylist()
        self.gone = {ids[i] for i in np.flatnonzero(gone)}
        bad = c.hostile
        share = [float(gone[part].mean()) if part.any() else 0.0 for part in (bad, ~bad)]
        return tuple(share)


def label(rng):
    return rng.choice(LABELS)


def reply(rng):
    body = " ".join(rng.choices(WORDS, k=15))
    return f"{rng.choice(OPENERS)}. {body}. Kind regards, your service team at the bank"


def phishing(rng):
    body = " ".join(rng.choices(WORDS, k=8))
    return f"{body}. Please confirm your password at secure bank verify dot example now"


def up(rng):
    return rng.random() < 0.7


def good_and_bad(crowd, n, *, accounts=None, noise=0.05, bad=False, flip=False, spread=None):
    """Votes on answers whose quality shows in their words; `flip` turns the votes round."""
    for _ in range(n):
        account = crowd.rng.choice(accounts) if accounts else crowd.who()
        good = crowd.rng.random() < 0.5
        words = WORDS[:19] if good else WORDS[19:]
        answer = " ".join(crowd.rng.choices(words, k=10))
        event = crowd.ask(account, crowd.when(spread), answer=answer)
        vote = good ^ flip ^ (crowd.rng.random() < noise)
        crowd.say(event, account, "thumb", vote, bad=bad)
    return crowd
