# Makes the files of this folder, with PyTorch 2.15, torchvision 0.29 and, for
# names.json, timm 1.0:
#
#     python make.py
#
# torchvision.pth: a ResNet-18 of width 2 under torchvision's names, with the
# stem for large images. reference.pth: a ResNet-18 of width 2 with an exit after
# stage 2 as the paper's reference code saves it from several GPUs: options,
# optimizer, "module." in the names. features.json: what both make of an image.
# names.json: names and shapes of real networks.
import argparse
import collections
import gzip
import json
import os

import torch
from torch import nn
from torch.nn import functional as F

here = os.path.dirname(os.path.abspath(__file__))


class Block(nn.Module):
    def __init__(self, into, out, stride, skip):
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.skip = skip
        if stride != 1 or into != out:
            setattr(self, skip, nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (getattr(self, self.skip)(x) if hasattr(self, self.skip) else x))


class ResNet(nn.Module):
    def __init__(self, width, large, skip, fc=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.large = large
        into = width
        for i in range(4):
            out = width << i
            setattr(self, f"layer{i + 1}", nn.Sequential(Block(into, out, 2 if i else 1, skip), Block(out, out, 1, skip)))
            into = out
        if fc:
            self.selfcon_layer = nn.ModuleList([None, nn.Linear(2 * width, into), None])

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.large:
            x = F.max_pool2d(x, 3, 2, 1)
        exits = []
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
            if i == 1 and hasattr(self, "selfcon_layer"):
                exits.append(self.selfcon_layer[1](x.mean((2, 3))))
        return exits + [x.mean((2, 3))]


class Con(nn.Module):
    def __init__(self, encoder, dim):
        super().__init__()
        self.encoder = nn.DataParallel(encoder)
        mlp = lambda: nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4))
        self.head = mlp()
        self.sub_heads = nn.ModuleList([mlp()])


def settle(net):
    """Statistics and scales that are not those of the start."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.3, 0.3)
            m.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.3, 0.3)
    return net.eval()


def image(side):
    """A formula, so that it need not be stored: [1, 3, side, side]."""
    n = torch.arange(3 * side * side, dtype=torch.float64)
    return torch.sin(n * 0.7).view(1, 3, side, side).float()


if __name__ == "__main__":
    torch.manual_seed(1)
    features = {}
    net = settle(ResNet(2, True, "downsample"))
    state = net.state_dict()
    state["fc.weight"], state["fc.bias"] = torch.randn(10, 16), torch.randn(10)
    torch.save(state, os.path.join(here, "torchvision.pth"))
    with torch.no_grad():
        features["torchvision"] = [f[0].tolist() for f in net(image(64))]

    net = settle(ResNet(2, False, "shortcut", fc=True))
    con = Con(net, 16)
    sgd = torch.optim.SGD(con.parameters(), 0.1, momentum=0.9)
    sgd.step()
    options = argparse.Namespace(model="resnet18", dataset="cifar100", method="SelfCon", selfcon_pos="[False,True,False]", selfcon_size="fc", learning_rate=0.5, lr_decay_epochs=[700, 800, 900])
    torch.save({"opt": options, "model": con.state_dict(), "optimizer": sgd.state_dict(), "epoch": 1000}, os.path.join(here, "reference.pth"))
    with torch.no_grad():
        features["reference"] = [f[0].tolist() for f in net(image(32))]
    with open(os.path.join(here, "features.json"), "w") as f:
        json.dump(features, f)

    import timm
    import torchvision

    names = {}
    for arch in ["resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d"]:
        names["torchvision " + arch] = getattr(torchvision.models, arch)().state_dict()
    for arch in ["resnet18", "resnet34", "resnet50", "resnet101", "resnet50d"]:
        names["timm " + arch] = timm.create_model(arch).state_dict()
    names = {k: {n: list(t.shape) for n, t in s.items()} for k, s in names.items()}
    with open(os.path.join(here, "names.json.gz"), "wb") as f:
        f.write(gzip.compress(json.dumps(names).encode(), mtime=0))
