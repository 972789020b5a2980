# The main job on simulated subjects, one rule per stage: betas in; reconstructions, captions, scores and a report out.
#     make -f Makefile.pipeline demo
# Each stage's store is a file Make knows, so a second call does nothing, a touched input redoes what hangs on it, and an interrupted
# call goes on (--resume) where it stopped. TINY=folder takes other models, DEMO=folder writes elsewhere.
TINY ?= $(if $(wildcard pipelines/tiny/models),pipelines/tiny/models,$(TINY_OUT))
DEMO ?= out/demo
DEMO_SUBJECTS ?= 8
DEMO_SESSIONS ?= 8
DEMO_TRIALS ?= 750
DEMO_TEST ?= 300
DEMO_HIDDEN ?= 256
DEMO_PRETRAIN_EPOCHS ?= 30
DEMO_FINETUNE_EPOCHS ?= 40
DEMO_SEED ?= 42
demo_sim := $(DEMO)/simulated
demo_others := $(foreach n,$(shell seq 2 $(DEMO_SUBJECTS)),$(demo_sim)/subj0$(n).zarr)
demo_train := --hidden $(DEMO_HIDDEN) --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --no-lowlevel --batch-size 48 --seed $(DEMO_SEED) --resume --overwrite
again := --resume --overwrite

.PHONY: demo
demo: $(DEMO)/scores.json
	@echo
	@cat $(DEMO)/scores.txt
	@echo
	@echo "Reconstructions, captions and every stage between lie in $(DEMO) as Zarr stores."
	@echo "Your own data next: docs/your-own-subject.md"

$(demo_sim)/stimuli.zarr/zarr.json: | build
	@echo "demo 1/9: $(DEMO_SUBJECTS) simulated subjects"
	@mkdir -p $(DEMO)
	$(BIN)/me2-preprocess simulate $(demo_sim) --subjects $(DEMO_SUBJECTS) --sessions $(DEMO_SESSIONS) --trials-per-session $(DEMO_TRIALS) \
	  --test-images $(DEMO_TEST) --seed $(DEMO_SEED) $(again) > $(DEMO)/simulated.txt

$(DEMO)/targets.zarr/zarr.json: $(demo_sim)/stimuli.zarr/zarr.json $(TINY)/encoder/model.safetensors
	@echo "demo 2/9: image tokens of every stimulus, once"
	$(BIN)/me2-embed images $(demo_sim)/stimuli.zarr $(@D) --model $(TINY)/encoder $(again)

$(DEMO)/pretrained/model.safetensors: $(DEMO)/targets.zarr/zarr.json
	@echo "demo 3/9: pretraining on the other $(words $(demo_others)) subjects"
	$(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_others) --epochs $(DEMO_PRETRAIN_EPOCHS) $(demo_train)

$(DEMO)/finetuned/model.safetensors: $(DEMO)/pretrained/model.safetensors
	@echo "demo 4/9: fine-tuning subject 1 with one session"
	$(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_sim)/subj01.zarr --sessions 1 --pretrained $(DEMO)/pretrained --epochs $(DEMO_FINETUNE_EPOCHS) $(demo_train)

$(DEMO)/latent.zarr/zarr.json: $(DEMO)/finetuned/model.safetensors
	@echo "demo 5/9: betas -> latent -> tokens"
	$(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --model $(DEMO)/finetuned --subject subj01 --split test $(again)

$(DEMO)/tokens.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	$(BIN)/me2-embed brain $(DEMO)/latent.zarr $(@D) --model $(DEMO)/finetuned $(again)

$(DEMO)/prior.zarr/zarr.json: $(DEMO)/tokens.zarr/zarr.json
	@echo "demo 6/9: the diffusion prior"
	$(BIN)/me2-prior sample $(DEMO)/tokens.zarr $(@D) --model $(DEMO)/finetuned --steps 20 --guidance 1 --seed $(DEMO_SEED) $(again)

$(DEMO)/recon.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/unet/model.safetensors
	@echo "demo 7/9: tokens -> pictures"
	$(BIN)/me2-decode unclip $(DEMO)/prior.zarr $(@D) --model $(TINY)/unet --vae $(TINY)/vae --seed $(DEMO_SEED) $(again)

$(DEMO)/caption.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/git/model.safetensors
	@echo "demo 8/9: tokens -> words"
	$(BIN)/me2-caption generate $(DEMO)/prior.zarr $(@D) --model $(TINY)/git $(again)

$(DEMO)/scores.json: $(DEMO)/recon.zarr/zarr.json $(DEMO)/caption.zarr/zarr.json
	@echo "demo 9/9: scores"
	$(BIN)/me2-eval score $(DEMO)/recon.zarr --truth $(demo_sim)/stimuli.zarr --metrics pixcorr,ssim --allow-missing > $(DEMO)/scores.txt
	$(BIN)/me2-eval score $(DEMO)/recon.zarr --truth $(demo_sim)/stimuli.zarr --metrics pixcorr,ssim --allow-missing --json > $@.tmp && mv $@.tmp $@
