"""The network of these weights in PyTorch: a ResNet with exits, under the names
of the weights. Encoder() gives one feature vector [N, dim] an exit, the
backbone's last; Net() has the heads of the training besides."""

import torch
from torch import nn
from torch.nn import functional as F

CONFIG = None  # replaced: what this network is


def conv_norm(into, out, kernel, stride):
    return nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out)


class Block(nn.Module):
    def __init__(self, into, planes, out, stride):
        super().__init__()
        if CONFIG["bottleneck"]:
            layers = [(into, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)]
        else:
            layers = [(into, planes, 3, stride), (planes, out, 3, 1)]
        self.count = len(layers)
        for i, layer in enumerate(layers, 1):
            conv, norm = conv_norm(*layer)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", norm)
        self.shortcut = nn.Sequential()
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(*conv_norm(into, out, 1, stride))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = F.relu(y)
        return F.relu(y + self.shortcut(x))


def channels(stage):
    return (CONFIG["width"] << (stage - 1)) * (4 if CONFIG["bottleneck"] else 1)


def stage_of(stage, blocks):
    into = channels(stage - 1) if stage > 1 else CONFIG["width"]
    layers = []
    for i in range(blocks):
        layers.append(Block(into, CONFIG["width"] << (stage - 1), channels(stage), 2 if i == 0 and stage > 1 else 1))
        into = channels(stage)
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        large = CONFIG["large_stem"]
        self.conv1, self.bn1 = conv_norm(CONFIG["channels"], CONFIG["width"], 7 if large else 3, 2 if large else 1)
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        for s in (1, 2, 3, 4):
            self.add_module(f"layer{s}", stage_of(s, CONFIG["blocks"][s - 1]))
        self.selfcon_layer = nn.ModuleList([self.exit(s) if s in CONFIG["exits"] else None for s in (1, 2, 3)])

    def exit(self, stage):
        if CONFIG["sub"] == "fc":
            return nn.Linear(channels(stage), channels(4))
        return nn.Sequential(*[stage_of(s, CONFIG["sub_blocks"][s - 1]) for s in range(stage + 1, 5)])

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        features = []
        for s in (1, 2, 3, 4):
            x = getattr(self, f"layer{s}")(x)
            if s in CONFIG["exits"]:
                leave = self.selfcon_layer[s - 1]
                features.append(leave(x.mean((2, 3))) if CONFIG["sub"] == "fc" else leave(x).mean((2, 3)))
        return features + [x.mean((2, 3))]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        for name, shapes in CONFIG["heads"].items():  # [out, in] of a linear layer, or of two with a ReLU between
            layers = [nn.Linear(i, o) for o, i in shapes]
            head = layers[0] if len(layers) == 1 else nn.Sequential(layers[0], nn.ReLU(), layers[1])
            *path, last = name.split(".")
            at = self
            for part in path:
                if not hasattr(at, part):
                    at.add_module(part, nn.ModuleDict())
                at = getattr(at, part)
            at.add_module(last, head)

    def forward(self, x):
        return self.encoder(x)


def images(x):
    """RGB or grey pixels in [0, 1], [N, channels, side, side], as the network takes them."""
    mean, std = (torch.tensor(CONFIG[k]).view(1, -1, 1, 1) for k in ("mean", "std"))
    return (x - mean) / std
