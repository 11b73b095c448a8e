"""Records what torchvision and Pillow make of the images of record.py by the
operations of RandAugment and AutoAugment, by blurring, erasing, and mixing.

    python record_policy.py

writes policy.json. Results that must be met to the byte are SHA-256 digests, of
bytes or of float32; blurred images are kept whole (base64), since sums in
another order may round to the other side.
"""

import base64
import gzip
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode, autoaugment, v2
from torchvision.transforms import functional as F

HERE = Path(__file__).resolve().parent
recorded = json.loads((HERE / "cases.json").read_text())
blob = gzip.decompress((HERE / "pixels.bin.gz").read_bytes())
images = {}
for im in recorded["images"]:
    n = im["width"] * im["height"] * im["channels"]
    shape = (im["height"], im["width"], im["channels"])
    px = np.frombuffer(blob[im["at"] : im["at"] + n], np.uint8).reshape(shape)
    images[im["name"]] = Image.fromarray(px if shape[2] == 3 else px[..., 0])

rand, auto = autoaugment.RandAugment(), autoaugment.AutoAugment()
NAMES = list(auto._augmentation_space(10, (32, 32)))
amounts = []
for height, width in ((32, 32), (224, 224), (47, 61), (64, 96)):
    for bins, space in ((31, rand._augmentation_space(31, (height, width))), (10, auto._augmentation_space(10, (height, width)))):
        for name, (m, signed) in space.items():
            if m.ndim:
                amounts.append(dict(op=name, height=height, width=width, bins=bins, amounts=[float(v) for v in m]))

digest = lambda b: hashlib.sha256(b).hexdigest()
ops = []
for name in NAMES:
    for image in ("scene0", "scene1", "synthetic", "upright", "fashion"):
        im = images[image]
        magnitudes, signed = auto._augmentation_space(31, (im.height, im.width))[name]
        values = [0.0] if not magnitudes.ndim else [float(magnitudes[k]) for k in (0, 3, 9, 17, 30)]
        if signed:
            values += [-v for v in values[1:]]
        for v in values:
            out = autoaugment._apply_op(im, name, v, InterpolationMode.NEAREST, None)
            ops.append(dict(op=name, image=image, amount=v, digest=digest(np.asarray(out).tobytes())))

blurs = []
for image, kernel, sigma in (("scene0", 3, 0.1), ("scene1", 3, 1.3), ("scene2", 5, 2.0), ("synthetic", 9, 0.7), ("upright", 23, 2.0), ("fashion", 3, 0.9)):
    out = np.asarray(F.gaussian_blur(images[image], [kernel, kernel], [sigma, sigma]))
    blurs.append(dict(image=image, kernel=kernel, sigma=sigma, pixels=base64.b64encode(out.tobytes()).decode()))
solar = [dict(image=i, digest=digest(np.asarray(F.solarize(images[i], 128)).tobytes())) for i in ("scene0", "fashion")]

# A batch of the three scenes and their mirror images, in HWC.
batch = torch.stack([F.to_tensor(im) for name in ("scene0", "scene1", "scene2") for im in (images[name], F.hflip(images[name]))])
labels = torch.arange(6)
hwc = lambda t: t.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
mixes = []
for lam in (0.0, 0.25, 0.7123, 1.0):
    m = v2.MixUp(num_classes=6)
    params = dict(labels=labels, batch_size=6, lam=lam)
    mixes.append(dict(kind="mixup", lam=lam, digest=digest(hwc(m.transform(batch, params))), labels=m.transform(labels, params).double().tolist()[1]))
for lam, x, y in ((0.3, 5, 9), (0.9, 31, 0), (0.0, 16, 16), (1.0, 3, 3), (0.5, 0, 31)):
    m = v2.CutMix(num_classes=6)
    m._dist = type("Fixed", (), dict(sample=lambda self, _: torch.tensor(lam, dtype=torch.float64)))()
    draws = iter((torch.tensor([x]), torch.tensor([y])))
    real, torch.randint = torch.randint, lambda *a, **k: next(draws)
    params = m.make_params([batch])
    torch.randint = real
    params |= dict(labels=labels, batch_size=6)
    mixes.append(dict(kind="cutmix", lam=lam, x=x, y=y, digest=digest(hwc(m.transform(batch, params))), labels=m.transform(labels, params).double().tolist()[1]))
erased = digest(F.erase(batch[0], 3, 7, 11, 9, torch.tensor(0.0)).permute(1, 2, 0).contiguous().numpy().tobytes())

policies = {p.value: [[[n, round(10 * q), -1 if m is None else m] for n, q, m in pair] for pair in autoaugment.AutoAugment(p).policies] for p in autoaugment.AutoAugmentPolicy}
doc = dict(
    versions=dict(torch=torch.__version__, torchvision=torchvision.__version__, Pillow=PIL.__version__),
    names=NAMES, amounts=amounts, ops=ops, blurs=blurs, solarize=solar, mixes=mixes, erased=erased, policies=policies,
)
(HERE / "policy.json").write_text(json.dumps(doc, separators=(",", ":")).replace('},{', '},\n{') + "\n")
print(len(ops), "operations")
