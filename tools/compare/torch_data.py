"""Loads and augments images with torchvision and Pillow, for comparison with
`selfcon bench loading` (see tools/README.md).

    python torch_data.py --mode files --folder FOLDER --image 224 --threads 1 --steps 5

FOLDER has image files at any depth. With --mode decoded they are decoded before the
clock starts. Prints one line of JSON: seconds an image, of the quickest pass.
"""

import argparse
import io
import json
import resource
import statistics
import time
from pathlib import Path

import PIL
import torch
import torchvision
import torchvision.transforms as T
from PIL import Image

p = argparse.ArgumentParser()
p.add_argument("--mode", choices=["files", "decoded"], required=True)
p.add_argument("--folder", required=True)
p.add_argument("--image", type=int, required=True)
p.add_argument("--threads", type=int, default=1)
p.add_argument("--steps", type=int, default=5)
a = p.parse_args()
torch.set_num_threads(a.threads)

augment = T.Compose([
    T.RandomResizedCrop(a.image, scale=(0.2, 1)), T.RandomHorizontalFlip(),
    T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8), T.RandomGrayscale(p=0.2),
    T.ToTensor(), T.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
])


def decode(raw):
    return Image.open(io.BytesIO(raw)).convert("RGB")


images = [p.read_bytes() for p in sorted(Path(a.folder).rglob("*")) if p.is_file()]
load = decode
if a.mode == "decoded":
    images = [decode(raw) for raw in images]
    load = lambda im: im

times = []
for _ in range(a.steps + 1):
    start = time.perf_counter()
    for im in images:
        augment(load(im))
    times.append((time.perf_counter() - start) / len(images))
times = times[1:]
print(json.dumps({
    "engine": f"torchvision {torchvision.__version__} with Pillow {PIL.__version__}",
    "step_s": min(times), "step_s_median": statistics.median(times),
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
