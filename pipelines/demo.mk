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
DEMO_PRETRAIN_EPOCHS ?= 42
DEMO_FINETUNE_EPOCHS ?= 35
DEMO_TIMEPOINT ?= 8
DEMO_SEED ?= 42
demo_sim := $(DEMO)/simulated
demo_others := $(foreach n,$(shell seq 2 $(DEMO_SUBJECTS)),$(demo_sim)/subj0$(n).zarr)
demo_batch := $(shell echo $$((12 * ($(DEMO_SUBJECTS) - 1))))
demo_train := --hidden $(DEMO_HIDDEN) --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --no-lowlevel --evaluate-interval 0 --seed $(DEMO_SEED)

# Weights that are not there and that nothing makes are named before any work.
demo_missing := $(filter-out $(wildcard $(TINY)/*/model.safetensors),$(foreach part,encoder scorer unet vae git refiner,$(TINY)/$(part)/model.safetensors))
ifneq ($(filter demo $(DEMO)/%,$(MAKECMDGOALS)),)
ifneq ($(abspath $(TINY)),$(abspath $(TINY_OUT)))
$(if $(demo_missing),$(error demo: missing weights: $(demo_missing); TINY=folder names a folder with all of them))
endif
endif

.PHONY: demo
demo: $(DEMO)/report.html
	@echo
	@cat $(DEMO)/table.txt
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
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) $(demo_others:%=--subjects %) --epochs $(DEMO_PRETRAIN_EPOCHS) --batch-size $(demo_batch) $(demo_train)

$(DEMO)/finetuned/model.safetensors: $(DEMO)/pretrained/model.safetensors
	@echo "demo 4/9: fine-tuning subject 1 with one session"
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_sim)/subj01.zarr --sessions 1 --pretrained $(DEMO)/pretrained --epochs $(DEMO_FINETUNE_EPOCHS) --batch-size 48 $(demo_train)

$(DEMO)/latent.zarr/zarr.json: $(DEMO)/finetuned/model.safetensors
	@echo "demo 5/9: betas -> latent -> tokens"
	pipelines/step.sh $(@D) $(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --model $(DEMO)/finetuned --subject subj01 --split test

$(DEMO)/tokens.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(DEMO)/latent.zarr $(@D) --model $(DEMO)/finetuned

$(DEMO)/prior.zarr/zarr.json: $(DEMO)/tokens.zarr/zarr.json
	@echo "demo 6/9: the diffusion prior"
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(DEMO)/tokens.zarr $(@D) --model $(DEMO)/finetuned --steps 20 --guidance 1 --seed $(DEMO_SEED)

$(DEMO)/recon.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/unet/model.safetensors $(TINY)/vae/model.safetensors
	@echo "demo 7/9: tokens -> pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-decode unclip $(DEMO)/prior.zarr $(@D) --model $(TINY)/unet --vae $(TINY)/vae --seed $(DEMO_SEED)

$(DEMO)/caption.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/git/model.safetensors
	@echo "demo 8/9: tokens -> words"
	pipelines/step.sh $(@D) $(BIN)/me2-caption generate $(DEMO)/prior.zarr $(@D) --model $(TINY)/git

$(DEMO)/refined.zarr/zarr.json: $(DEMO)/recon.zarr/zarr.json $(DEMO)/caption.zarr/zarr.json $(TINY)/refiner/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-decode refine $(DEMO)/recon.zarr $(DEMO)/caption.zarr $(@D) --model $(TINY)/refiner --vae $(TINY)/vae --size 64 --negative "" --guidance 2 --timepoint $(DEMO_TIMEPOINT) --seed $(DEMO_SEED)

# The same betas or tokens by other ways, to be seen beside the model: each a folder of the stores that lead to its pictures and captions.
#     scratch: the session alone, without pretraining; sessions: all of them; ridge: voxels to tokens in closed form; true: the images' own tokens
demo_models := scratch sessions
demo_baselines := $(demo_models) ridge true
$(DEMO)/scratch/model/model.safetensors: demo_start := --sessions 1 --epochs $(DEMO_FINETUNE_EPOCHS)
$(DEMO)/sessions/model/model.safetensors: demo_start := --pretrained $(DEMO)/pretrained --epochs $(shell expr \( $(DEMO_FINETUNE_EPOCHS) + 3 \) / 4)  # of many more trials
$(demo_models:%=$(DEMO)/%/model/model.safetensors): $(DEMO)/pretrained/model.safetensors
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_sim)/subj01.zarr $(demo_start) --batch-size 48 $(demo_train)

$(DEMO)/ridge/model/model.safetensors: $(DEMO)/targets.zarr/zarr.json
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(BIN)/me2-align fit $(demo_sim)/subj01.zarr $(@D) --to tokens --from-tokens $(DEMO)/targets.zarr --sessions 1

$(DEMO)/true/prior.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(demo_sim)/stimuli.zarr $(@D) --model $(TINY)/encoder --only $(DEMO)/latent.zarr

$(DEMO)/ridge/prior.zarr/zarr.json: $(DEMO)/ridge/model/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --model $(DEMO)/ridge/model --subject subj01 --split test --average repeats

$(demo_models:%=$(DEMO)/%/latent.zarr/zarr.json): $(DEMO)/%/latent.zarr/zarr.json: $(DEMO)/%/model/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --model $(DEMO)/$*/model --subject subj01 --split test
$(demo_models:%=$(DEMO)/%/tokens.zarr/zarr.json): $(DEMO)/%/tokens.zarr/zarr.json: $(DEMO)/%/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(DEMO)/$*/latent.zarr $(@D) --model $(DEMO)/$*/model
$(demo_models:%=$(DEMO)/%/prior.zarr/zarr.json): $(DEMO)/%/prior.zarr/zarr.json: $(DEMO)/%/tokens.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(DEMO)/$*/tokens.zarr $(@D) --model $(DEMO)/$*/model --steps 20 --guidance 1 --seed $(DEMO_SEED)
$(demo_baselines:%=$(DEMO)/%/recon.zarr/zarr.json): $(DEMO)/%/recon.zarr/zarr.json: $(DEMO)/%/prior.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-decode unclip $(DEMO)/$*/prior.zarr $(@D) --model $(TINY)/unet --vae $(TINY)/vae --seed $(DEMO_SEED)
$(demo_baselines:%=$(DEMO)/%/caption.zarr/zarr.json): $(DEMO)/%/caption.zarr/zarr.json: $(DEMO)/%/prior.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-caption generate $(DEMO)/$*/prior.zarr $(@D) --model $(TINY)/git

demo_pictures := --truth $(demo_sim)/stimuli.zarr --scene-labels $(demo_sim)/stimuli.zarr --scorer $(TINY)/scorer \
  --metrics pixcorr,ssim,recon_category,recon_colour,tower_retrieval,tower_two_way --allow-missing --overwrite
demo_words := --references $(demo_sim)/stimuli.zarr --scene-labels $(demo_sim)/stimuli.zarr --allow-missing --overwrite
demo_found := --truth $(DEMO)/targets.zarr --truth-array clip_tokens --allow-missing --overwrite
$(DEMO)/scores.json: $(DEMO)/recon.zarr/zarr.json $(TINY)/scorer/model.safetensors
	@echo "demo 9/9: scores and report"
	$(BIN)/me2-eval score $(DEMO)/recon.zarr $(demo_pictures) --out $@ --per-image $(DEMO)/per-image.csv --csv > $(DEMO)/scores.csv

$(DEMO)/retrieval.json: $(DEMO)/tokens.zarr/zarr.json
	$(BIN)/me2-eval retrieval $(DEMO)/tokens.zarr $(demo_found) --out $@ --csv > $(DEMO)/retrieval.csv

$(DEMO)/captions.json: $(DEMO)/caption.zarr/zarr.json
	$(BIN)/me2-eval score --captions $(DEMO)/caption.zarr $(demo_words) --out $@ --csv > $(DEMO)/captions.csv

# One column a way, one row a score.
demo_ways := one-session refined $(demo_baselines) shuffled
$(DEMO)/table.txt: $(DEMO)/scores.json $(DEMO)/retrieval.json $(DEMO)/captions.json $(DEMO)/refined.zarr/zarr.json \
    $(demo_baselines:%=$(DEMO)/%/recon.zarr/zarr.json) $(demo_baselines:%=$(DEMO)/%/caption.zarr/zarr.json)
	@for b in $(demo_baselines); do \
	  $(BIN)/me2-eval score $(DEMO)/$$b/recon.zarr $(demo_pictures) --out $(DEMO)/$$b/scores.json -q --csv > $(DEMO)/$$b/scores.csv && \
	  $(BIN)/me2-eval score --captions $(DEMO)/$$b/caption.zarr $(demo_words) --out $(DEMO)/$$b/captions.json -q --csv > $(DEMO)/$$b/captions.csv || exit; done
	@for b in $(demo_models); do $(BIN)/me2-eval retrieval $(DEMO)/$$b/tokens.zarr $(demo_found) --out $(DEMO)/$$b/retrieval.json -q --csv > $(DEMO)/$$b/retrieval.csv || exit; done
	@mkdir -p $(DEMO)/refined
	@$(BIN)/me2-eval score $(DEMO)/refined.zarr $(demo_pictures) --out $(DEMO)/refined/scores.json -q --csv > $(DEMO)/refined/scores.csv
	@pipelines/table.sh $(DEMO) refined $(demo_baselines) > $@

$(DEMO)/report.html: $(DEMO)/scores.json $(DEMO)/retrieval.json $(DEMO)/captions.json $(DEMO)/refined.zarr/zarr.json $(DEMO)/table.txt
	$(BIN)/me2-eval report $@ --scores $(DEMO)/scores.json --scores $(DEMO)/retrieval.json --scores $(DEMO)/captions.json --per-image $(DEMO)/per-image.csv \
	  --truth $(demo_sim)/stimuli.zarr --recon $(DEMO)/recon.zarr --refined $(DEMO)/refined.zarr --captions $(DEMO)/caption.zarr --references $(demo_sim)/stimuli.zarr \
	  --brain $(DEMO)/tokens.zarr --targets $(DEMO)/targets.zarr --title "Subject 1, one session, simulated" --overwrite
