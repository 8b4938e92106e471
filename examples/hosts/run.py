"""Runs a model of attnc's operators in Python, by their bodies and by the kernels of attnc's library.

    python run.py model.onnx "$(attnc doctor --json | jq -r .kernels.library)"
"""
import sys
import time

import numpy
import onnxruntime

model, library = sys.argv[1:3]


def outputs(options: onnxruntime.SessionOptions, feeds: dict) -> tuple[list, float]:
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, feeds)
    start = time.perf_counter()
    results = session.run(None, feeds)
    return results, 1000 * (time.perf_counter() - start)


random = numpy.random.default_rng(0)
plain = onnxruntime.SessionOptions()
ports = onnxruntime.InferenceSession(model, plain).get_inputs()
feeds = {port.name: random.standard_normal(port.shape, dtype=numpy.float32) for port in ports}
expected, by_body = outputs(plain, feeds)

fast = onnxruntime.SessionOptions()
fast.register_custom_ops_library(library)
found, by_kernel = outputs(fast, feeds)

difference = max(float(numpy.abs(a - b).max()) for a, b in zip(expected, found))
print(f"body {by_body:.1f} ms, kernel {by_kernel:.1f} ms, largest difference {difference:.2g}")
