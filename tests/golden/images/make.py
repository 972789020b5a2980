"""Writes the image fixtures of this folder and what Pillow makes of them.

    python tests/golden/images/make.py [PHOTO_FOLDER]

expected.json holds, per file, the shape and two checksums of np.asarray(ImageOps.exif_transpose(Image.open(f)).convert("RGB")) as planes
[3, H, W]: sum of bytes, and sum of byte * (position + 1) modulo 2^64. With PHOTO_FOLDER the photographs there are added under "photos".
`resized` holds the same after Image.resize. Made with Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp 1.6.0).
"""
import json, os, struct, sys, zlib
import numpy as np
from PIL import Image, ImageOps

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(5)
H, W = 17, 24
yy, xx = np.mgrid[0:H, 0:W]
rgb = np.stack([xx * 10 % 256, yy * 15 % 256, (xx * yy) % 256], -1).astype(np.uint8)
rgb = np.clip(rgb.astype(int) + rng.integers(-20, 20, rgb.shape), 0, 255).astype(np.uint8)
alpha = (xx * 11 % 256).astype(np.uint8)
im = Image.fromarray(rgb)


def png(name, width, height, depth, colour, rows, extra=b""):
    """A PNG by hand, for modes Pillow does not write."""
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    body = b"".join(b"\0" + r for r in rows)
    open(os.path.join(here, name), "wb").write(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) + extra + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b""))


def save(image, name, **kw):
    image.save(os.path.join(here, name), **kw)


save(im, "rgb.png")
save(im.convert("L"), "l.png")
save(im.convert("1"), "one_bit.png")
save(Image.merge("LA", (im.convert("L"), Image.fromarray(alpha))), "la.png")
save(Image.merge("RGBA", (*im.split(), Image.fromarray(alpha))), "rgba.png")
save(im.quantize(16), "palette4.png")
p = im.quantize(200)
save(p, "palette_transparent.png", transparency=bytes(range(200)))
save(im, "rgb_transparent.png", transparency=(10, 20, 30))
save(Image.fromarray((rng.integers(0, 65536, (H, W))).astype(np.uint16)), "gray16.png")
save(Image.fromarray((rng.integers(0, 400, (H, W))).astype(np.uint16)), "gray16_dark.png")
c16 = rng.integers(0, 65536, (H, W, 3)).astype(">u2")
png("rgb16.png", W, H, 16, 2, [c16[y].tobytes() for y in range(H)])
c16 = rng.integers(0, 65536, (H, W, 4)).astype(">u2")
png("rgba16.png", W, H, 16, 6, [c16[y].tobytes() for y in range(H)])
png("gray2.png", 24, H, 2, 0, [rng.integers(0, 256, 6).astype(np.uint8).tobytes() for _ in range(H)])
png("gray4.png", 24, H, 4, 0, [rng.integers(0, 256, 12).astype(np.uint8).tobytes() for _ in range(H)])
save(im, "baseline444.jpg", quality=90, subsampling=0)
save(im, "baseline420.jpg", quality=75, subsampling=2)
save(im, "progressive.jpg", quality=80, progressive=True)
save(im.convert("L"), "gray.jpg", quality=85)
save(im.convert("CMYK"), "cmyk.jpg", quality=90)
raw = bytearray(open(os.path.join(here, "cmyk.jpg"), "rb").read())
at = raw.find(b"Adobe")
if at > 0:  # the same inks without the Adobe marker: not inverted
    start = at - 4
    length = struct.unpack(">H", raw[start + 2:start + 4])[0]
    open(os.path.join(here, "cmyk_plain.jpg"), "wb").write(raw[:start] + raw[start + 2 + length:])
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    save(im, f"exif{o}.jpg", quality=85, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
save(im, "exif6.png", exif=exif)
save(im, "exif6.webp", lossless=True, exif=exif)
save(im, "lossless.webp", lossless=True)
save(im, "lossy.webp", quality=70)
save(Image.merge("RGBA", (*im.split(), Image.fromarray(alpha))), "alpha.webp", quality=70)


def sums(image):
    a = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)).ravel().astype(np.uint64)
    weight = np.arange(1, a.size + 1, dtype=np.uint64)
    return {"shape": [3, image.height, image.width], "sum": int(a.sum()), "weighted": int((a * weight).sum())}


def decode(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


out = {"files": {}, "resized": [], "photos": {}}
for name in sorted(os.listdir(here)):
    if name.endswith((".png", ".jpg", ".webp")):
        out["files"][name] = sums(decode(os.path.join(here, name)))
for (h, w) in [(8, 8), (40, 50), (17, 9), (5, 24), (224, 224)]:
    for f in ("BILINEAR", "BICUBIC", "LANCZOS"):
        out["resized"].append({"height": h, "width": w, "filter": f.lower(), **sums(im.resize((w, h), getattr(Image, f)))})
path = os.path.join(here, "expected.json")
if len(sys.argv) > 1:
    for folder, _, names in sorted(os.walk(sys.argv[1])):
        for name in sorted(names):
            if name.endswith((".png", ".jpg")):
                path_in = os.path.join(folder, name)
                out["photos"][os.path.relpath(path_in, sys.argv[1])] = sums(decode(path_in))
elif os.path.exists(path):
    out["photos"] = json.load(open(path))["photos"]
json.dump(out, open(path, "w"), indent=1)
