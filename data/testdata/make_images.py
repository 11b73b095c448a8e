"""Makes images.tar.gz: small image files of all kinds, each beside what Pillow
makes of it.

    python make_images.py

Of NAME there is also NAME.raw: width and height as two bytes, then RGB. It is
ImageOps.exif_transpose(im).convert("RGB"), but for 16-bit grey, where it is the
high byte (Pillow would clip at 255). Needs Pillow and numpy.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

W, H = 21, 14
y, x = np.mgrid[0:H, 0:W]
rgb = np.stack([x * 12, y * 18, (x + y) * 7 % 256], -1).astype(np.uint8)
rgb[2:5, 3:9] = (250, 20, 30)
RGB = Image.fromarray(rgb)
alpha = ((x * 37 + y * 11) % 256).astype(np.uint8)
RGBA = Image.fromarray(np.dstack([rgb, alpha]))
L = RGB.convert("L")
P = RGB.quantize(17, dither=Image.Dither.NONE)
ONE = Image.fromarray((x * 7 + y * 5) % 3 == 0)
I16 = Image.fromarray((x * 3000 + y * 300).astype(np.uint16))
# Lossy codecs lose little of a smooth image, so that their decoders' rounding shows.
SMOOTH = Image.fromarray(np.stack([80 + 4 * x, 90 + 5 * y, 200 - 3 * x - 2 * y], -1).astype(np.uint8))

files = {}


def add(name, im, **how):
    b = io.BytesIO()
    im.save(b, **how)
    raw = b.getvalue()
    back = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
    if back.mode.startswith("I;16"):
        back = Image.fromarray((np.asarray(back) >> 8).astype(np.uint8))
    back = back.convert("RGB")
    files[name] = raw
    files[name + ".raw"] = bytes(back.size) + back.tobytes()


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e.tobytes()


for mode in ("RGB", "L", "CMYK"):
    add(f"{mode}.jpg", SMOOTH.convert(mode), format="JPEG", quality=95, subsampling=0)
add("progressive.jpg", SMOOTH, format="JPEG", quality=95, subsampling=0, progressive=True)
# Decoders must agree to the byte on baseline JPEGs, rough ones too.
ROUGH = Image.fromarray(np.random.default_rng(1).integers(0, 256, (37, 51, 3), dtype=np.uint8))
for subsampling in (0, 1, 2):
    for w, h in ((51, 37), (16, 16), (17, 33), (1, 1), (2, 3), (3, 2), (5, 5), (33, 8)):
        for quality in (30, 95):
            add(f"baseline-{subsampling}-{w}x{h}-{quality}.jpg", ROUGH.crop((0, 0, w, h)), format="JPEG", quality=quality, subsampling=subsampling)
add("baseline-grey.jpg", ROUGH.convert("L"), format="JPEG", quality=80)
add("baseline-restart.jpg", ROUGH, format="JPEG", quality=80, restart_marker_blocks=2)
add("baseline-best.jpg", ROUGH, format="JPEG", quality=100, optimize=True)
add("baseline-worst.jpg", ROUGH, format="JPEG", quality=1)
for o in range(1, 9):
    add(f"turned{o}.jpg", SMOOTH, format="JPEG", quality=95, subsampling=0, exif=exif(o))
add("turned6.png", RGB, format="PNG", exif=exif(6))
add("turned5.webp", RGB, format="WEBP", lossless=True, exif=exif(5))
add("turned7.tif", RGB, format="TIFF", exif=exif(7))
for name, im in (("RGB", RGB), ("RGBA", RGBA), ("L", L), ("LA", RGBA.convert("LA")), ("P", P), ("1", ONE), ("I16", I16)):
    add(f"{name}.png", im, format="PNG")
add("transparent.png", P, format="PNG", transparency=3)
add("P.gif", P, format="GIF")
add("transparent.gif", P, format="GIF", transparency=3)
add("animated.gif", P, format="GIF", save_all=True, append_images=[P.rotate(180), L])
for name, im in (("RGB", RGB), ("RGBA", RGBA), ("L", L), ("P", P)):
    add(f"{name}.bmp", im, format="BMP")
for name, im in (("RGB", RGB), ("RGBA", RGBA), ("L", L), ("P", P), ("1", ONE), ("I16", I16)):
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        add(f"{name}-{compression}.tif", im, format="TIFF", compression=compression)
for compression in ("group3", "group4"):  # white is zero, and black is
    for zero in (0, 1):
        add(f"1-{compression}-{zero}.tif", ONE, format="TIFF", compression=compression, tiffinfo={262: zero})
add("1-strips.tif", ONE, format="TIFF", compression="group4", tiffinfo={278: 4})
add("1-lsb.tif", ONE, format="TIFF", compression="group4", tiffinfo={266: 2})
add("RGB.webp", RGB, format="WEBP", lossless=True)
add("RGBA.webp", RGBA, format="WEBP", lossless=True, exact=True)
add("lossy.webp", RGB, format="WEBP", quality=90)
add("lossy-even.webp", RGB.resize((20, 16)), format="WEBP", quality=60)
add("lossy-alpha.webp", RGBA, format="WEBP", quality=90)
for name, first, how in (("RGB", RGB, {"lossless": True}), ("RGBA", RGBA, {"lossless": True, "exact": True}), ("lossy", RGB, {"quality": 90})):
    add(f"animated-{name}.webp", first, format="WEBP", save_all=True, append_images=[first.rotate(180), first.rotate(90)], **how)
# A first frame that is smaller than the whole, which is 25×18 then.
b = io.BytesIO()
RGB.save(b, format="WEBP", lossless=True, save_all=True, append_images=[RGB.rotate(180)])
raw = bytearray(b.getvalue())
raw[24:30] = bytes((24, 0, 0, 17, 0, 0))
at = raw.index(b"ANMF") + 8
raw[at] = 2
raw[at + 3] = 1
back = Image.open(io.BytesIO(raw)).convert("RGB")
files["animated-inset.webp"] = bytes(raw)
files["animated-inset.webp.raw"] = bytes(back.size) + back.tobytes()

# A frame that is smaller than its GIF: the frame's place and the screen's size are bytes.
b = io.BytesIO()
P.crop((0, 0, 7, 5)).save(b, format="GIF")
raw = bytearray(b.getvalue())
raw[6:10] = bytes((12, 0, 9, 0))
at = raw.index(b",\0\0\0\0\7\0\5\0")
raw[at + 1] = 3
raw[at + 3] = 2
back = Image.open(io.BytesIO(raw)).convert("RGB")
files["inset.gif"] = bytes(raw)
files["inset.gif.raw"] = bytes(back.size) + back.tobytes()

with tarfile.open(Path(__file__).with_name("images.tar.gz"), "w:gz", compresslevel=9) as t:
    for name, body in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(body)
        t.addfile(info, io.BytesIO(body))
print(len(files) // 2, "images")
