"""Text encoders of the registry on ONNX Runtime, in the ingress replica's own process.

Right for a model of tens of millions of parameters, whose run takes milliseconds: no hop, and no process of its own.
"""
