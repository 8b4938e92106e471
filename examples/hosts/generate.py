"""Loads a folder that attnc wrote and continues a prompt by the most likely tokens, with the model's cache:
the ids that `attnc generate FOLDER --prompt PROMPT --max-tokens COUNT --json` says.

    pip install onnxruntime tokenizers
    python generate.py smaller/ 'Once upon a time' 24
"""
import json
import pathlib
import sys

import numpy
import onnxruntime
import tokenizers

folder, prompt, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
session = onnxruntime.InferenceSession(
    str(folder / "model_with_past.onnx"), providers=["CPUExecutionProvider"]
)
# Heads may differ from layer to layer, so the empty cache is shaped by the model and not by its config.
caches = {
    port.name: numpy.zeros([1, port.shape[1], 0, port.shape[3]], numpy.float32)
    for port in session.get_inputs()
    if port.name.startswith("past_key_values")
}
outputs = [port.name for port in session.get_outputs()]
names = {port.name for port in session.get_inputs()}
said: list[int] = []
ids = tokenizer.encode(prompt, add_special_tokens=False).ids
seen = 0
for _ in range(count):
    feeds = {
        "input_ids": numpy.array([ids], numpy.int64),
        "attention_mask": numpy.ones([1, seen + len(ids)], numpy.int64),
        "position_ids": numpy.arange(seen, seen + len(ids), dtype=numpy.int64)[None],
    }
    feeds = {name: feed for name, feed in feeds.items() if name in names} | caches
    found = dict(zip(outputs, session.run(None, feeds)))
    seen += len(ids)
    ids = [int(found["logits"][0, -1].argmax())]
    said += ids
    caches = {name: found[name.replace("past_key_values", "present")] for name in caches}
print(json.dumps({"ids": said, "text": tokenizer.decode(said)}))
