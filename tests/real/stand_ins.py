"""One rendered scene for each category of Haxby et al. 2001, whose own pictures are not at hand: PNG files named after the categories.
    stand_ins.py SCENES.zarr IMAGE.npy CATEGORY.npy COLOUR.npy FOLDER
Standard library only. Writes FOLDER/NAME.png, FOLDER.tsv (name, caption) and prints what stands for what."""
import json
import os
import struct
import sys
import zlib

STANDS_FOR = {"face": "face", "house": "house", "shoe": "box", "cat": "fish", "scissors": "star", "scrambledpix": "ball", "bottle": "cup", "chair": "tree"}


def npy(path):
    with open(path, "rb") as f:
        raw = f.read()
    size = struct.unpack_from("<H", raw, 8)[0]
    return eval(raw[10:10 + size], {"__builtins__": {}}), raw[10 + size:]  # a literal dict, written a moment ago by me2-preprocess


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


scenes, image, category, colour, folder = sys.argv[1:]
names = json.load(open(os.path.join(scenes, "zarr.json")))["attributes"]
header, pixels = npy(image)
_, _, height, width = header["shape"]
integers = [struct.unpack(f"<{len(b) // 2}h", b) for b in (npy(category)[1], npy(colour)[1])]
os.makedirs(folder, exist_ok=True)
lines, used = ["name\tcaption"], set()
for name, thing in STANDS_FOR.items():
    wanted = names["category_names"].index(thing)
    rows = [i for i, c in enumerate(integers[0]) if c == wanted]
    row = next((i for i in rows if integers[1][i] not in used), rows[0])  # colours differ too
    used.add(integers[1][row])
    size = 3 * height * width
    planes = pixels[row * size:(row + 1) * size]
    scan = bytearray()
    for y in range(height):
        scan.append(0)
        for x in range(width):
            scan += bytes(planes[c * height * width + y * width + x] for c in range(3))
    with open(os.path.join(folder, name + ".png"), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(bytes(scan))) + chunk(b"IEND", b""))
    lines.append(f"{name}.png\ta {names['colour_names'][integers[1][row]]} {thing} (stands for {name})")
    print(f"{name}: a {names['colour_names'][integers[1][row]]} {thing}")
open(folder + ".tsv", "w").write("\n".join(lines) + "\n")
