"""Records torch's cross-entropy of torchvision's mixed labels, with and without
label smoothing, and its derivative by the logits.

    python record_soft.py > soft.json

Targets are float32, as v2.MixUp and v2.CutMix make them; loss and derivative are
float64.
"""

import json

import torch
import torchvision
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

N, K = 7, 5
g = torch.Generator().manual_seed(1)
logits = 3 * torch.randn(N, K, generator=g, dtype=torch.float64)
labels = torch.tensor([3, 3, 0, 4, 1, 0, 2])  # the second is mixed with one of its class

cases = []
for kind, mix in (("mixup", v2.MixUp), ("cutmix", v2.CutMix)):
    for lam in (0.0, 0.25, 0.7123, 1.0):
        params = dict(labels=labels, batch_size=N, lam=lam, lam_adjusted=lam, box=(0, 0, 0, 0))
        targets = mix(num_classes=K).transform(labels, params)
        for smoothing in (0.0, 0.1):
            x = logits.clone().requires_grad_()
            loss = cross_entropy(x, targets.double(), label_smoothing=smoothing)
            loss.backward()
            cases.append(dict(kind=kind, lam=lam, smoothing=smoothing, targets=targets.flatten().tolist(), loss=loss.item(), gradient=x.grad.flatten().tolist()))
for smoothing in (0.1, 0.5):  # of plain labels
    x = logits.clone().requires_grad_()
    loss = cross_entropy(x, labels, label_smoothing=smoothing)
    loss.backward()
    one = torch.nn.functional.one_hot(labels, K).double()
    cases.append(dict(kind="labels", lam=1.0, smoothing=smoothing, targets=one.flatten().tolist(), loss=loss.item(), gradient=x.grad.flatten().tolist()))

doc = dict(torch=torch.__version__, torchvision=torchvision.__version__, classes=K, labels=labels.tolist(), logits=logits.flatten().tolist(), cases=cases)
print(json.dumps(doc).replace('{"kind"', '\n{"kind"'))
