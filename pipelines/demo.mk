# The main job on simulated subjects, one rule per stage: betas in; reconstructions, captions, scores and a report out.
#     make -f Makefile.pipeline demo
# Each stage's store is a file Make knows, so a second call does nothing, a touched input redoes what hangs on it, and an interrupted
# call goes on where it stopped. TINY=folder takes other models, DEMO=folder writes elsewhere. JOBS stages run at once, one thread each;
# pretraining, on which all else waits, has two.
TINY ?= $(if $(wildcard pipelines/tiny/models),pipelines/tiny/models,$(TINY_OUT))
DEMO ?= out/demo
DEMO_SUBJECTS ?= 8
DEMO_SESSIONS ?= 8
DEMO_TRIALS ?= 750
DEMO_TEST ?= 300
DEMO_HIDDEN ?= 256
DEMO_PRETRAIN_EPOCHS ?= 36
DEMO_FINETUNE_EPOCHS ?= 35
DEMO_SEED ?= 42
demo_sim := $(DEMO)/simulated
demo_others := $(foreach n,$(shell seq 2 $(DEMO_SUBJECTS)),$(demo_sim)/subj0$(n).zarr)
demo_betas := $(demo_sim)/subj01.zarr/zarr.json
demo_other_betas := $(demo_others:%=%/zarr.json)
demo_batch := $(shell echo $$((12 * ($(DEMO_SUBJECTS) - 1))))
demo_train := --hidden $(DEMO_HIDDEN) --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --evaluate-interval 0 --seed $(DEMO_SEED)
# The mean of eight quick draws is nearer to the truth than one slow draw.
demo_prior := --steps 4 --draws 8 --mean --guidance 1 --seed $(DEMO_SEED)
demo_decode := --vae $(TINY)/vae --seed $(DEMO_SEED)
demo_refine := --vae $(TINY)/vae --size 64 --negative "" --seed $(DEMO_SEED)

# Weights that are not there and that nothing makes are named before any work.
demo_missing := $(filter-out $(wildcard $(TINY)/*/model.safetensors),$(foreach part,encoder scorer unet vae git refiner,$(TINY)/$(part)/model.safetensors))
ifneq ($(filter demo demo_stages $(DEMO)/%,$(MAKECMDGOALS)),)
ifneq ($(abspath $(TINY)),$(abspath $(TINY_OUT)))
$(if $(demo_missing),$(error demo: missing weights: $(demo_missing); TINY=folder names a folder with all of them))
endif
endif

# The session's own ways to pictures, and the same by other ways, to be seen beside them. Each has a folder with its stores and scores.
#     refined, lowlevel, blended   of the one session's model: by the refiner with the caption; the low-level head's; 3/4 and 1/4 of both
#     scratch, sessions            models of their own: the session without pretraining; all sessions
#     ridge                        voxels to tokens in closed form
#     shuffled, mean               floors: the one session's model on another image's betas, on the mean of the training betas
#     true                         the images' own tokens: the ceiling of decoder and captioner
demo_models := scratch sessions
demo_floors := shuffled mean
demo_brains := $(demo_models) $(demo_floors)
demo_decoded := $(demo_models) ridge $(demo_floors) true
demo_made := refined lowlevel blended
demo_table := $(demo_made) $(demo_decoded)

.PHONY: demo demo_stages demo_anew
.DELETE_ON_ERROR:
demo: build
	@$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) -o build -j $(JOBS) demo_stages
	@echo
	@cat $(DEMO)/table.txt
	@echo
	@echo "The report: $(DEMO)/report.html"
	@echo "Reconstructions, captions and every stage between lie in $(DEMO) as Zarr stores; $(DEMO)/times.txt says what each took."
	@echo "Your own data next: docs/your-own-subject.md"

demo_stages: $(DEMO)/report.html
$(DEMO)/%: export OMP_NUM_THREADS := 1
$(DEMO)/%: export ME2_TIMES := $(DEMO)/times.txt

# One call makes them all: where one is gone they are made again.
$(demo_sim)/stimuli.zarr/zarr.json: $(if $(filter-out $(wildcard $(demo_sim)/*/zarr.json),$(demo_betas) $(demo_other_betas)),demo_anew) | build
	@echo "demo 1/9: $(DEMO_SUBJECTS) simulated subjects"
	@mkdir -p $(DEMO)
	pipelines/step.sh $(demo_sim) $(BIN)/me2-preprocess simulate $(demo_sim) --subjects $(DEMO_SUBJECTS) --sessions $(DEMO_SESSIONS) --trials-per-session $(DEMO_TRIALS) \
	  --test-images $(DEMO_TEST) --seed $(DEMO_SEED) > $(DEMO)/simulated.txt
