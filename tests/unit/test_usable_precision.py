"""Which precision a training computes in."""

import pytest
import torch

from canthus.training.fit import usable_precision


@pytest.mark.parametrize(
    ("asked", "able", "computed"),
    [
        ("bf16-mixed", {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False}, "32-true"),
        ("bf16-mixed", {"architecture": "x86_64", "avx512_bf16": True}, "bf16-mixed"),
        ("bf16-mixed", {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ("bf16-mixed", {"architecture": "aarch64"}, "bf16-mixed"),
        ("32-true", {"architecture": "x86_64"}, "32-true"),
        ("16-mixed", {"architecture": "x86_64"}, "16-mixed"),
    ],
)
def test_bfloat16_is_left_where_the_processor_lacks_it(
    monkeypatch: pytest.MonkeyPatch, asked: str, able: dict[str, object], computed: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert usable_precision(asked, "cpu") == computed


def test_an_accelerator_keeps_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"})
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert usable_precision("bf16-mixed", "auto") == "bf16-mixed"
    assert usable_precision("bf16-mixed", "cpu") == "32-true"
