"""The encoder agrees with the library its model was made with, from the cache and without."""

import pickle

import numpy as np
import pytest

from tuneloop.config.golden import EncoderConfig
from tuneloop.errors import TuneloopError
from tuneloop.runtime.encoder import _batches, find_encoder

TEXTS = ["Where is my parcel?", "My parcel has not come.", "", "Do you sell lamps? " * 200, "👍"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    found = find_encoder(EncoderConfig(threads=1), cache=tmp_path_factory.mktemp("vectors"))
    if found is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed")
    return found


def test_vectors_are_those_of_plain_transformers(encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.folder, local_files_only=True)
    model = AutoModel.from_pretrained(encoder.folder, use_safetensors=True).eval()
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.inference_mode():
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
            mean = model(**inputs).last_hidden_state[0].mean(0)
        expected = (mean / mean.norm()).numpy()
        assert np.abs(vector - expected).max() < 1e-3


def test_what_is_cached_is_what_was_computed(encoder):
    first = encoder.encode(TEXTS)
    files = list(encoder._cache.glob("*.parquet"))
    assert files
    again = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(again.encode(TEXTS[::-1]), first[::-1])
    assert again._loaded is None  # nothing had to be computed
    assert list(encoder._cache.glob("*.parquet")) == files
    assert all(b"parcel" not in path.read_bytes() for path in files)


def test_no_texts(encoder):
    assert len(encoder.encode([])) == 0


def test_identity_covers_the_cut(encoder):
    other = find_encoder(EncoderConfig(max_tokens=64))
    assert len(encoder.digest) == 64
    assert other.digest != encoder.digest


def test_one_that_is_not_here_is_none_or_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELOOP_MODELS", str(tmp_path))
    config = EncoderConfig(model=str(tmp_path / "none"))
    assert find_encoder(config) is None
    with pytest.raises(TuneloopError, match="no model"):
        find_encoder(config, required=True)


def test_batches_hold_every_text_once_and_few_tokens():
    lengths = [300, 1, 5, 256, 7, 2, 2_000, 9] * 30
    batches = list(_batches(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(
        len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 2_048 for batch in batches
    )