$(demo_betas) $(demo_other_betas): | $(demo_sim)/stimuli.zarr/zarr.json ;

$(DEMO)/targets.zarr/zarr.json: $(demo_sim)/stimuli.zarr/zarr.json $(TINY)/encoder/model.safetensors $(TINY)/vae/model.safetensors
	@echo "demo 2/9: image tokens and low-level latents of every stimulus, once"
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(demo_sim)/stimuli.zarr $(@D) --model $(TINY)/encoder --vae $(TINY)/vae --lowlevel-size 64

# Two threads on two processors that nobody else wants: they may spin while they wait for each other. The number is in the results' last digits.
$(DEMO)/pretrained/model.safetensors: $(DEMO)/targets.zarr/zarr.json $(demo_other_betas)
	@echo "demo 3/9: pretraining on the other $(words $(demo_others)) subjects"
	env -u OMP_WAIT_POLICY \
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) $(demo_others:%=--subjects %) --epochs $(DEMO_PRETRAIN_EPOCHS) --batch-size $(demo_batch) $(demo_train) --threads 2

demo_subject = $(BIN)/me2-embed train $(DEMO)/targets.zarr $(@D) --subjects $(demo_sim)/subj01.zarr --batch-size 48 $(demo_train)
$(DEMO)/finetuned/model.safetensors: $(DEMO)/pretrained/model.safetensors $(demo_betas)
	@echo "demo 4/9: fine-tuning subject 1 with one session"
	pipelines/step.sh $(@D) $(demo_subject) --sessions 1 --pretrained $(DEMO)/pretrained --epochs $(DEMO_FINETUNE_EPOCHS)

$(DEMO)/scratch/model/model.safetensors: $(DEMO)/targets.zarr/zarr.json $(demo_betas) | $(DEMO)/pretrained/model.safetensors
	@echo "demo, beside 4/9: the same session without pretraining"
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(demo_subject) --sessions 1 --epochs $(DEMO_FINETUNE_EPOCHS)

$(DEMO)/sessions/model/model.safetensors: $(DEMO)/pretrained/model.safetensors $(demo_betas)
	@echo "demo, beside 4/9: fine-tuning subject 1 with all $(DEMO_SESSIONS) sessions"
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(demo_subject) --pretrained $(DEMO)/pretrained --epochs $(shell expr \( $(DEMO_FINETUNE_EPOCHS) + 3 \) / 4)  # of many more trials

$(DEMO)/ridge/model/model.safetensors: $(DEMO)/targets.zarr/zarr.json $(demo_betas) | $(DEMO)/pretrained/model.safetensors
	@echo "demo, beside 4/9: a closed-form ridge from voxels to tokens"
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(BIN)/me2-align fit $(demo_sim)/subj01.zarr $(@D) --to tokens --from-tokens $(DEMO)/targets.zarr --sessions 1

demo_align = $(BIN)/me2-align apply $(demo_sim)/subj01.zarr $(@D) --subject subj01 --split test
$(DEMO)/latent.zarr/zarr.json: $(DEMO)/finetuned/model.safetensors
	@echo "demo 5/9: betas -> latent -> tokens"
	pipelines/step.sh $(@D) $(demo_align) --model $(DEMO)/finetuned
$(demo_models:%=$(DEMO)/%/latent.zarr/zarr.json): $(DEMO)/%/latent.zarr/zarr.json: $(DEMO)/%/model/model.safetensors
	pipelines/step.sh $(@D) $(demo_align) --model $(DEMO)/$*/model
$(demo_floors:%=$(DEMO)/%/latent.zarr/zarr.json): $(DEMO)/%/latent.zarr/zarr.json: $(DEMO)/finetuned/model.safetensors
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(demo_align) --model $(DEMO)/finetuned --brain $*

$(DEMO)/tokens.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(DEMO)/latent.zarr $(@D) --model $(DEMO)/finetuned
demo_model = $(DEMO)/$(if $(filter $*,$(demo_models)),$*/model,finetuned)
$(demo_brains:%=$(DEMO)/%/tokens.zarr/zarr.json): $(DEMO)/%/tokens.zarr/zarr.json: $(DEMO)/%/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(DEMO)/$*/latent.zarr $(@D) --model $(demo_model)

