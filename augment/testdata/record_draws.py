"""Records what torchvision makes of random numbers: the rectangles of random crops
and erasures, the operations of RandAugment and AutoAugment, the blur's deviation.

    python record_draws.py

writes draws.json: for each case the numbers in the order in which they were drawn,
uniform ones as a share u of their range, whole ones as [k, n] for k of 0 to n−1.
"""

import json
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import autoaugment

draws = []
uniform_, rand, randint = torch.Tensor.uniform_, torch.rand, torch.randint


def record_uniform(self, a=0.0, b=1.0):
    out = uniform_(self, a, b)
    draws.extend((float(v) - float(a)) / (float(b) - float(a)) for v in out.flatten())
    return out


def record_rand(*size):
    out = rand(*size)
    draws.extend(float(v) for v in out.flatten())
    return out


def record_randint(*args, size=None):
    args, size = (args, size) if size else (args[:-1], args[-1])
    low, high = (0, args[0]) if len(args) == 1 else args
    out = randint(low, high, size)
    draws.extend([int(v) - low, high - low] for v in out.flatten())
    return out


torch.Tensor.uniform_, torch.rand, torch.randint = record_uniform, record_rand, record_randint
done = []
autoaugment._apply_op = lambda img, name, magnitude, **_: (done.append([name, magnitude]), img)[1]


def case(kind, height, width, setting, make):
    draws.clear()
    done.clear()
    result = make()
    return dict(kind=kind, height=height, width=width, setting=setting, draws=list(draws), result=result)


torch.manual_seed(1)
cases = []
for height, width in ((32, 32), (375, 500), (64, 96), (10, 60), (224, 100)):
    im, tensor = Image.new("RGB", (width, height)), torch.zeros(3, height, width)
    for _ in range(12):
        for scale in (0.2, 0.8):
            cases.append(case("crop", height, width, scale, lambda: list(T.RandomResizedCrop.get_params(im, (scale, 1.0), (3 / 4, 4 / 3)))))
        cases.append(case("erase", height, width, None, lambda: list(T.RandomErasing.get_params(tensor, (0.02, 0.33), (0.3, 3.3), [0.0])[:4])))
        for n, m in ((2, 9), (3, 14)):
            cases.append(case("rand", height, width, [n, m], lambda: (T.RandAugment(n, m)(im), list(done))[1]))
        for policy in T.AutoAugmentPolicy:
            cases.append(case("auto", height, width, policy.value, lambda: (T.AutoAugment(policy)(im), list(done))[1]))
    cases.append(case("blur", height, width, [0.1, 2.0], lambda: T.GaussianBlur.get_params(0.1, 2.0)))

doc = dict(torch=torch.__version__, torchvision=torchvision.__version__, cases=cases)
(Path(__file__).resolve().parent / "draws.json").write_text(json.dumps(doc, separators=(",", ":")).replace('{"kind"', '\n{"kind"') + "\n")
print(len(cases), "cases")
