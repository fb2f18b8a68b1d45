"""Finished runs as files for others: timm folders, ONNX files, torch.export programs, the hub."""
