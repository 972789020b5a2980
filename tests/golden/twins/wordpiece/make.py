"""A tiny WordPiece vocabulary and sentences of our own with the ids and texts the `tokenizers` package (0.23.3) gives: python make.py"""
import json
import os

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

here = os.path.dirname(os.path.abspath(__file__))
specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
words = "a an the red blue green circle square star ring on in of to left right top under grass sky is are isn don not it dog cat run small big and two three".split()
pieces = ["##s", "##ing", "##er", "##n", "##d", "##t", "##e", "##i", "##a", "##o", "##1", "##2", "##b"]
letters = list("abcdefghijklmnopqrstuvwxyz0123456789") + list(".,!?'\"-()&$#%") + ["é", "ß", "日", "本", "щ", "ς", "σ", "…", "“", "”", "½", "ᄀ", "##ᅡ", "##ᆨ"]
vocab = list(dict.fromkeys(specials + words + pieces + letters))
with open(os.path.join(here, "vocab.txt"), "w", encoding="utf-8") as f:
    f.write("\n".join(vocab) + "\n")

t = Tokenizer(WordPiece({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=100))
t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
t.decoder = decoders.WordPiece(prefix="##", cleanup=True)
t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
t.add_special_tokens(specials)

sentences = [
    "", "a red circle on the grass.", "A Small BLUE Square, left of two STARS!", "it isn't the dog's ring", "running runner runs",
    "don't  run\tto\nthe\rtop", "Là-bas: un café", "caf\u0065\u0301", "STRASSE straße", "日本 日本a", "\u00a0the\u2003sky\u3000", "the\u0000 \u0007cat\ufffd",
    "ΣΑΣ σς", "İstanbul ıI", "щ Щ", "각 \uac01 \uac00", "1/2 ½ 12 21", "“two” … three", "[MASK] and [SEP]the", "[mask] [Sep]", "a" * 100, "a" * 101,
    "un\u200bder \u00adleft", "$5 & 100%", "\ue000a\U000e0001b", "\U0002b830\U0002a700x", "\u166da \u2e43b \ua9c1", "the ' cat ' and n't 've .", "\u2028a\u2029b\x85c",
    "e\u0328\u0301 \u1e69", "1\u20e3 2\ufe0f",
]


def clean(s):  # transformers' clean_up_tokenization, on the whole text
    for a, b in ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")):
        s = s.replace(a, b)
    return s


rows = [{"text": s, "ids": t.encode(s).ids, "decoded": clean(t.decode(t.encode(s).ids))} for s in sentences]
with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
    json.dump(rows, f, ensure_ascii=True, indent=0)
