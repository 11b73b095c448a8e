#!/usr/bin/env python3
"""The time and peak memory of a ResNet's features in evaluation mode, in PyTorch or ONNX Runtime: the peer that
`selfcon bench inference` is held against, with the same weights and images.

usage: torch_inference.py --weights FILE --sample FILE [--arch resnet18|resnet34|resnet50] [--batch 64] [--image 32]
                          [--width 64] [--steps 20] [--threads 2] [--mode eager|compile|onnx]
The files are those of `selfcon bench inference`; the sample's batch is what is run. Prints one line of JSON, with the
largest difference from the sample's features. eager takes the quicker of two layouts of memory; compile has its weights
frozen, so that batch norms are folded into convolutions; onnx is exported from the same module. Needs: pip install torch,
and for onnx: onnx onnxruntime, in an environment of its own.
"""
import argparse, json, os, resource, statistics, struct, tempfile, time, warnings
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

warnings.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self, cin, width, stride, bottleneck):
        super().__init__()
        out = width * (4 if bottleneck else 1)
        shapes = [(cin, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)] if bottleneck else \
            [(cin, width, 3, stride), (width, out, 3, 1)]
        self.depth = len(shapes)
        for i, (a, b, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, k, s, k // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != out:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        h = x
        for i in range(1, self.depth + 1):
            h = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(h))
            if i < self.depth:
                h = F.relu(h)
        return F.relu(h + self.shortcut(x))


class Encoder(nn.Module):
    """A ResNet up to its features, with the names of the paper's reference code."""
    depths = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}

    def __init__(self, arch, small_stem, width):
        super().__init__()
        deep = arch in ("resnet50", "resnet101")
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small_stem else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        cin = width
        for i, n in enumerate(self.depths[arch]):
            blocks = []
            for b in range(n):
                blocks.append(Block(cin, width << i, 2 if b == 0 and i > 0 else 1, deep))
                cin = (width << i) * (4 if deep else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        a, b = t["data_offsets"]
        kind = {"F32": np.float32, "I32": np.int32, "F64": np.float64, "I64": np.int64}[t["dtype"]]
        out[name] = np.frombuffer(data[a:b], kind).reshape(t["shape"]).copy()
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--weights", required=True)
    ap.add_argument("--sample", required=True)
    for name, default in dict(arch="resnet18", batch=64, image=32, width=64, steps=20, threads=2, mode="eager").items():
        ap.add_argument("--" + name, type=type(default), default=default)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    net = Encoder(a.arch, a.image <= 64, a.width).eval()
    state = {k.removeprefix("encoder."): torch.from_numpy(v) for k, v in read_safetensors(a.weights).items()}
    state |= {k: v for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")}
    net.load_state_dict(state)
    sample = read_safetensors(a.sample)
    x = torch.from_numpy(sample["images"]).permute(0, 3, 1, 2).contiguous()
    assert x.shape == (a.batch, 3, a.image, a.image), f"the sample is {tuple(x.shape)}"
    last = torch.channels_last

    engine, candidates = "torch " + torch.__version__, []
    if a.mode == "onnx":
        import onnxruntime
        engine = "onnxruntime " + onnxruntime.__version__
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.onnx")
            # The exporter that needs no package but onnx.
            torch.onnx.export(net, (x,), path, dynamo=False, input_names=["images"], output_names=["features"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = a.threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {"images": x.numpy()}
        candidates.append(("nchw", lambda: session.run(None, feed)[0]))
    else:
        if a.mode == "compile":
            import torch._inductor.config as inductor
            inductor.freezing = True
        for layout, memory in ("nchw", torch.contiguous_format), ("nhwc", last):
            if a.mode == "compile" and layout == "nhwc":
                break  # the compiler chooses its own
            module, images = net, x
            if layout == "nhwc":
                module, images = net.to(memory_format=last), x.contiguous(memory_format=last)
            if a.mode == "compile":
                module = torch.compile(module)
            candidates.append((layout, lambda module=module, images=images: module(images)))

    best = None
    with torch.inference_mode():
        for layout, run in candidates:
            if layout == "nhwc":
                net.to(memory_format=last)
            start = time.perf_counter()
            out = run()
            first = time.perf_counter() - start
            run()
            times = []
            for _ in range(a.steps):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            if best is None or min(times) < best["step_s"]:
                best = dict(layout=layout, first_step_s=first, step_s=min(times), step_s_median=statistics.median(times),
                            difference=float(np.abs(np.asarray(out) - sample["features"]).max()))
    del a.weights, a.sample
    print(json.dumps(dict(vars(a), engine=engine, **best, images_per_s=round(a.batch / best["step_s"], 2),
                          largest_feature=float(np.abs(sample["features"]).max()),
                          peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


main()
