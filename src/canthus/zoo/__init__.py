"""The landmark models that lie inside the package, each one ONNX file with its card in it."""

from pathlib import Path

DEFAULT = "pfld_68"
"""Model used where none is named."""


def embedded_models() -> dict[str, Path]:
    """Name -> file of every embedded model, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.onnx"))}
