"""Look into the wheel: what must be in it, what must not, how large it is. Usage: check_wheel.py WHEEL."""

import sys
import zipfile
from pathlib import Path

LIMIT = 6_000_000
KINDS = {".css", ".html", ".js", ".json", ".md", ".npz", ".onnx", ".py", ".svg", ".toml", ".typed"}


def problems(wheel: Path) -> list[str]:
    """One line a problem; empty when the wheel is as it should be."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    code = [n for n in names if ".dist-info/" not in n]
    found = [f"unexpected file {n}" for n in code if not n.startswith("canthus/") or Path(n).suffix not in KINDS]
    found += [
        f"no {kind} in the wheel" for kind in (".onnx", ".toml", ".typed") if not any(n.endswith(kind) for n in code)
    ]
    if not any(n.endswith("licenses/LICENSE") for n in names):
        found.append("no LICENSE in the wheel")
    if any(line.startswith("Requires-Dist: torch") and "extra ==" not in line for line in metadata.splitlines()):
        found.append("torch is a base dependency")
    if wheel.stat().st_size > LIMIT:
        found.append(f"{wheel.stat().st_size:,} bytes, at most {LIMIT:,} expected")
    return found


def main() -> int:
    """Print what was found; 1 if anything is wrong."""
    wheel = Path(sys.argv[1])
    found = problems(wheel)
    print("\n".join(found) if found else f"{wheel.name}: {wheel.stat().st_size:,} bytes, content as expected")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