$(DEMO)/prior.zarr/zarr.json: $(DEMO)/tokens.zarr/zarr.json
	@echo "demo 6/9: the diffusion prior"
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(DEMO)/tokens.zarr $(@D) --model $(DEMO)/finetuned $(demo_prior)
$(demo_brains:%=$(DEMO)/%/prior.zarr/zarr.json): $(DEMO)/%/prior.zarr/zarr.json: $(DEMO)/%/tokens.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(DEMO)/$*/tokens.zarr $(@D) --model $(demo_model) $(demo_prior)
$(DEMO)/ridge/prior.zarr/zarr.json: $(DEMO)/ridge/model/model.safetensors
	pipelines/step.sh $(@D) $(demo_align) --model $(DEMO)/ridge/model --average repeats
$(DEMO)/true/prior.zarr/zarr.json: $(DEMO)/latent.zarr/zarr.json
	@mkdir -p $(dir $(@D))
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(demo_sim)/stimuli.zarr $(@D) --model $(TINY)/encoder --only $(DEMO)/latent.zarr

$(DEMO)/recon.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/unet/model.safetensors $(TINY)/vae/model.safetensors
	@echo "demo 7/9: tokens -> pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-decode unclip $(DEMO)/prior.zarr $(@D) --model $(TINY)/unet $(demo_decode)
$(demo_decoded:%=$(DEMO)/%/recon.zarr/zarr.json): $(DEMO)/%/recon.zarr/zarr.json: $(DEMO)/%/prior.zarr/zarr.json $(TINY)/unet/model.safetensors $(TINY)/vae/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-decode unclip $(DEMO)/$*/prior.zarr $(@D) --model $(TINY)/unet $(demo_decode)

$(DEMO)/caption.zarr/zarr.json: $(DEMO)/prior.zarr/zarr.json $(TINY)/git/model.safetensors
	@echo "demo 8/9: tokens -> words, and words -> finer pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-caption generate $(DEMO)/prior.zarr $(@D) --model $(TINY)/git
$(demo_decoded:%=$(DEMO)/%/caption.zarr/zarr.json): $(DEMO)/%/caption.zarr/zarr.json: $(DEMO)/%/prior.zarr/zarr.json $(TINY)/git/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-caption generate $(DEMO)/$*/prior.zarr $(@D) --model $(TINY)/git

$(DEMO)/refined.zarr/zarr.json: $(DEMO)/recon.zarr/zarr.json $(DEMO)/caption.zarr/zarr.json $(TINY)/refiner/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-decode refine $(DEMO)/recon.zarr $(DEMO)/caption.zarr $(@D) --model $(TINY)/refiner $(demo_refine)
$(DEMO)/lowlevel.zarr/zarr.json: $(DEMO)/tokens.zarr/zarr.json $(TINY)/vae/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-decode lowlevel $(DEMO)/tokens.zarr $(@D) --model $(TINY)/vae
$(DEMO)/blended.zarr/zarr.json: $(DEMO)/recon.zarr/zarr.json $(DEMO)/lowlevel.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-decode blend $(DEMO)/recon.zarr $(DEMO)/lowlevel.zarr $(@D)

# Tables take their names when they are whole: after kill -9 an empty one would look made.
demo_pictures := --truth $(demo_sim)/stimuli.zarr --scene-labels $(demo_sim)/stimuli.zarr --scorer $(TINY)/scorer \
  --metrics pixcorr,ssim,recon_category,recon_colour,tower_retrieval,tower_two_way --allow-missing --csv
demo_words := --references $(demo_sim)/stimuli.zarr --scene-labels $(demo_sim)/stimuli.zarr --allow-missing --csv
demo_found := --truth $(DEMO)/targets.zarr --truth-array clip_tokens --allow-missing --csv
# The report shows the reconstructions beside the refined ones, floors and ceiling.
demo_beside = $(foreach way,scratch shuffled mean true,$(DEMO)/$(way)/recon.zarr)
$(DEMO)/scores.csv: $(DEMO)/recon.zarr/zarr.json $(DEMO)/refined.zarr/zarr.json $(demo_beside:%=%/zarr.json) $(TINY)/scorer/model.safetensors
	@echo "demo 9/9: scores and report"
	$(BIN)/me2-eval score $(DEMO)/recon.zarr $(demo_pictures) --baseline refined=$(DEMO)/refined.zarr --baseline scratch=$(DEMO)/scratch/recon.zarr \
	  --baseline shuffled_betas=$(DEMO)/shuffled/recon.zarr --baseline mean_betas=$(DEMO)/mean/recon.zarr --baseline true_tokens=$(DEMO)/true/recon.zarr \
	  --out $(DEMO)/scores.json --per-image $(DEMO)/per-image.csv --overwrite > $@.partial && mv $@.partial $@
