"""Examples and bodies of the description of the service (OpenAPI)."""

from typing import Any

TAGS = [
    {"name": "pictures", "description": "Faces of one picture."},
    {"name": "videos", "description": "Signs of fatigue in a video."},
    {"name": "operation", "description": "For whoever runs the service."},
]


def _body(what: str, field: str, kinds: list[str]) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {field: binary}, "required": [field]}
    contents = {kind: {"schema": binary} for kind in kinds} | {"multipart/form-data": {"schema": form}}
    return {"required": True, "description": f"The content of {what}, or a form with one file.", "content": contents}


BODIES = {
    "picture": _body("a picture", "image", ["image/jpeg", "image/png", "image/webp", "application/octet-stream"]),
    "video": _body("a video", "video", ["video/mp4", "video/webm", "application/octet-stream"]),
}
"""What requests send."""

RECORD: dict[str, Any] = {
    "image": None,
    "width": 640,
    "height": 480,
    "faces": [
        {
            "box": [210.31, 96.02, 402.77, 301.5],
            "score": 0.9712,
            "scheme": "five",
            "points": [[262.4, 168.11], [350.02, 166.9], [306.3, 214.77], [270.12, 250.3], [344.6, 249.21]],
            "face_confidence": 0.9991,
            "pose": {"yaw_deg": 1.52, "pitch_deg": -3.1, "roll_deg": -0.74},
            "ratios": {"right_ear": 0.2921, "left_ear": 0.2874, "mar": 0.0312},
        }
    ],
    "schema_version": 1,
}
"""Answer of ``/v1/detect?scheme=five&pose=true&ratios=true``."""

EVENTS = (
    '{"event": {"kind": "blink", "start_s": 5.321, "end_s": 5.502, "depth": 0.913}}\n'
    '{"report": {"duration_s": 12.48, "fps": 25.0, "frames": 312, "faces_lost_s": 0.0, "events": [], "perclos": 0.01, '
    '"blink_rate_hz": 0.08, "schema_version": 1}, "problem": null}\n'
)
"""Answer of ``/v1/fatigue``."""
