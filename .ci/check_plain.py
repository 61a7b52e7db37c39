"""Prove that the base installation finds landmarks without torch. Usage: check_plain.py PHOTO, in that environment."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def canthus(*arguments: str) -> str:
    """Standard output of the installed command; its own messages go straight through."""
    command = [str(Path(sys.executable).with_name("canthus")), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Run the commands and stop at the first surprise."""
    present = [name for name in ("torch", "lightning", "onnx", "matplotlib", "pyarrow") if find_spec(name)]
    if present:
        sys.exit(f"expected none of the extras, found {', '.join(present)}")
    if "detect" not in canthus("--help"):
        sys.exit("canthus --help does not mention detect")
    print(canthus("models"))
    (picture,) = json.loads(canthus("detect", sys.argv[1], "--json", "-"))
    faces = picture["faces"]
    if len(faces) != 1 or len(faces[0]["points"]) != 68:
        sys.exit(f"expected one face of 68 points, found {[len(face['points']) for face in faces]}")
    inside = [0 <= x < picture["width"] and 0 <= y < picture["height"] for x, y in faces[0]["points"]]
    if not all(inside):
        sys.exit(f"{inside.count(False)} of 68 points lie outside the picture")
    print(f"no torch here; one face of 68 points in {picture['width']} x {picture['height']} pixels")


if __name__ == "__main__":
    main()
