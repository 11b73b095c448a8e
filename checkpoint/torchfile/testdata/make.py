# Makes the .pth files of this folder, with PyTorch 2.15:
#
#     python make.py
import argparse
import collections
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
save = lambda name, value, **how: torch.save(value, os.path.join(here, name), **how)

base = torch.arange(12.0)
state = collections.OrderedDict(
    transposed=base.view(3, 4).t(),
    part=base[3:5],
    parameter=torch.nn.Parameter(torch.tensor([1.5, -2.0])),
    double=torch.tensor([0.1], dtype=torch.float64),
    half=torch.tensor([1.0, -0.5, 65504.0]).half(),
    bfloat=torch.tensor([1.0, -0.5, 3e38]).bfloat16(),
    scalar=torch.tensor(1 << 40),
    int=torch.tensor([-7], dtype=torch.int32),
    byte=torch.tensor([[0, 255]], dtype=torch.uint8),
    bool=torch.tensor([True, False]),
    empty=torch.zeros(0, 3),
)
options = argparse.Namespace(model="resnet18", lr=0.5, label=True, exits=[False, True], seed=10**12)
optimizer = {"state": {0: {"momentum_buffer": base}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
checkpoint = {"opt": options, "model": state, "optimizer": optimizer, "epoch": 3}
save("checkpoint.pth", checkpoint)
save("protocol4.pth", checkpoint, pickle_protocol=4)
save("module.pth", torch.nn.Linear(1, 1))
save("legacy.pth", {"a": torch.ones(1)}, _use_new_zipfile_serialization=False)
torch.jit.save(torch.jit.script(torch.nn.Identity()), os.path.join(here, "script.pth"))
torch.serialization.set_crc32_options(False)
save("nochecksum.pth", {"a": base})
