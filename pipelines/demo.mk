# The main job on simulated subjects, one rule per stage: betas in; reconstructions, captions, scores and a report out.
#     make -f Makefile.pipeline demo
# Each stage's store is a file Make knows, so a second call does nothing, a touched input redoes what hangs on it, and an interrupted
# call goes on where it stopped. TINY=folder takes other models, DEMO=folder writes elsewhere.
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
demo_train := --hidden $(DEMO_HIDDEN) --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --no-lowlevel --batch-size 48 --seed $(DEMO_SEED)

.PHONY: demo
demo: $(DEMO)/report.html
	@echo
	@cat $(DEMO)/scores.txt $(DEMO)/retrieval.txt $(DEMO)/captions.txt
	@echo
	@echo "The report: $(DEMO)/report.html"
	@echo "Reconstructions, captions and every stage between lie in $(DEMO) as Zarr stores."
	@echo "Your own data next: docs/your-own-subject.md"

$(demo_sim)/stimuli.zarr/zarr.json: | build
	@echo "demo 1/9: $(DEMO_SUBJECTS) simulated subjects"
	@mkdir -p $(DEMO)
	pipelines/step.sh $(demo_sim) $(BIN)/me2-preprocess simulate $(demo_sim) --subjects $(DEMO_SUBJECTS) --sessions $(DEMO_SESSIONS) --trials-per-session $(DEMO_TRIALS) \
	  --test-images $(DEMO_TEST) --seed $(DEMO_SEED) > $(DEMO)/simulated.txt

$(DEMO)/targets.zarr/zarr.json: $(demo_sim)/stimuli.zarr/zarr.json $(TINY)/encoder/model.safetensors
	@echo "demo 2/9: image tokens of every stimulus, once"
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(demo_sim)/stimuli.zarr $(@D) --model $(TINY)/encoder

$(DEMO)/pretrained/model.safetensors: $(DEMO)/targets.zarr/zarr.json
	@echo "demo 3/9: pretraining on the other $(words $(demo_others)) subjects"
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) $(demo_others:%=--subjects %) --epochs $(DEMO_PRETRAIN_EPOCHS) $(demo_train)

$(DEMO)/finetuned/model.safetensors: $(DEMO)/pretrained/model.safetensors
	@echo "demo 4/9: fine-tuning subject 1 with one session"
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_sim)/subj01.zarr --sessions 1 --pretrained $(DEMO)/pretrained --epochs $(DEMO_FINETUNE_EPOCHS) $(demo_train)

$(DEMO)/latent.zarr/zarr.json: $(DEMO)/finetuned/model.safetensors
	@echo "demo 5/9: betas -> latent -> tokens"
	pipelines/step.sh $(@D) $(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --model $(DEMO)/finetuned --subject subj01 --split test

$(DEMO)/tokens.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(DEMO)/latent.zarr $(@D) --model $(DEMO)/finetuned

$(DEMO)/prior.zarr/zarr.json: $(DEMO)/tokens.zarr/zarr.json
	@echo "demo 6/9: the diffusion prior"
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(DEMO)/tokens.zarr $(@D) --model $(DEMO)/finetuned --steps 20 --guidance 1 --seed $(DEMO_SEED)

$(DEMO)/recon.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/unet/model.safetensors
	@echo "demo 7/9: tokens -> pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-decode unclip $(DEMO)/prior.zarr $(@D) --model $(TINY)/unet --vae $(TINY)/vae --seed $(DEMO_SEED)

$(DEMO)/caption.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/git/model.safetensors
	@echo "demo 8/9: tokens -> words"
	pipelines/step.sh $(@D) $(BIN)/me2-caption generate $(DEMO)/prior.zarr $(@D) --model $(TINY)/git

$(DEMO)/scores.json: $(DEMO)/recon.zarr/zarr.json
	@echo "demo 9/9: scores and report"
	$(BIN)/me2-eval score $(DEMO)/recon.zarr --truth $(demo_sim)/stimuli.zarr --metrics pixcorr,ssim --allow-missing --out $@ --per-image $(DEMO)/per-image.csv --overwrite > $(DEMO)/scores.txt

$(DEMO)/retrieval.json: $(DEMO)/tokens.zarr/zarr.json
	$(BIN)/me2-eval retrieval $(DEMO)/tokens.zarr --truth $(DEMO)/targets.zarr --truth-array clip_tokens --allow-missing --out $@ --overwrite > $(DEMO)/retrieval.txt

$(DEMO)/captions.json: $(DEMO)/caption.zarr/zarr.json
	$(BIN)/me2-eval score --captions $(DEMO)/caption.zarr --references $(demo_sim)/stimuli.zarr --allow-missing --out $@ --overwrite > $(DEMO)/captions.txt

$(DEMO)/report.html: $(DEMO)/scores.json $(DEMO)/retrieval.json $(DEMO)/captions.json
	$(BIN)/me2-eval report $@ --scores $(DEMO)/scores.json --scores $(DEMO)/retrieval.json --scores $(DEMO)/captions.json --per-image $(DEMO)/per-image.csv \
	  --truth $(demo_sim)/stimuli.zarr --recon $(DEMO)/recon.zarr --captions $(DEMO)/caption.zarr --references $(demo_sim)/stimuli.zarr \
	  --brain $(DEMO)/tokens.zarr --targets $(DEMO)/targets.zarr --title "Subject 1, one session, simulated" --overwrite
