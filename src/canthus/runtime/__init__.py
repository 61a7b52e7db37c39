"""Inference without torch: ONNX sessions, detectors, the pipeline, drawing."""
