"""Programs to start from: `python -m glagcn.examples.webcam`, and `onnx_lift`, which needs no PyTorch."""
