"""Byte-pair merges of our own and sentences with the ids the `tokenizers` package (0.23.3) gives after cleaning by ftfy (6.3.1),
and Python's html.unescape: python make.py"""
import html
import json
import os

import ftfy
import regex
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

here = os.path.dirname(os.path.abspath(__file__))
corpus = """a red circle on the grass. a small blue square to the left of two yellow stars. the dog isn't in the picture, it's on the hill.
three green rings and a large white triangle in front of the sea at night. there are no people here; we've seen them, they're gone. café naïve"""
# Merges learned the CLIP way: words end in </w>, bytes stand for themselves.
symbols = {}
nxt = 0x100
for b in range(256):
    if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE:
        symbols[b] = chr(b)
    else:
        symbols[b] = chr(nxt)
        nxt += 1
pattern = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
words = []
for w in pattern.findall(corpus.lower()):
    s = [symbols[b] for b in w.encode()]
    s[-1] += "</w>"
    words.append(s)
merges = []
while len(merges) < 120:
    count = {}
    for w in words:
        for pair in zip(w, w[1:]):
            count[pair] = count.get(pair, 0) + 1
    if not count:
        break
    best = min(count, key=lambda p: (-count[p], p))
    merges.append(best)
    for w in words:
        i = 0
        while i + 1 < len(w):
            if (w[i], w[i + 1]) == best:
                w[i:i + 2] = ["".join(best)]
            i += 1
with open(os.path.join(here, "merges.txt"), "w", encoding="utf-8") as f:
    f.write("#version: own\n" + "".join(f"{a} {b}\n" for a, b in merges))

base = [symbols[b] for b in range(256) if symbols[b] == chr(b)] + [symbols[b] for b in range(256) if symbols[b] != chr(b)]
vocab = base + [s + "</w>" for s in base] + ["".join(m) for m in merges]
start, end = len(vocab), len(vocab) + 1
table = {t: i for i, t in enumerate(vocab)}
bpe = Tokenizer(models.BPE(table, merges, end_of_word_suffix="</w>"))

sentences = [
    "", "a red circle on the grass.", "The DOG isn't here, they're GONE; we've seen it's", "  spaces\t and\nlines ", "123 4th 5", "café CAFÉ naïve",
    "“curly” ‘single’ … — –", "ﬁnd the ﬂag", "ＦＵＬＬ width　text", "cafÃ© and naÃ¯ve", "itâ€™s mojibake", "ok é and Ã© mixed 日本",
    "tom &amp; jerry &lt;3", "P&EACUTE;REZ &eacute; &#233; &#xE9; &nosuch;", "<b>&amp;</b>", "&copy 2020 &notit; &ampx", "x\u001b[31mred\u001b[0m", "a\x00b\x07c\ufeff",
    "line\r\nnext\rthird\u2028x", "e\u0301 a\u030a", "'s 'T 'lL", "日本語 テキスト", "Привет МИР", "½ ² Ⅷ ٣", "!!! ??? ...'s", "ΣΑΣ İ", "_under_score-dash",
    "<|endoftext|> the <|startoftext|>x", "\u0085 \u0093quoted\u0094", "ĳ Ǆ ŉ",
]
rows = []
for s in sentences:
    ids = [start]
    for k, part in enumerate(regex.split(r"(<\|startoftext\|>|<\|endoftext\|>)", s)):
        if k % 2:
            ids.append(start if "start" in part else end)
            continue
        clean = " ".join(ftfy.fix_text(part).split()).lower()
        for w in pattern.findall(clean):
            ids += [bpe.token_to_id(t.value) for t in bpe.model.tokenize("".join(symbols[b] for b in w.encode()))]
    ids = (ids + [end])[:40]
    ids[-1] = end
    rows.append({"text": s, "fixed": ftfy.fix_text(s), "unescaped": html.unescape(s), "ids": ids + [end] * (40 - len(ids))})
with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
    json.dump(rows, f, ensure_ascii=True, indent=0)
