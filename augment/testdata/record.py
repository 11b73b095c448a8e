"""Records what torchvision and Pillow make of small images.

    python record.py [OUT]

writes OUT/cases.json (cases, versions) and OUT/pixels.bin.gz (all images and
results, one after another); OUT is this file's folder unless given. All images
are drawn here, from fixed seeds and in integers, but one: "fashion", the first
test image of Fashion-MNIST, from ../../data/sample (its licence is there).
A case is an image, a list of steps and a result; steps name torchvision's
functions and their arguments.

Needs: torch, torchvision, Pillow, numpy. Pillow must be older than 13: from 13
on, Image.resize may resample columns before rows, which rounds differently.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F

HERE = Path(__file__).resolve().parent
FASHION = HERE / "../../data/sample/t10k-images-idx3-ubyte.gz"

# Letters, 3 wide and 5 high: a row is three bits, left to right.
GLYPHS = {"A": (2, 5, 7, 5, 5), "E": (7, 4, 6, 4, 7), "K": (5, 5, 6, 5, 5), "R": (6, 5, 6, 5, 5), "T": (7, 2, 2, 2, 2), "X": (5, 5, 2, 5, 5)}


def plasma(rng, *octaves, channels):
    """32 by 32 smooth noise: for each (cell, amplitude), random values at the
    corners of a grid, interpolated between them, all in integers."""
    total = np.zeros((32, 32, channels), int)
    for cell, amplitude in octaves:
        corners = rng.randint(-amplitude, amplitude + 1, (32 // cell + 1, 32 // cell + 1, channels))
        at, part = np.divmod(np.arange(32), cell)
        part = part[:, None, None]
        rows = corners[at] * (cell - part) + corners[at + 1] * part
        part = part.reshape(1, 32, 1)
        total += (rows[:, at] * (cell - part) + rows[:, at + 1] * part) // cell**2
    return total


def write(im, text, top, left, colour):
    for k, letter in enumerate(text):
        for row, bits in enumerate(GLYPHS[letter]):
            for column in range(3):
                if bits >> (2 - column) & 1:
                    im[top + row, left + 4 * k + column] = colour


def scenes():
    """Three RGB images, 32 by 32, with what small photographs have: smooth
    shades in colour, fine texture, hard edges, letters, saturated and clipped
    regions, greys."""
    y, x = np.mgrid[0:32, 0:32]

    # A sky that darkens upwards over brown ground, a red disc, letters.
    rng = np.random.RandomState(10)
    shade = plasma(rng, (16, 40), (8, 20), (4, 10), (2, 5), channels=1)
    tint = plasma(rng, (16, 25), (8, 10), (1, 3), channels=3)
    sky = np.array((90, 140, 200)) + 2 * y[..., None]
    ground = np.array((120, 85, 45))
    day = np.where((y + x // 8 < 21)[..., None], sky, ground) + shade + tint
    day[(y - 9) ** 2 + (x - 22) ** 2 < 30] += (140, -90, -120)
    write(day, "TAKE", 25, 3, (250, 245, 235))

    # Dark, with coarse grain; lamps of the six saturated colours, white and black.
    rng = np.random.RandomState(11)
    shade = plasma(rng, (8, 25), (4, 20), (2, 25), (1, 20), channels=1)
    tint = plasma(rng, (16, 45), (4, 15), (1, 8), channels=3)
    night = 55 + shade + tint
    for k in range(8):
        top, left = 3 + 14 * (k // 4), 2 + 8 * (k % 4)
        night[top : top + 5, left : left + 4] = (k & 1) * 255, (k >> 1 & 1) * 255, (k >> 2) * 255
    night[(x + 2 * y) % 31 == 0] += 90

    # Bright to clipping and of little colour, but for two vivid stripes; a
    # chequerboard, lines one pixel wide, dark letters.
    rng = np.random.RandomState(12)
    shade = plasma(rng, (16, 60), (8, 30), (4, 15), channels=1)
    tint = plasma(rng, (16, 8), (8, 8), (2, 4), channels=3)
    paper = 225 + shade + tint
    paper[20:23] += (-160, 20, -110)
    paper[(x - y // 2 > 1) & (x - y // 2 < 6)] += (30, -70, -190)
    paper[24:31, 21:31] = np.where((y + x) % 2, 20, 235)[24:31, 21:31, None]
    paper[:, 29] = paper[1, :] = (35, 30, 60)
    write(paper, "TEXT", 4, 11, (25, 20, 20))
    write(paper, "ARK", 12, 14, (90, 10, 130))

    return [Image.fromarray(np.clip(im, 0, 255).astype(np.uint8)) for im in (day, night, paper)]


def synthetic():
    """61 wide, 47 high: gradients of the three channels, noise, saturated and grey patches."""
    y, x = np.mgrid[0:47, 0:61]
    im = np.stack([x * 255 / 60, y * 255 / 46, (x + y) * 255 / 106], -1)
    noise = np.random.default_rng(1).integers(-60, 61, im.shape)
    im = np.clip(im + noise * (x[..., None] > 30), 0, 255).astype(np.uint8)
    im[:6, :6] = 255
    im[:6, 6:12] = 0
    im[6:12, :6] = (255, 0, 0)
    im[6:12, 6:12] = (0, 0, 255)
    im[12:18, :12] = im[12:18, :12, :1]
    return Image.fromarray(im)


class Recorder:
    def __init__(self):
        self.blob = bytearray()
        self.images = {}
        self.cases = []

    def store(self, data):
        at = len(self.blob)
        self.blob += data
        return at

    def image(self, name, im):
        self.images[name] = im
        pixels = np.asarray(im)
        return dict(name=name, width=im.width, height=im.height, channels=len(im.getbands()), at=self.store(pixels.tobytes()))

    def case(self, name, image, *steps, mode=None):
        """mode: the PIL mode to convert the image to first."""
        im = self.images[image]
        if mode:
            im = im.convert(mode)
        for op, *a in steps:
            if op == "resized_crop":  # top, left, height, width, out height, out width
                im = F.resized_crop(im, *a[:4], a[4:])
            elif op == "resize_center":  # shorter side, height, width
                im = F.center_crop(F.resize(im, a[0]), a[1:])
            elif op == "hflip":
                im = F.hflip(im)
            elif op == "gray":
                im = F.to_grayscale(im, len(im.getbands()))
            elif op in ("brightness", "contrast", "saturation", "hue"):
                im = getattr(F, "adjust_" + op)(im, a[0])
            elif op == "normalize":
                n = len(im.getbands())
                im = F.normalize(F.to_tensor(im), a[:n], a[n:])
            else:
                raise ValueError(op)
        if isinstance(im, torch.Tensor):
            out = im.permute(1, 2, 0).contiguous().numpy()
            assert out.dtype == np.float32
            height, width, channels = out.shape
        else:
            out = np.asarray(im)
            width, height, channels = im.width, im.height, len(im.getbands())
        self.cases.append(
            dict(
                name=name,
                image=image,
                mode=mode or "",
                steps=[dict(op=op, args=list(a)) for op, *a in steps],
                width=width,
                height=height,
                channels=channels,
                float=out.dtype == np.float32,
                at=self.store(out.tobytes()),
            )
        )


def every_pixel():
    """Digests of colour conversions of all 2^24 pixels, first byte slowest."""
    grid = np.arange(256, dtype=np.uint8)
    digests = {name: hashlib.sha256() for name in ("rgb_to_l", "rgb_to_hsv", "hsv_to_rgb", "saturation_1.3", "hue_-0.07")}
    for first in range(256):
        px = np.empty((256, 256, 3), np.uint8)
        px[..., 0] = first
        px[..., 1] = grid[:, None]
        px[..., 2] = grid
        rgb = Image.fromarray(px)
        hsv = Image.frombytes("HSV", (256, 256), px.tobytes())
        for name, im in (
            ("rgb_to_l", rgb.convert("L")),
            ("rgb_to_hsv", rgb.convert("HSV")),
            ("hsv_to_rgb", hsv.convert("RGB")),
            ("saturation_1.3", F.adjust_saturation(rgb, 1.3)),
            ("hue_-0.07", F.adjust_hue(rgb, -0.07)),
        ):
            digests[name].update(im.tobytes())
    return {name: d.hexdigest() for name, d in digests.items()}


def blends():
    """Digest of Image.blend for all pairs of bytes (first image slowest) and many factors."""
    first = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8), 256).reshape(256, 256))
    second = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    digest = hashlib.sha256()
    for i in range(257):
        digest.update(Image.blend(first, second, i / 128).tobytes())
    for i in range(100):
        digest.update(Image.blend(first, second, 0.6 + 0.8 * i / 99).tobytes())
    return digest.hexdigest()


def resizes():
    """Digests of resizing a noise image from every length to every length, in one axis and in both."""
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    digest = hashlib.sha256()
    for n in range(1, 41):
        for m in range(1, 41):
            for w, h, ow, oh in ((n, 3, m, 3), (3, n, 3, m), (n, 41 - n, m, 41 - m)):
                digest.update(noise.crop((0, 0, w, h)).resize((ow, oh), Image.BILINEAR).tobytes())
    return noise, digest.hexdigest()


def central_crops():
    """[image height, width, then RandomResizedCrop's crop when no try fits: top, left, height, width]"""
    rows = []
    for h, w in ((10, 1000), (1000, 10), (1, 1), (1, 2), (2, 1), (3, 4), (4, 3), (30, 41), (41, 30), (7, 10), (10, 7), (37, 53), (53, 38)):
        crop = torchvision.transforms.RandomResizedCrop.get_params(Image.new("L", (w, h)), [9.0, 9.0], [3 / 4, 4 / 3])
        rows.append([h, w, *crop])
    return rows


def main():
    assert int(PIL.__version__.split(".")[0]) < 13, "resampling of Pillow 13 and newer rounds differently"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    r = Recorder()
    images = [r.image(f"scene{i}", im) for i, im in enumerate(scenes())]
    with gzip.open(FASHION) as f:
        f.seek(16)
        grey = np.frombuffer(f.read(28 * 28), np.uint8).reshape(28, 28)
    images.append(r.image("fashion", Image.fromarray(grey)))
    images.append(r.image("synthetic", synthetic()))
    images.append(r.image("upright", synthetic().transpose(Image.Transpose.ROTATE_90)))
    noise, resize_digest = resizes()
    images.append(r.image("noise", noise))

    def crop(image, *a, mode=None):
        r.case("crop", image, ("resized_crop", *a), mode=mode)

    # Crops: enlarged, shrunk, mixed, the whole, one pixel wide, at the edges.
    crop("scene0", 3, 5, 17, 14, 32, 32)
    crop("scene0", 0, 0, 32, 32, 32, 32)
    crop("scene0", 0, 3, 32, 29, 32, 32)
    crop("scene0", 4, 0, 28, 32, 32, 32)
    crop("scene1", 15, 14, 17, 18, 32, 32)
    crop("scene1", 2, 1, 29, 30, 9, 7)
    crop("scene1", 5, 30, 20, 1, 16, 16)
    crop("scene1", 31, 0, 1, 32, 16, 16)
    crop("scene1", 10, 10, 1, 1, 5, 4)
    crop("scene2", 7, 2, 11, 23, 17, 17)
    crop("fashion", 2, 3, 19, 22, 28, 28)
    crop("fashion", 1, 0, 27, 25, 12, 13)
    crop("fashion", 2, 3, 19, 22, 28, 28, mode="RGB")
    crop("scene2", 2, 3, 19, 22, 28, 28, mode="L")
    crop("synthetic", 0, 0, 47, 61, 32, 32)
    crop("synthetic", 5, 8, 40, 51, 48, 20)
    crop("synthetic", 1, 2, 45, 57, 3, 2)
    crop("synthetic", 20, 20, 16, 21, 64, 64)

    # Evaluation.
    for image, *a in (
        ("synthetic", 32, 32, 32),
        ("synthetic", 36, 32, 32),
        ("synthetic", 47, 40, 40),
        ("synthetic", 50, 50, 31),
        ("synthetic", 64, 33, 64),
        ("scene0", 32, 32, 32),
        ("scene0", 36, 33, 31),
        ("upright", 32, 32, 32),
        ("upright", 35, 35, 24),
        ("fashion", 32, 32, 32),
    ):
        r.case("evaluation", image, ("resize_center", *a))

    # Colour, one operation at a time.
    r.case("flip", "scene1", ("hflip",))
    r.case("flip", "synthetic", ("hflip",))
    for op, factors in (
        ("brightness", (0, 0.6, 0.9137, 1, 1.4, 3)),
        ("contrast", (0, 0.6, 1, 1.2345, 1.4)),
        ("saturation", (0, 0.6, 1, 1.0519, 1.4)),
        ("hue", (-0.5, -0.1, -0.0123, 0, 0.003, 0.0777, 0.1, 0.5)),
    ):
        for i, f in enumerate(factors):
            r.case(op, ("scene0", "scene1", "scene2")[i % 3], (op, f))
        r.case(op, "fashion", (op, 0.3))
        r.case(op, "synthetic", (op, 0.45))
    r.case("gray", "scene0", ("gray",))
    r.case("gray", "fashion", ("gray",))

    # Jitter in several orders, then grey; on grey images kept so or made RGB.
    jitter = [("brightness", 0.7311), ("contrast", 1.3057), ("saturation", 0.6421), ("hue", -0.0831)]
    for i, order in enumerate(((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1))):
        steps = [jitter[k] for k in order]
        r.case("jitter", f"scene{i % 3}", *steps)
    r.case("jitter", "fashion", *jitter)
    r.case("jitter", "fashion", *jitter, mode="RGB")
    r.case("jitter", "scene1", *jitter, ("gray",))
    r.case("jitter", "scene1", *jitter, mode="L")

    # All of it, to floats.
    rgb = (0.4914, 0.4822, 0.4465, 0.2023, 0.1994, 0.2010)
    one = (0.2860, 0.3530)
    r.case("normalize", "scene0", ("normalize", *rgb))
    r.case("full", "scene1", ("resized_crop", 4, 2, 21, 25, 32, 32), ("hflip",), *jitter[::-1], ("normalize", *rgb))
    r.case("full", "scene2", ("resized_crop", 0, 7, 30, 24, 32, 32), *jitter, ("gray",), ("normalize", *rgb))
    r.case("full", "fashion", ("resized_crop", 3, 2, 20, 24, 28, 28), ("hflip",), *jitter, ("gray",), ("normalize", *one))
    r.case("full", "fashion", ("resized_crop", 3, 2, 20, 24, 28, 28), ("hflip",), *jitter, ("normalize", *rgb), mode="RGB")
    r.case("full", "scene0", ("resized_crop", 3, 2, 20, 24, 28, 28), ("hflip",), *jitter, ("normalize", *one), mode="L")
    r.case("full", "synthetic", ("resize_center", 24, 24, 24), ("normalize", *rgb))

    doc = dict(
        versions=dict(
            torch=torch.__version__,
            torchvision=torchvision.__version__,
            Pillow=PIL.__version__,
            numpy=np.__version__,
        ),
        images=images,
        every_pixel=every_pixel(),
        blends=blends(),
        resizes=resize_digest,
        central_crops=central_crops(),
        cases=r.cases,
    )

    def dump(v):
        return json.dumps(v, separators=(", ", ": "))

    lines = []
    for key, value in doc.items():
        if isinstance(value, list):
            value = "[\n" + ",\n".join("  " + dump(v) for v in value) + "\n ]"
        else:
            value = dump(value)
        lines.append(f" {dump(key)}: {value}")
    (out / "cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    with open(out / "pixels.bin.gz", "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(bytes(r.blob))
    print(len(r.cases), "cases,", len(r.blob), "bytes")


main()