$(DEMO)/retrieval.csv: $(DEMO)/tokens.zarr/zarr.json
	$(BIN)/me2-eval retrieval $(DEMO)/tokens.zarr $(demo_found) --out $(DEMO)/retrieval.json --overwrite > $@.partial && mv $@.partial $@
$(DEMO)/captions.csv: $(DEMO)/caption.zarr/zarr.json
	$(BIN)/me2-eval score --captions $(DEMO)/caption.zarr $(demo_words) --out $(DEMO)/captions.json --overwrite > $@.partial && mv $@.partial $@

$(demo_made:%=$(DEMO)/%/scores.csv): $(DEMO)/%/scores.csv: $(DEMO)/%.zarr/zarr.json $(TINY)/scorer/model.safetensors
	@mkdir -p $(@D)
	@$(BIN)/me2-eval score $(DEMO)/$*.zarr $(demo_pictures) --out $(@D)/scores.json --overwrite -q > $@.partial && mv $@.partial $@
$(demo_decoded:%=$(DEMO)/%/scores.csv): $(DEMO)/%/scores.csv: $(DEMO)/%/recon.zarr/zarr.json $(TINY)/scorer/model.safetensors
	@$(BIN)/me2-eval score $(DEMO)/$*/recon.zarr $(demo_pictures) --out $(@D)/scores.json --overwrite -q > $@.partial && mv $@.partial $@
$(demo_decoded:%=$(DEMO)/%/captions.csv): $(DEMO)/%/captions.csv: $(DEMO)/%/caption.zarr/zarr.json
	@$(BIN)/me2-eval score --captions $(DEMO)/$*/caption.zarr $(demo_words) --out $(@D)/captions.json --overwrite -q > $@.partial && mv $@.partial $@
$(demo_brains:%=$(DEMO)/%/retrieval.csv): $(DEMO)/%/retrieval.csv: $(DEMO)/%/tokens.zarr/zarr.json
	@$(BIN)/me2-eval retrieval $(DEMO)/$*/tokens.zarr $(demo_found) --out $(@D)/retrieval.json --overwrite -q > $@.partial && mv $@.partial $@
$(DEMO)/ridge/retrieval.csv: $(DEMO)/ridge/prior.zarr/zarr.json
	@$(BIN)/me2-eval retrieval $(DEMO)/ridge/prior.zarr $(demo_found) --out $(@D)/retrieval.json --overwrite -q > $@.partial && mv $@.partial $@

# One column a way, one row a score; then what the demo is held to.
$(DEMO)/table.txt: $(DEMO)/scores.csv $(DEMO)/retrieval.csv $(DEMO)/captions.csv $(demo_table:%=$(DEMO)/%/scores.csv) $(demo_decoded:%=$(DEMO)/%/captions.csv) \
    $(demo_brains:%=$(DEMO)/%/retrieval.csv) $(DEMO)/ridge/retrieval.csv
	@{ pipelines/table.sh $(DEMO) $(demo_table) && echo && pipelines/bars.sh $(DEMO); } > $@.partial && mv $@.partial $@

$(DEMO)/report.html: $(DEMO)/table.txt
	$(BIN)/me2-eval report $@ --scores $(DEMO)/scores.json --scores $(DEMO)/retrieval.json --scores $(DEMO)/captions.json --per-image $(DEMO)/per-image.csv \
	  --truth $(demo_sim)/stimuli.zarr --recon $(DEMO)/recon.zarr --refined $(DEMO)/refined.zarr --lowlevel $(DEMO)/lowlevel.zarr --captions $(DEMO)/caption.zarr \
	  --references $(demo_sim)/stimuli.zarr --brain $(DEMO)/tokens.zarr --targets $(DEMO)/targets.zarr --title "Subject 1, one session, simulated" --overwrite
