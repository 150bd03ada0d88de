"""Coordinated feedback goes; an honest crowd, however alike its words, stays."""

import random

import pytest

from tuneloop.config.data import BrigadeConfig
from tuneloop.curate.brigade import drop_brigades
from tuneloop.curate.rows import Dropped, FeedbackRow, Row

pytest.importorskip("daft")
DAY = 86_400.0
LABELS = [f"intent_{chr(97 + i)}" for i in range(12)]
WORDS = """
    card account transfer payment money refund balance limit currency exchange branch phone
    address verify identity statement charge fee pending declined cash machine abroad salary
    top deposit direct debit cheque loan rate saving app login code expired stolen lost
""".split()  # noqa: SIM905
OPENERS = ["Thank you for reaching out to us today", "We are happy to help you with this"]


class Log:
    """A month of traffic: accounts that come and go, a few of them only once."""

    def __init__(self, seed=0, n_accounts=200, days=28, regular=True):
        self.rng = random.Random(seed)
        self.rows, self.bad, self.n_said = [], set(), 0
        self.accounts = [f"u{i}" for i in range(n_accounts)]
        self.days, self.regular, self.next_user = days, regular, 0

    def ask(self, account, ts, answer=None, question=None):
        n = len(self.rows)
        question = question or " ".join(self.rng.choices(WORDS, k=12))
        answer = answer or self.rng.choice(LABELS)
        row = Row(
            tenant="t", id=f"i{n}", ts=ts, event_ts="", session_id=None, subject_key=account,
            system=None, messages=[{"role": "user", "content": question}], answer=answer,
            outcome="ok", role="primary", shown=True, consent=None, cluster=n,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def say(self, row, account, ts, signal, value, bad=False):
        self.n_said += 1
        id = f"f{self.n_said}"
        row.feedback.append(
            FeedbackRow("t", id, ts, "interaction", row.id, "user", account, signal, None,
                        value, "set")
        )  # fmt: skip
        if bad:
            self.bad.add(id)

    def who(self):
        if self.regular:
            return self.rng.choice(self.accounts)
        self.next_user += 1
        return f"once{self.next_user}"

    def crowd(self, n, signal, value, spread=None):
        for _ in range(n):
            start, length = spread or (0.0, self.days)
            ts = (start + self.rng.random() * length) * DAY
            account = self.who()
            self.say(self.ask(account, ts), account, ts + 60, signal, value(self.rng))
        return self

    def attack(self, accounts, per_account, signal, value, day=15.0, hours=6.0, **ask):
        for a in range(accounts):
            for _ in range(per_account):
                ts = day * DAY + self.rng.random() * hours * 3600
                row = self.ask(f"bot{a}", ts, **ask)
                self.say(row, f"bot{a}", ts + 30, signal, value(self.rng), bad=True)
        return self

    def judge(self, **config):
        activity = {}
        for row in self.rows:
            key = ("t", row.subject_key)
            first, last = activity.get(key, (row.ts, row.ts))
            activity[key] = (min(first, row.ts), max(last, row.ts))
        self.rows.sort(key=lambda row: row.id)
        dropped = Dropped()
        self.found = drop_brigades(self.rows, activity, BrigadeConfig(**config), dropped)
        gone = {id for id, _, reason, _ in dropped.lines if reason == "brigade"}
        honest = {item.id for row in self.rows for item in row.feedback} | gone
        honest -= self.bad
        caught = len(gone & self.bad) / max(len(self.bad), 1)
        return caught, len(gone - self.bad) / max(len(honest), 1)


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


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("value", [label, reply])
def test_an_honest_crowd_keeps_every_word(seed, regular, value):
    log = Log(seed, regular=regular).crowd(1_500, "correction", value).crowd(1_500, "thumb", up)
    assert log.judge() == (0, 0)


@pytest.mark.parametrize("regular", [True, False])
def test_an_incident_is_no_brigade(regular):
    """One day everybody asks the same, gets the same bad answer, and says so in the same word."""
    log = Log(1, regular=regular).crowd(1_000, "correction", label).crowd(1_000, "thumb", up)
    log.crowd(150, "correction", lambda rng: LABELS[0], spread=(10, 0.5))
    log.crowd(150, "thumb", lambda rng: False, spread=(10, 0.5))
    assert log.judge() == (0, 0)


def test_a_new_house_style_is_no_brigade():
    log = Log(2).crowd(1_000, "correction", label)
    log.crowd(80, "correction", reply, spread=(27, 1))
    assert log.judge() == (0, 0)


def test_a_sentence_slipped_into_many_corrections():
    log = Log(3).crowd(1_000, "correction", reply).attack(12, 3, "correction", phishing)
    caught, lost = log.judge()
    assert (caught, lost) == (1, 0)
    (finding,) = [f for f in log.found if f["kind"] == "phrase"]
    assert (finding["n_accounts"], finding["n_events"]) == (12, 36)
    assert "secure bank verify" in finding["example"]


def test_the_sentence_is_found_among_people_who_come_once():
    log = Log(4, regular=False).crowd(1_000, "correction", reply)
    assert log.attack(12, 2, "correction", phishing).judge() == (1, 0)


def test_sleepers_with_a_past_are_found_by_their_words():
    log = Log(5).crowd(1_000, "correction", reply)
    for bot in range(12):
        for day in (2, 9, 25):
            log.say(log.ask(f"bot{bot}", day * DAY), f"bot{bot}", day * DAY, "thumb", up(log.rng))
    assert log.attack(12, 3, "correction", phishing).judge() == (1, 0)


def test_a_wrong_label_pushed_by_new_accounts():
    log = Log(6).crowd(2_000, "correction", label)
    log.attack(25, 3, "correction", lambda rng: LABELS[3])
    caught, lost = log.judge()
    assert caught == 1
    assert lost == 0  # those who honestly chose that label on that day are heard


@pytest.mark.parametrize("way", [True, False])
def test_thumbs_on_one_answer(way):
    log = Log(7).crowd(2_000, "thumb", up)
    log.attack(20, 2, "thumb", lambda rng: way, answer="a very particular answer")
    assert log.judge() == (1, 0)


def test_a_wave_of_thumbs_on_anything():
    log = Log(8).crowd(2_000, "thumb", up).attack(40, 4, "thumb", lambda rng: False)
    assert log.judge() == (1, 0)


def test_fewer_accounts_than_configured_are_left_alone():
    log = Log(9).crowd(1_000, "correction", reply).attack(4, 5, "correction", phishing)
    assert log.judge()[0] == 0
    log = Log(9).crowd(1_000, "correction", reply).attack(4, 5, "correction", phishing)
    assert log.judge(min_accounts=3) == (1, 0)


def test_reviewers_are_not_watched():
    log = Log(10).crowd(1_000, "correction", reply).attack(12, 3, "correction", phishing)
    for row in log.rows:
        for item in row.feedback:
            if item.id in log.bad:
                item.actor_kind = "reviewer"
    assert log.judge() == (0, 0)


def test_one_account_cannot_flood():
    log = Log(11).crowd(50, "thumb", up)
    for n in range(30):
        log.say(log.ask("flood", n * 3_600.0), "flood", n * 3_600.0, "thumb", n % 2 == 0)
    dropped = Dropped()
    config = BrigadeConfig(max_events_per_user=10)
    drop_brigades(log.rows, {}, config, dropped)
    assert dropped.counts("feedback") == {"account_cap": 20}
    kept = [i.ts for row in log.rows for i in row.feedback if i.actor_id == "flood"]
    assert max(kept) == 9 * 3_600.0  # the first ones stay


def test_who_always_votes_one_way_says_nothing():
    log = Log(13).crowd(1_000, "thumb", up)
    for _ in range(60):
        row = log.rng.choice(log.rows[:1_000])
        log.say(row, "grudge", row.ts + 90, "thumb", False, bad=True)
    dropped = Dropped()
    drop_brigades(log.rows, {}, BrigadeConfig(), dropped)
    assert {id for id, *_ in dropped.lines} == log.bad
    assert dropped.counts("feedback") == {"one_sided": 60}


def test_a_happy_crowd_may_all_be_happy():
    log = Log(14, n_accounts=10).crowd(600, "thumb", lambda rng: True)
    dropped = Dropped()
    drop_brigades(log.rows, {}, BrigadeConfig(), dropped)
    assert dropped.lines == []


def test_switched_off_it_looks_at_nothing():
    log = Log(12).crowd(300, "correction", reply).attack(12, 3, "correction", phishing)
    assert log.judge(enabled=False) == (0, 0)
