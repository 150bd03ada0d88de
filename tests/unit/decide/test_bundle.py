"""Bundles: the same bytes twice, nothing changed unseen, the same verdict and figures again."""

import json
import zipfile

import pytest
from decisions import decided
from evaluations import evidence, help_desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tuneloop import cli
from tuneloop.artefacts import erasures, signing
from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.bundle import read_bundle, write_bundle
from tuneloop.decide.replay import differences, replay
from tuneloop.errors import DecisionError
from tuneloop.why import refuse_erased, why_lines, why_report


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv(signing.SIGN, raising=False)
    monkeypatch.delenv(signing.VERIFY, raising=False)


@pytest.fixture
def desk(tmp_path):
    store = Store(str(tmp_path / "store"))
    config = DecideConfig(n_bootstrap=200, protected_slices=["safety"])
    return decided(store, tmp_path / "made", help_desk(60, families=True), config=config)


@pytest.fixture
def bundle(desk, tmp_path):
    path = tmp_path / "b.zip"
    write_bundle(desk, {"kind": "decide", "digest": desk.digest}, path)
    return path


def changed(path, target, name=None, data=None, *, drop=(), add=None):
    """Copy a bundle with one part replaced, left out or added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            if info.filename not in drop:
                content = data if info.filename == name else old.read(info)
                new.writestr(info.filename, content)
        for extra, content in (add or {}).items():
            new.writestr(extra, content)
    return target


def test_a_bundle_replays_to_the_last_bit_without_the_store(bundle, desk, tmp_path, monkeypatch):
    twice = tmp_path / "again.zip"
    write_bundle(desk, {"kind": "decide", "digest": desk.digest}, twice)
    assert twice.read_bytes() == bundle.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").rename(tmp_path / "gone")
    done = CliRunner().invoke(cli.app, ["replay", str(bundle), "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["equal"], report["exact"]) == (0, True, True)
    assert report["signature"] == "unsigned"
    assert report["n_figures"] > 200


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pairs=st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 2), min_size=1, max_size=40),
    objective=st.sampled_from(["better", "not_worse_and_cheaper"]),
)
def test_every_decision_replays(tmp_path_factory, pairs, objective):
    folder = tmp_path_factory.mktemp("any")
    config = DecideConfig(n_bootstrap=100, objective=objective)
    decision = decided(Store(str(folder / "store")), folder / "x", evidence(pairs), config=config)
    write_bundle(decision, {}, folder / "b.zip")
    assert replay(read_bundle(folder / "b.zip"))["exact"]


@pytest.mark.parametrize("name", ["decision.json", "evaluation/checks.parquet", "policy.json",
                                  "approvals.json", "evaluation.manifest.json"])  # fmt: skip
def test_a_part_that_was_changed_taken_out_or_put_in_is_named(bundle, tmp_path, name):
    with pytest.raises(DecisionError, match=f"{name}: changed"):
        read_bundle(changed(bundle, tmp_path / "t.zip", name, b"{}"))
    with pytest.raises(DecisionError, match=f"{name}: missing"):
        read_bundle(changed(bundle, tmp_path / "t.zip", drop=(name,)))
    with pytest.raises(DecisionError, match=r"more\.json: put in"):
        read_bundle(changed(bundle, tmp_path / "t.zip", add={"more.json": b"{}"}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_what_is_no_bundle_is_told_so(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(DecisionError, match="no bundle"):
        read_bundle(path)


def test_names_lead_nowhere_and_size_is_bounded(bundle, tmp_path, monkeypatch):
    with pytest.raises(DecisionError, match="lead out"):
        read_bundle(changed(bundle, tmp_path / "t.zip", add={"../../etc/x": b""}))
    monkeypatch.setattr("tuneloop.decide.bundle.MAX_BYTES", 1000)
    with pytest.raises(DecisionError, match="larger"):
        read_bundle(bundle)


def forged(bundle, target, *, verdict):
    """Write a bundle whose decision says something else, every hash made anew."""
    import hashlib

    with zipfile.ZipFile(bundle) as archive:
        body = json.loads(archive.read("decision.json")) | {"verdict": verdict}
        head = json.loads(archive.read("bundle.json"))
    data = json.dumps(body).encode()
    part = {"digest": hashlib.sha256(data).hexdigest(), "n_bytes": len(data)}
    head["parts"]["decision.json"] = part
    first = changed(bundle, target.with_name("half.zip"), "decision.json", data)
    return changed(first, target, "bundle.json", json.dumps(head).encode())


def test_a_verdict_that_its_evidence_does_not_give_differs(bundle, tmp_path):
    path = forged(bundle, tmp_path / "f.zip", verdict="REJECT")
    done = CliRunner().invoke(cli.app, ["replay", str(path)])
    assert done.exit_code == 1
    assert "DIFFERS" in done.stdout
    assert "verdict: REJECT → HOLD" in done.stdout


def ed25519():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()  # fmt: skip
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip
    return secret, public


@pytest.mark.parametrize("kind", ["hmac", "ed25519"])
def test_a_signed_bundle_shows_every_forgery(desk, tmp_path, monkeypatch, kind):
    secret, public = ("k" * 40, None) if kind == "hmac" else ed25519()
    monkeypatch.setenv(signing.SIGN, secret)
    path = tmp_path / "signed.zip"
    write_bundle(desk, {}, path)
    assert read_bundle(path).signature == "valid"
    with pytest.raises(DecisionError, match="signature is not of this"):
        read_bundle(forged(path, tmp_path / "f.zip", verdict="REJECT"))
    with pytest.raises(DecisionError, match="taken out"):
        read_bundle(changed(path, tmp_path / "t.zip", drop=("signature.json",)))
    assert secret.encode() not in path.read_bytes()
    monkeypatch.delenv(signing.SIGN)
    assert read_bundle(path).signature == "unchecked"
    strict = CliRunner().invoke(cli.app, ["replay", str(path), "--require-signature"])
    assert isinstance(strict.exception, DecisionError)
    if public:
        monkeypatch.setenv(signing.VERIFY, public)
        assert read_bundle(path).signature == "valid"


def test_a_short_key_signs_nothing(monkeypatch):
    monkeypatch.setenv(signing.SIGN, "short")
    with pytest.raises(DecisionError, match="fewer than"):
        signing.sign(b"x")


def test_the_last_digit_may_differ_by_one_and_no_more():
    assert not list(differences({"a": 0.123456, "n": 3}, {"a": 0.123457, "n": 3}))
    assert list(differences({"a": 0.123456}, {"a": 0.123458}))
    assert list(differences({"n": 1_000_000}, {"n": 1_000_001}))
    assert not list(differences({"r": "lower bound 4.6 %"}, {"r": "lower bound 4.7 %"}))
    assert list(differences({"r": "of 240 prompts"}, {"r": "of 241 prompts"}))
    assert list(differences({"r": "passes 4.6"}, {"r": "fails 4.6"}))
    assert list(differences({"a": None}, {"a": 0.0}))


def test_what_was_erased_is_not_replayed(bundle, desk, tmp_path):
    opened = read_bundle(bundle)
    refuse_erased(desk.store, opened)
    manifest = desk.manifest
    stone = erasures.Erased(digest=opened.head.evaluation, kind="evaluate", key="k",
                            when=manifest.started_at, reason="asked for")  # fmt: skip
    erasures.bury(desk.store, stone)
    with pytest.raises(DecisionError, match="unreplayable: erased"):
        refuse_erased(desk.store, opened)


def test_why_says_the_same_of_a_bundle_and_of_the_store(bundle, desk):
    from_store = why_lines(why_report(desk.store, desk.digest[:10]))
    from_bundle = why_lines(why_report(desk.store, str(bundle)))
    both = "\n".join(from_store)
    assert both.split("what it rests on")[0] == "\n".join(from_bundle).split("what it rests on")[0]
    for part in (
        "what binds",
        "what to do next",
        "what was tested",
        "who said what",
        "what it rests on",
    ):
        assert part in both


def test_sentences_of_another_version_are_told_apart_from_figures(bundle, monkeypatch):
    from tuneloop.decide.wording import Wording

    better = Wording.better
    monkeypatch.setattr(Wording, "better", lambda self, p: "Indeed: " + better(self, p))
    worded = replay(read_bundle(bundle))
    assert (worded["equal"], worded["only_worded"]) == (False, True)
    monkeypatch.setattr(Wording, "better", lambda self, p: better(self, p) + " 7 more.")
    assert not replay(read_bundle(bundle))["only_worded"]
