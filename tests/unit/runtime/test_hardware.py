import pytest

from tuneloop.runtime import hardware


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("fpu sse2 avx2 avx512f avx512_bf16 amx_tile", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu sse2 avx2 avx512f avx512_vnni", False),
        ("fpu avx512_bf16x", False),
    ],
)
def test_bf16_on_cpu_is_probed(tmp_path, flags, fast):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512_bf16\n")
    assert hardware.cpu_has_fast_bf16(cpuinfo) is fast


def test_no_cpuinfo_no_bf16(tmp_path):
    assert not hardware.cpu_has_fast_bf16(tmp_path / "none")


@pytest.mark.parametrize(("fast", "wanted", "picked"), [
    (True, "auto", "bf16"), (False, "auto", "fp32"), (True, "fp32", "fp32"),
    (False, "bf16", "bf16"),
])  # fmt: skip
def test_precision_on_cpu(monkeypatch, fast, wanted, picked):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(hardware, "cpu_has_fast_bf16", lambda: fast)
    assert hardware.device() == "cpu"
    assert hardware.pick_precision(wanted) == picked
