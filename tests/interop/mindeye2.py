"""MindEye2's own classes and functions, for checks beside the reference: models(SRC) and functions(SRC), SRC being the folder src of a checkout of
MedARC-AI/MindEyeV2. Needs torch, numpy, dalle2-pytorch (1.15.6) and diffusers (0.23); packages that the reference imports and no check uses are stood in for."""
import ast
import importlib
import math
import os
import sys
import types
import warnings

os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")


class StandIn(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def models(src):
    """The module models.py; ImportError when something it needs is missing."""
    for name in ("clip", "clip.simple_tokenizer", "utils", "vector_quantize_pytorch", "x_clip", "coca_pytorch", "kornia", "kornia.augmentation", "kornia.filters",
                 "embedding_reader", "webdataset", "resize_right"):
        sys.modules[name] = StandIn(name)
    sys.modules["transformers"] = None  # diffusers then does without
    import torch
    import dalle2_pytorch  # noqa: F401
    sys.modules["dalle2_pytorch.train_configs"] = StandIn("dalle2_pytorch.train_configs")
    import diffusers.models.vae  # noqa: F401
    torch.set_num_threads(1)
    sys.path.insert(0, src)
    return importlib.import_module("models")


def functions(src):
    """The losses and similarities of utils.py, without what that file imports beside."""
    import numpy
    import torch
    scope = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "np": numpy, "math": math}
    with open(os.path.join(src, "utils.py")) as file:
        text = file.read()
    names = {"soft_clip_loss", "soft_siglip_loss", "mixco_hard_siglip_loss", "mixco", "mixco_clip_target", "mixco_nce", "soft_cont_loss", "cosine_anneal",
             "batchwise_cosine_similarity", "batchwise_pearson_correlation", "cosine_similarity", "topk"}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            exec(ast.get_source_segment(text, node), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


def ridges(sizes, hidden):
    """One nn.Linear for each subject, under the names that the training notebook gives them."""
    import torch
    module = torch.nn.Module()
    module.linears = torch.nn.ModuleList([torch.nn.Linear(size, hidden) for size in sizes])
    return module


def diffusion_prior(models, width, depth, dim_head, heads, tokens, drop=0.2):
    net = models.PriorNetwork(dim=width, depth=depth, dim_head=dim_head, heads=heads, causal=False, num_tokens=tokens, learned_query_mode="pos_emb")
    return models.BrainDiffusionPrior(net=net, image_embed_dim=width, condition_on_text_encodings=False, timesteps=100, cond_drop_prob=drop, image_embed_scale=None)
