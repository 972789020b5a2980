#!/usr/bin/env python3
"""Makes expected.json beside this file: METEOR, ROUGE-1 and ROUGE-L of sentences of our own.

nltk (single_meteor_score, NLTKWordTokenizer, PorterStemmer in its default mode, WordNet 3.0 from Debian's wordnet-base) and
rouge_score 0.1.2. Sentences are split by an untrained Punkt. Set NLTK_DATA to a folder with corpora/wordnet (a link to the
dictionary files, with an empty lexnames where it is missing).
"""
import json
import os
import pathlib
import sys
import types

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.stem.porter import PorterStemmer
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktSentenceTokenizer
from nltk.translate.meteor_score import align_words, single_meteor_score
from rouge_score import rouge_scorer

here = pathlib.Path(__file__).parent
folder = os.environ.get("ME2_WORDNET", "/usr/share/wordnet")


class Words(WordNetCorpusReader):
    def __init__(self):
        self._lexnames = []
        super().__init__(nltk.data.FileSystemPathPointer(folder), types.SimpleNamespace(provenances={}, fileids=lambda *a, **k: []))

    def open(self, name):
        if name == "lexnames":
            import io
            return io.StringIO("".join(f"{i:02d}\tlex{i}\t1\n" for i in range(45)))
        return super().open(name)

    def provenances(self):
        return {}


def sets(words):
    texts = [("A brown dog runs across the wet beach.", "a dog is running on the sand."),
             ("Two women are sitting at a table; they're drinking coffee.", "two ladies sit at the table with coffee."),
             ("The boy's kite flies high, above 3,000 people!", "a child flying a kite over the crowd"),
             ("It cannot rain... can it?", "rain can not fall on it"),
             ("Buses and cars wait. A cyclist passes them.", "a bus waits. a cyclist passes by."),
             ("An \"exit\" sign (in red) over the door", "a red exit sign above a doorway"),
             ("children playing with toys in the hall", "kids play with a toy"),
             ("", "a horse"), ("a plate of pasta", ""),
             ("the the old man and the sea", "the man the sea the the")]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"])
    splitter, tokenizer = PunktSentenceTokenizer(), NLTKWordTokenizer()
    split = lambda t: [w for s in splitter.tokenize(t) for w in tokenizer.tokenize(s)]
    pairs = []
    for reference, hypothesis in texts:
        r, h = split(reference), split(hypothesis)
        score = single_meteor_score(r, h, wordnet=words) if r and h else 0.0
        rouge = {k: {"precision": v.precision, "recall": v.recall, "fmeasure": v.fmeasure} for k, v in scorer.score(reference, hypothesis).items()}
        pairs.append({"hypothesis": hypothesis, "reference": reference, "meteor": {"score": score, "ref_tokens": r, "hyp_tokens": h}, **rouge})
    mean = lambda f: sum(map(f, pairs)) / len(pairs)
    return {"own": {"pairs": pairs, "meteor_mean": mean(lambda p: p["meteor"]["score"]), "rouge1_plain_mean": mean(lambda p: p["rouge1"]["fmeasure"]),
                    "rougeL_plain_mean": mean(lambda p: p["rougeL"]["fmeasure"])}}


words = Words()
stemmer = PorterStemmer()
vocabulary = ("running flies dying skies sky agreed plastered motoring conflated troubled sized hopping tanned falling hissing fizzed failing filing happy "
              "enjoy relational conditional rationally valenci digitizer conformabli radically differently vilely analogously vietnamization predication "
              "operator feudalism decisiveness hopefulness callousness formaliti sensitiviti sensibiliti triplicate formative formalize electrical hopeful "
              "goodness revival allowance inference airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption communism "
              "activate angulariti homologous effective bowdlerize probate rate cease controll roll geologi cried tie ties died news proceed it a").split()
names = {w: sorted({lemma.name() for s in words.synsets(w) for lemma in s.lemmas() if "_" not in lemma.name()})
         for w in ["dog", "running", "children", "women", "better", "quickly", "car", "wolves", "saw", "men", "axes", "bigger", "sat", "zebra", "qwxz", "gases"]}
out = {"sets": sets(words), "porter_stem": {w: stemmer.stem(w) for w in vocabulary}, "wordnet_single_word_synonyms": names, "reference": f"nltk {nltk.__version__}, rouge_score 0.1.2, WordNet 3.0"}
(here / "expected.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
