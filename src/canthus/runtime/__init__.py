"""Inference without torch: ONNX sessions, detectors, the pipeline, tracking, drawing."""
