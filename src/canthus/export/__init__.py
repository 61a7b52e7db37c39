"""Networks to ONNX files, checked against torch."""
