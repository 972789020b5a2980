#!/usr/bin/env python3
"""Golden cases of the brain half with other sizes, made by the reference on the spot, through our tests and tools.

    brain_twins.py BUILD REFERENCE [SEED...]

REFERENCE is the src folder of a checkout of MedARC-AI/MindEyeV2; what else is needed: mindeye2.py, and safetensors. Exits 77 when something is missing.
For each SEED (default 1 2) sizes are drawn, the reference's classes and functions make the inputs and outputs of the cases backbone, backbone_seq,
prior_network, prior_sample, losses, train_steps and train_steps_multi as config.json of tests/golden says, and unit_models, unit_diffusion and
unit_train run on them with ME2_GOLDENS. Then the tools take the cases as models and their inputs as stores. With some seeds a little more than the 1 %
of a tensor's weights that the cases allow is off by more than a millionth: AdamW makes a whole step of a gradient that is nothing but rounding.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

import mindeye2

if len(sys.argv) < 3 or not os.path.exists(os.path.join(sys.argv[2], "models.py")):
    print("skipped: brain_twins.py BUILD REFERENCE, REFERENCE being MindEyeV2/src")
    sys.exit(77)
build, reference = map(os.path.abspath, sys.argv[1:3])
try:
    import torch
    from safetensors.torch import save_file
    models = mindeye2.models(reference)
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)
F = torch.nn.functional
U = mindeye2.functions(reference)
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")


class Twins:
    def __init__(self, folder, seed):
        self.folder, self.sizes = folder, random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def between(self, low, high, step=1):
        return self.sizes.randrange(low, high + 1, step)

    def permutations(self, steps, n):
        return torch.stack([torch.randperm(n, generator=self.generator) for _ in range(steps)])

    def coins(self, *shape):
        return torch.rand(*shape, generator=self.generator) <= 0.5

    def shake(self, module):  # gains and biases that are not all ones and zeros
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.2 * self.normal(*parameter.shape))

    def save(self, case, changed, tensors, weights=None):
        config = json.load(open(os.path.join(GOLDEN, case, "config.json")))
        config.pop("backbone_state_dict_shapes", None)  # weights by formula: here they are all in the file
        config.update(changed)
        folder = os.path.join(self.folder, case)
        os.makedirs(folder)
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        for name, content in (("io", tensors), ("model", weights)):
            if content is not None:
                save_file({key: value.detach().clone().contiguous() for key, value in content.items()}, os.path.join(folder, name + ".safetensors"))

    def backbone(self):
        hidden, blocks, width, tokens = self.between(10, 70), self.between(1, 5), self.between(8, 60), self.between(2, 20)
        voxels = [self.between(5, 90), self.between(5, 90)]
        net = models.BrainNetwork(h=hidden, in_dim=hidden, seq_len=1, n_blocks=blocks, clip_size=width, out_dim=width * tokens).eval()
        ridge = mindeye2.ridges(voxels, hidden)
        self.shake(net)
        io = {f"in.voxels_subj{i}": self.normal(self.between(1, 4), 1, size) for i, size in enumerate(voxels)}
        self.images = self.between(2, 3)
        io["in.test_voxels"] = self.normal(self.images, 3, voxels[0])
        got = {}
        with torch.no_grad():
            io["out.latent"] = torch.cat([ridge.linears[i](io[f"in.voxels_subj{i}"]) for i in range(2)])
            io["out.backbone"], io["out.clip_voxels"], (io["out.blurry"], io["out.aux"]) = net(io["out.latent"])
            repeats = [net(ridge.linears[0](io["in.test_voxels"][:, [k]])) for k in range(3)]
            for i, name in enumerate(("backbone", "clip_voxels")):
                io["out.avg_" + name] = sum(out[i] for out in repeats) / 3
            io["out.avg_blurry"] = sum(out[2][0] for out in repeats) / 3
            for name in ("bnorm", "bupsampler.conv_in", "bupsampler.mid_block"):
                net.get_submodule(name).register_forward_hook(lambda module, inputs, out, name=name: got.__setitem__(name, out))
            net(io["out.latent"][:1])
        io.update({"out.row0." + name: value for name, value in got.items()})
        weights = {"ridge." + name: value for name, value in ridge.state_dict().items()} | {"backbone." + name: value for name, value in net.state_dict().items()}
        self.save("backbone", dict(input_sizes=voxels, h=hidden, in_dim=hidden, n_blocks=blocks, clip_size=width, clip_seq_dim=tokens, out_dim=width * tokens), io, weights)

    def backbone_seq(self):
        hidden, length, blocks, width, tokens = self.between(10, 40), self.between(2, 6), self.between(1, 5), self.between(8, 40), self.between(2, 9)
        net = models.BrainNetwork(h=hidden, in_dim=hidden, seq_len=length, n_blocks=blocks, clip_size=width, out_dim=width * tokens, blurry_recon=False).eval()
        self.shake(net)
        x, cotangent, got = self.normal(3, length, hidden).requires_grad_(), self.normal(3, tokens, width), {}
        net.mixer_blocks1[0].register_forward_hook(lambda module, inputs, out: got.__setitem__("mixer_blocks1_0", out))
        net.mixer_blocks2[0].register_forward_hook(lambda module, inputs, out: got.__setitem__("mixer_blocks2_0", out))
        net.backbone_linear.register_forward_hook(lambda module, inputs, out: got.__setitem__("mixed_flat", inputs[0]))
        out, clip, _ = net(x)
        (clip * cotangent).sum().backward()
        io = {"in.x": x, "in.cotangent": cotangent, "out.backbone": out, "out.clip_voxels": clip, "out.grad_x": x.grad}
        io.update({"out." + name: value for name, value in got.items()})
        self.save("backbone_seq", dict(h=hidden, in_dim=hidden, seq_len=length, n_blocks=blocks, clip_size=width, clip_seq_dim=tokens, out_dim=width * tokens), io, net.state_dict())

    def prior_sizes(self):
        return dict(width=self.between(12, 60, 2), depth=self.between(1, 3), dim_head=self.between(6, 40, 2), heads=self.between(1, 5), tokens=self.between(2, 20))

    def prior_network(self):
        size, rows = self.prior_sizes(), self.between(2, 5)
        net = mindeye2.diffusion_prior(models, **size).net.eval()
        self.shake(net)
        shape = (rows, size["tokens"], size["width"])
        image, brain, cotangent = self.normal(*shape).requires_grad_(), self.normal(*shape).requires_grad_(), self.normal(*shape)
        times, keep = torch.randint(0, 100, (rows,), generator=self.generator), [self.coins(rows), self.coins(rows)]
        transformer, got = net.causal_transformer, {}
        hooks = [module.register_forward_hook(lambda module, inputs, out, name=name: got.__setitem__(name, out)) for name, module in (
            ("final_norm", transformer.norm), ("layer0_attn", transformer.layers[0][0]), ("layer0_ff", transformer.layers[0][1]), ("rel_pos_bias", transformer.rel_pos_bias),
            ("time_embed", net.to_time_embeds), ("sinusoidal", net.to_time_embeds[0][0]))]
        hooks.append(transformer.register_forward_hook(lambda module, inputs, out: got.__setitem__("tokens", inputs[0])))
        pred = net(image, times, text_embed=brain)
        for hook in hooks:
            hook.remove()
        (pred * cotangent).sum().backward()
        io = {"in.image_embed": image, "in.text_embed": brain, "in.timesteps": times, "in.cotangent": cotangent, "in.brain_keep_mask": keep[0].to(torch.uint8),
              "in.image_keep_mask": keep[1].to(torch.uint8), "out.pred": pred, "out.grad_image_embed": image.grad, "out.grad_text_embed": brain.grad}
        io.update({"out.mid." + name: value for name, value in got.items()})
        with torch.no_grad():
            io["out.pred_null"] = net(image, times, text_embed=brain, brain_cond_drop_prob=1.0, image_cond_drop_prob=1.0)
            io["out.pred_brain_null"] = net(image, times, text_embed=brain, brain_cond_drop_prob=1.0)
            io["out.pred_image_null"] = net(image, times, text_embed=brain, image_cond_drop_prob=1.0)
            io["out.pred_cond_scale_3"] = net.forward_with_cond_scale(image, times, text_embed=brain, cond_scale=3.0)
            with kept(*keep):
                io["out.pred_masked"] = net(image, times, text_embed=brain)
            for layer in transformer.layers:
                layer[0].to_out[1].eps = 1e-3
            io["out.pred_eps_to_out_1e3"] = net(image, times, text_embed=brain)
        io["out.bucket_of_distance"] = transformer.rel_pos_bias._relative_position_bucket(2 - torch.arange(702), num_buckets=32, max_distance=128)
        self.save("prior_network", prior_config(size), io, net.state_dict())

    def prior_sample(self):
        size, rows, trained = self.prior_sizes(), self.between(2, 4), self.between(3, 6)
        prior = mindeye2.diffusion_prior(models, **size).eval()
        with torch.no_grad():
            for attention, feed_forward in prior.net.causal_transformer.layers:  # at full gain the chain of 100 steps is chaotic
                attention.to_out[1].g.mul_(0.3)
                feed_forward[-1].weight.mul_(0.3)
        shape = (size["tokens"], size["width"])
        brain = self.normal(rows, *shape)
        io = {"in.text_embed": brain, "in.ddim_noise": self.normal(19, rows, *shape), "in.ddpm_noise": self.normal(101, rows, *shape)}

        def sample(name, steps, scale, error):
            calls, forward, out = [], prior.net.forward, {}

            def record(x, t, **others):
                calls.append((x.clone(), forward(x, t, **others), int(t[0])))
                return calls[-1][1]
            prior.net.forward = record if scale == 1 else forward
            noise = io[f"in.{name[:4]}_noise"]
            with drawn(noise * (1 + error * self.normal(*noise.shape))), torch.no_grad():
                out[f"{name}_cond_scale_{scale}"] = prior.p_sample_loop(brain.shape, text_cond={"text_embed": brain}, cond_scale=float(scale), timesteps=steps)
            prior.net.forward = forward
            if scale == 1:
                out[f"{name}_x_before_call_1"], out[f"{name}_x_before_last_call"] = calls[1][0], calls[-1][0]
            if scale == 1 and steps:
                out["ddim20_x_start_0"], out["ddim20_times"] = calls[0][1], torch.tensor([call[2] for call in calls])
            return out

        tolerances = {name: 1e-4 for name in ("loss_drop", "loss_no_drop", "pred_drop", "pred_no_drop", "noisy")}
        for name, steps in (("ddim20", 20), ("ddpm100", None)):
            for scale in (1, 3):
                exact, off = sample(name, steps, scale, 0), sample(name, steps, scale, 1e-6)  # what an error of a millionth becomes
                io.update({"out." + key: value for key, value in exact.items()})
                tolerances.update({key: max(1e-4, 5 * float((off[key] - exact[key]).abs().max())) for key in exact})
        target, brain, noise = (self.normal(trained, *shape) for _ in range(3))
        times, uniform = torch.randint(0, 100, (trained,), generator=self.generator), torch.rand(2, trained, generator=self.generator)
        uniform[0, 0], uniform[1, 1] = 0.9, 0.9  # at least one of each is dropped
        io.update({"in.loss_image_embed": target, "in.loss_text_embed": brain, "in.loss_noise": noise, "in.loss_times": times, "in.loss_brain_uniform": uniform[0],
                   "in.loss_image_uniform": uniform[1], "out.noisy": prior.noise_scheduler.q_sample(x_start=target, t=times, noise=noise)})
        for name, keep in (("drop", uniform < 0.8), ("no_drop", uniform < 2)):
            with kept(*keep), torch.no_grad():
                io["out.loss_" + name], io["out.pred_" + name] = prior.p_losses(target, times, text_cond={"text_embed": brain}, noise=noise)
        self.tolerances = tolerances
        self.save("prior_sample", prior_config(size) | {"image_embed_dim": size["width"], "cond_drop_prob": 0.2, "tolerances": tolerances}, io, prior.state_dict())

    def losses(self):
        rows, width, patches, first = self.between(4, 12), self.between(8, 40), self.between(6, 20), self.between(1, 3)
        vectors = {name: F.normalize(self.normal(count, width), dim=-1) for name, count in (("preds", rows), ("targs", rows), ("student", patches), ("teacher", patches), ("teacher_aug", patches))}
        p, t, s, a, e = vectors.values()
        voxels, perm = self.normal(rows, 1, self.between(3, 12)), torch.randperm(rows, generator=self.generator)
        two = torch.cat([torch.randperm(count, generator=self.generator) for count in (first, rows - first)])
        betas, select = torch.rand(rows, generator=self.generator), self.coins(rows)
        io = {"in." + name: value for name, value in vectors.items()}
        io.update({"in.voxels": voxels, "in.perm": perm, "in.perm_two_subjects": two, "in.betas": betas, "in.select": select.to(torch.uint8)})
        io["out.mixco_voxels"], _, mixed, _ = U.mixco(voxels.clone(), perm=perm, betas=betas.clone(), select=select)
        io["out.mixco_betas"], io["out.mixco_clip_target"] = mixed, U.mixco_clip_target(t.clone(), perm, select, mixed)

        def record(name, loss, *arguments):
            arguments = [argument.clone().requires_grad_() for argument in arguments]
            io["out." + name] = loss(*arguments)
            io["out." + name].backward()
            io.update({f"out.{name}.grad{i}": argument.grad for i, argument in enumerate(arguments)})

        for temp in (0.125, 0.004, 0.0075, 0.006):
            record(f"soft_clip_loss_temp{temp}", lambda p, t: U.soft_clip_loss(p, t, temp=temp), p, t)
        for temp in (0.1, 0.006):
            record(f"mixco_nce_temp{temp}", lambda p, t: U.mixco_nce(p, t, temp=temp, perm=perm, betas=mixed, select=select), p, t)
        record("mixco_nce_unidirectional_temp0.1", lambda p, t: U.mixco_nce(p, t, temp=0.1, perm=perm, betas=mixed, select=select, bidirectional=False), p, t)
        record("mixco_nce_two_subjects_temp0.1", lambda p, t: U.mixco_nce(p, t, temp=0.1, perm=two, betas=mixed, select=select), p, t)
        record("mixco_nce_no_mix_temp0.1", lambda p, t: U.mixco_nce(p, t, temp=0.1), p, t)
        record("mixco_nce_no_mix_unidirectional_temp0.1", lambda p, t: U.mixco_nce(p, t, temp=0.1, bidirectional=False), p, t)
        for temp in (0.2, 0.125):
            record(f"soft_cont_loss_temp{temp}", lambda s, a, e: U.soft_cont_loss(s, a, e, temp=temp), s, a, e)
        scale, bias = torch.tensor(10.0).log(), torch.tensor(-5.0)
        record("soft_siglip_loss", U.soft_siglip_loss, p, t, scale, bias)
        record("mixco_hard_siglip_loss", lambda p, t, scale, bias: U.mixco_hard_siglip_loss(p, t, scale, bias, perm, mixed), p, t, scale, bias)
        record("mse", lambda v: F.mse_loss(v, torch.full_like(v, 0.3)), voxels.flatten(1))
        record("l1", lambda v: F.l1_loss(v, torch.full_like(v, 0.3)), voxels.flatten(1))
        for n in (101, 7):
            io[f"out.cosine_anneal_{n}"] = torch.tensor([float(value) for value in U.cosine_anneal(0.004, 0.0075, n)])
        io["out.batchwise_cosine_similarity"], io["out.batchwise_pearson"] = U.batchwise_cosine_similarity(p, t), U.batchwise_pearson_correlation(p, t)
        io["out.cosine_similarity_l0.5"] = U.cosine_similarity(p, t, l=0.5)
        for k in (1, 3):
            io[f"out.topk{k}"] = U.topk(io["out.batchwise_cosine_similarity"], torch.arange(rows), k=k)
        self.save("losses", dict(batch=rows, dim=width), io)

    def train_steps(self, case, subjects):
        voxels, rows, hidden, blocks = [self.between(8, 40) for _ in range(subjects)], self.between(3, 5), self.between(12, 40), self.between(1, 3)
        size, epochs, mixup = self.prior_sizes(), self.between(4, 7), 0.34
        tokens, width, batch = size["tokens"], size["width"], subjects * rows
        net = torch.nn.Module()
        net.ridge = mindeye2.ridges(voxels, hidden)
        net.backbone = models.BrainNetwork(h=hidden, in_dim=hidden, seq_len=1, n_blocks=blocks, clip_size=width, out_dim=width * tokens, drop=0.0)
        net.backbone.bdropout.p = 0.0
        net.diffusion_prior = mindeye2.diffusion_prior(models, **size, drop=0.0)
        start, parameters = {name: value.clone() for name, value in net.state_dict().items()}, dict(net.named_parameters())
        names = sorted(parameters)
        latents = self.normal(epochs, batch, 4, 28, 28)  # kept off what a fresh head makes: at 0 the slope of L1 turns on a rounding
        io = {"in.clip_target": self.normal(epochs, batch, tokens, width), "in.image_enc": latents + latents.sign(), "in.cnx_embeds": self.normal(batch, 49, 512),
              "in.cnx_aug_embeds": self.normal(batch, 49, 512), "in.prior_noise": self.normal(epochs, batch, tokens, width),
              "in.prior_times": torch.randint(0, 100, (epochs, batch), generator=self.generator)}
        for i, count in enumerate(voxels):
            io.update({f"in.voxels{i}": self.normal(epochs, rows, 1, count), f"in.perm{i}": self.permutations(epochs, rows),
                       f"in.betas{i}": torch.rand(epochs, rows, generator=self.generator), f"in.select{i}": self.coins(epochs, rows).to(torch.uint8)})
        groups = [{"params": list(net.ridge.parameters()), "weight_decay": 1e-2}]
        for part in (net.backbone, net.diffusion_prior):
            for decay, bias in ((1e-2, False), (0.0, True)):
                groups.append({"params": [value for name, value in part.named_parameters() if ("bias" in name) == bias], "weight_decay": decay})
        optimizer = torch.optim.AdamW(groups, lr=3e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=epochs, final_div_factor=1000, pct_start=2 / epochs)
        mixed_epochs = int(mixup * epochs)
        temperatures = U.cosine_anneal(0.004, 0.0075, epochs - mixed_epochs)
        curves = {}
        for step in range(epochs):  # one iteration each
            optimizer.zero_grad()
            latents, mixes = [], []
            for i in range(subjects):
                x = io[f"in.voxels{i}"][step].clone()
                if step < mixed_epochs:
                    x, *mix = U.mixco(x, perm=io[f"in.perm{i}"][step], betas=io[f"in.betas{i}"][step].clone(), select=io[f"in.select{i}"][step].bool())
                    mixes.append(mix)
                latents.append(net.ridge.linears[i](x))
            out, clip, (latent, aux) = net.backbone(torch.cat(latents))
            target = io["in.clip_target"][step]
            p, t = (F.normalize(x.flatten(1), dim=-1) for x in (clip, target))
            patches = [F.normalize(x.reshape(-1, x.shape[-1]), dim=-1) for x in (aux, io["in.cnx_embeds"], io["in.cnx_aug_embeds"])]
            values = {}
            values["loss_prior"], prediction = net.diffusion_prior.p_losses(target, io["in.prior_times"][step], text_cond={"text_embed": out}, noise=io["in.prior_noise"][step])
            values["temp"] = 0.006 if step < mixed_epochs else temperatures[step - mixed_epochs]
            values["loss_clip"] = U.mixco_nce(p, t, 0.006, *(torch.cat(parts) for parts in zip(*mixes))) if step < mixed_epochs else U.soft_clip_loss(p, t, values["temp"])
            values["loss_blurry"], values["loss_cont"] = F.l1_loss(latent, io["in.image_enc"][step]), U.soft_cont_loss(*patches, temp=0.2)
            values["loss"] = 30 * values["loss_prior"] + values["loss_clip"] + 0.5 * (values["loss_blurry"] + 0.1 * values["loss_cont"])
            values["loss"].backward()
            values["recon_cossim"], values["recon_mse"] = F.cosine_similarity(prediction, target).mean(), F.mse_loss(prediction, target)
            similar = U.batchwise_cosine_similarity(p, t)
            values["fwd_percent_correct"], values["bwd_percent_correct"] = (U.topk(s, torch.arange(batch), k=1) for s in (similar, similar.T))
            values["lr"], values["beta1"] = optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]
            for name, value in values.items():
                curves.setdefault(name, []).append(float(value))
            if step == 0:
                gradients = {name: parameters[name].grad for name in names}
                io["out.grad0_norm"] = torch.tensor([0.0 if gradient is None else float(gradient.norm()) for gradient in gradients.values()])
                io.update({"out.grad0_sample." + name: few(gradient, 512, 512) for name, gradient in gradients.items() if gradient is not None})
            optimizer.step()
            if step + 1 < epochs:
                schedule.step()
        io.update({"out." + name: torch.tensor(values) for name, values in curves.items()})
        for name in names:
            io[("out.final." if parameters[name].numel() <= 16384 else "out.final_sample.") + name] = few(parameters[name], 16384, 1024)
        io["out.delta_norm"] = torch.tensor([float((parameters[name].detach() - start[name]).norm()) for name in names])
        zero = [name for name in json.load(open(os.path.join(GOLDEN, case, "config.json")))["zero_gradient"] if "mixer" not in name]
        zero += [name for name in names if "mixer_blocks1." in name or ("mixer_blocks2." in name and name.endswith(".0.weight"))]
        self.save(case, dict(input_sizes=voxels, hidden_dim=hidden, n_blocks=blocks, clip_emb_dim=width, clip_seq_dim=tokens, prior_depth=size["depth"], prior_dim_head=size["dim_head"],
                             prior_heads=size["heads"], num_epochs=epochs, mixup_pct=mixup, batch=batch, subjects=subjects, num_iterations_per_epoch=1, pct_start=2 / epochs,
                             parameter_names_sorted=names, zero_gradient=zero), io, start)


def prior_config(size):
    return dict(dim=size["width"], depth=size["depth"], dim_head=size["dim_head"], heads=size["heads"], num_tokens=size["tokens"])


def few(tensor, whole, count):  # as the golden cases sample what is large
    flat = tensor.detach().flatten()
    return tensor if flat.numel() <= whole else flat[(torch.arange(count) * flat.numel()) // count]


class drawn:
    """torch.randn and torch.randn_like give the rows of `noise` one after the other, and all of them."""
    def __init__(self, noise):
        self.left = list(noise)

    def __enter__(self):
        self.were = torch.randn, torch.randn_like
        torch.randn = torch.randn_like = lambda *shape, **others: self.left.pop(0).clone()

    def __exit__(self, *failure):
        torch.randn, torch.randn_like = self.were
        assert failure[0] or not self.left, f"{len(self.left)} draws are left"


class kept:
    """The next keep masks of the prior network."""
    def __init__(self, *masks):
        self.left = list(masks)

    def __enter__(self):
        self.was, models.prob_mask_like = models.prob_mask_like, lambda *shape, **others: self.left.pop(0)

    def __exit__(self, *failure):
        models.prob_mask_like = self.was


def check(seed):
    with tempfile.TemporaryDirectory() as folder:
        twins = Twins(os.path.join(folder, "golden"), seed)
        for case in (twins.backbone, twins.backbone_seq, twins.prior_network, twins.prior_sample, twins.losses):
            case()
        twins.train_steps("train_steps", 1)
        twins.train_steps("train_steps_multi", twins.between(2, 4))
        environment = dict(os.environ, ME2_GOLDENS=twins.folder)
        for tests, which in (("unit_models", "Backbone*:PriorNetwork*:NoiseScheduler*:DiffusionPrior*"), ("unit_diffusion", "PriorSampler*"), ("unit_train", "Losses*:*TrainSteps*")):
            subprocess.run([os.path.join(build, "tests", tests), "--gtest_filter=" + which, "--gtest_brief=1"], env=environment, cwd=folder, check=True)

        def tool(*words):
            place = "tests" if "-test-" in words[0] else "bin"
            subprocess.run([os.path.join(build, place, words[0]), *words[1:], "-q"], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        def equal(store, array, tensor, tolerance):
            tool("me2-test-store", "equal", store, array, tensor, "--tolerance", tolerance)

        model = os.path.join(twins.folder, "backbone")
        io = model + "/io.safetensors:"
        stimuli = ",".join(str(i) for i in range(twins.images) for _ in range(3))
        tool("me2-test-store", "make", "betas.zarr", f"betas={io}in.test_voxels@flat", "--stimulus", stimuli)
        tool("me2-align", "apply", "betas.zarr", "latent.zarr", "--model", model, "--subject", "subj01")
        tool("me2-embed", "brain", "latent.zarr", "tokens.zarr", "--model", model)
        for array, tensor in (("tokens", "backbone"), ("clip", "clip_voxels"), ("lowlevel", "blurry")):
            equal("tokens.zarr", array, f"{io}out.avg_{tensor}", "3e-5")
        model = os.path.join(twins.folder, "prior_sample")
        io = model + "/io.safetensors:"
        tool("me2-test-store", "make", "condition.zarr", f"tokens={io}in.text_embed")
        for name, steps in (("ddim", "20"), ("ddpm", "100")):
            tool("me2-test-store", "make", f"{name}.zarr", f"noise={io}in.{name}_noise")
            for scale in ("1", "3"):
                store, out = f"{name}-{scale}.zarr", f"{name}{steps}_cond_scale_{scale}"
                tool("me2-prior", "sample", "condition.zarr", store, "--model", model, "--steps", steps, "--guidance", scale, "--noise", f"{name}.zarr")
                equal(store, "clip_tokens", f"{io}out.{out}", str(twins.tolerances[out]))
    print(f"seed {seed}: tests and tools agree with the reference; tolerance of samples {max(twins.tolerances.values()):.1e} at most")


for seed in [int(word) for word in sys.argv[3:]] or [1, 2]:
    check(seed)
