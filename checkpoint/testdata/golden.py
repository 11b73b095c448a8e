"""Writes golden.safetensors with Hugging Face's library (pip install 'safetensors>=0.8' numpy)."""
import os
import sys

import numpy as np
from safetensors import TensorSpec, __version__, serialize

half = [0, -0.0, 1, -2, 65504, 6e-8, 1023 * 2**-24, 700 * 2**-24, np.inf, -np.inf]
arrays = {
    "f32": ("float32", np.array([[1.5, -2.25, 3e-45], [np.inf, 1e38, 0.1]], np.float32)),
    "f64": ("float64", np.array([0.1, -1e300])),
    "i32": ("int32", np.array([[[-(2**31)], [2**31 - 1], [7]]], np.int32)),
    "i64": ("int64", np.array(-(2**62), np.int64)),
    "f16": ("float16", np.array(half, np.float16)),
    "bf16": ("bfloat16", np.array([0x3F80, 0xC049, 0x0001, 0x7F80], np.uint16)),
    "empty": ("float32", np.zeros((0, 3), np.float32)),
}
specs = {n: TensorSpec(dtype=d, shape=a.shape, data_ptr=a.ctypes.data, data_len=a.nbytes) for n, (d, a) in arrays.items()}
out = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "golden.safetensors")
with open(out, "wb") as f:
    f.write(serialize(specs, {"made by": "safetensors " + __version__, "ü": "\u2603 <&>"}))
