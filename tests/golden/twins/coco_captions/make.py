#!/usr/bin/env python3
"""expected.json: BLEU-1..4, CIDEr and ROUGE-L of made-up captions by pycocoevalcap 1.2 (words are plain, so that its Java tokenizer is not needed).

Captions repeat words, are shorter and longer than their references, and lie as far from a shorter as from a longer reference.
"""
import json
import random

from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

rng = random.Random(5)
words = "a the dog cat man red blue on under holding table ball two".split()
sentence = lambda n: " ".join(rng.choice(words) for _ in range(n))
references = {i: [sentence(rng.randint(4, 9)) for _ in range(rng.randint(1, 4))] for i in range(12)}
captions = {i: (references[i][0] + " " + sentence(rng.randint(0, 3))).strip() if i % 3 else sentence(rng.randint(3, 9)) for i in range(12)}
references[12], captions[12] = ["a red ball", "a red ball on the table"], "a ball on table"  # 4 words: 3 is nearer than 6
references[13], captions[13] = ["a dog", "a dog on the table near"], "a dog on the"  # 4 words between 2 and 6: the shorter counts
references[14], captions[14] = ["the cat on a table"], "the cat the cat the cat on a table on a table"  # clipped, and much longer
each, total = [], BleuScorer(n=4)
for i in captions:
    one = BleuScorer(n=4)
    one += (captions[i], references[i])
    total += (captions[i], references[i])
    each.append(one.compute_score(option="closest", verbose=0)[0])
bleu = total.compute_score(option="closest", verbose=0)[0]
cider, cider_each = Cider().compute_score(references, {i: [c] for i, c in captions.items()})
rouge, rouge_each = Rouge().compute_score(references, {i: [c] for i, c in captions.items()})
json.dump({"captions": [captions[i] for i in captions], "references": [references[i] for i in captions], "bleu": bleu, "bleu_each": each, "cider": float(cider),
           "cider_each": [float(x) for x in cider_each], "rouge_l": float(rouge), "rouge_l_each": [float(x) for x in rouge_each]}, open("expected.json", "w"), indent=1)
