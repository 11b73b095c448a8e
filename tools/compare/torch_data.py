"""Loads and augments images with torchvision and Pillow, one core, for comparison
with `go test ./augment -bench 'Paper|JPEG' -cpu 1` (see tools/README.md).

    taskset -c 1 python torch_data.py FOLDER     # of JPEGs, such as 500×375 photographs

Prints images a second, the best of three rounds.
"""

import io
import sys
import time
from pathlib import Path

import torch
import torchvision.transforms as T
from PIL import Image

torch.set_num_threads(1)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def paper(size):
    return T.Compose([
        T.RandomResizedCrop(size, scale=(0.2, 1)), T.RandomHorizontalFlip(),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8), T.RandomGrayscale(p=0.2),
        T.ToTensor(), T.Normalize(MEAN, STD),
    ])


def speed(name, f, n):
    best = 0
    for _ in range(3):
        start = time.perf_counter()
        for i in range(n):
            f(i)
        best = max(best, n / (time.perf_counter() - start))
    print(f"{name:40} {best:8.0f} images/s")


files = [p.read_bytes() for p in sorted(Path(sys.argv[1]).glob("*.jpg"))]
decode = lambda i: Image.open(io.BytesIO(files[i % len(files)])).convert("RGB")
decoded = [decode(i) for i in range(len(files))]
small = [im.resize((32, 32)) for im in decoded]
to32, to224 = paper(32), paper(224)
speed("paper's augmentation, 32×32", lambda i: to32(small[i % len(small)]), 2000)
speed("decode", decode, 200)
speed("paper's augmentation of decoded, to 224", lambda i: to224(decoded[i % len(decoded)]), 200)
speed("decode and paper's augmentation, to 224", lambda i: to224(decode(i)), 200)
