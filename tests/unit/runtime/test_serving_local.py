import math

import pytest
import torch
from systems import served

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import EngineConfig
from tuneloop.runtime.serving import ChatRequest
from tuneloop.runtime.serving.local import LocalBackend
from tuneloop.runtime.tiny import make_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder)
    return served("tiny", folder=folder)


def backend(tiny, tmp_path, **fields):
    config = EngineConfig(backend="transformers", dtype="float32", max_model_len=256, **fields)
    return LocalBackend([tiny], config, work=tmp_path)


def request(text, *, n=6, **fields):
    messages = [{"role": "user", "content": text}]
    if fields.get("continue_final"):
        messages.append({"role": "assistant", "content": "Verdict:"})
    sampling = Sampling(max_tokens=n, temperature=fields.pop("temperature", 0.0))
    return ChatRequest(messages=messages, sampling=sampling, **fields)


def answers(backend, tiny, requests):
    made = dict(backend.stream(tiny, requests))
    return [made[i] for i in range(len(requests))]


def reference(tiny, one):
    """The same, one row, no padding, by hand."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.base.folder)
    model = AutoModelForCausalLM.from_pretrained(tiny.base.folder)
    text = tokenizer.apply_chat_template(
        one.messages,
        tokenize=False,
        add_generation_prompt=not one.continue_final,
        continue_final_message=one.continue_final,
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    made = model.generate(ids, max_new_tokens=one.sampling.max_tokens, do_sample=False)
    with torch.no_grad():
        first = model(ids).logits[0, -1].log_softmax(-1)
    return tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True), first, tokenizer


def test_padding_changes_no_answer(tiny, tmp_path):
    asked = [request("Hello, my order is late." * k, n=3 + k, top_logprobs=4) for k in (1, 2, 3)]
    for one, result in zip(asked, answers(backend(tiny, tmp_path), tiny, asked), strict=True):
        text, first, tokenizer = reference(tiny, one)
        assert result.text == text
        best = first.topk(4)
        assert [t.token for t in result.top_logprobs] == [
            tokenizer.decode([i]) for i in best.indices.tolist()
        ]
        assert [t.logprob for t in result.top_logprobs] == pytest.approx(
            best.values.tolist(), abs=1e-4
        )


def test_choices_take_the_likeliest_text(tiny, tmp_path):
    choices = ("refund", "late", "app")
    one = request("Pick.", choices=choices, continue_final=True, top_logprobs=3)
    result = answers(backend(tiny, tmp_path), tiny, [one])[0]
    assert result.text in choices
    shares = {t.token: math.exp(t.logprob) for t in result.top_logprobs}
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == result.text


def test_sampling_is_seeded_and_leaves_the_callers_randomness_alone(tiny, tmp_path):
    asked = [request("Hello", n=12, temperature=1.0)]
    state = torch.random.get_rng_state()
    one, two = (answers(backend(tiny, tmp_path), tiny, asked)[0].text for _ in range(2))
    assert one == two
    assert torch.equal(torch.random.get_rng_state(), state)
    other = asked[0].model_copy(
        update={"sampling": Sampling(max_tokens=12, temperature=1.0, seed=9)}
    )
    assert answers(backend(tiny, tmp_path), tiny, [other])[0].text != one


def test_a_prompt_that_does_not_fit_is_missing_and_the_rest_is_answered(tiny, tmp_path):
    asked = [request("Hello"), request("Hello, my order is late. " * 80), request("Hi")]
    results = answers(backend(tiny, tmp_path), tiny, asked)
    assert [r.reason for r in results] == [None, "truncated", None]
    assert results[0].n_completion_tokens <= 6


def test_mixed_requests_keep_their_places(tiny, tmp_path):
    kinds = [
        request("a", n=2),
        request("b", choices=("x", "y")),
        request("c", n=9),
        request("d", n=2),
        request("e", choices=("x", "y")),
    ]
    results = answers(backend(tiny, tmp_path, max_in_flight=2), tiny, kinds)
    assert [r.text in ("x", "y") for r in results] == [False, True, False, False, True]
    assert [results[i].n_completion_tokens <= n for i, n in ((0, 2), (2, 9), (3, 2))] == [True] * 3
