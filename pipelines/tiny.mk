# The tiny models: the architectures of MindEye2 small enough for a laptop (64-pixel scenes), trained by our own tools on rendered
# scenes. `make -f Makefile.pipeline tiny` makes them anew in out/tiny (three hours of one core); those the demo uses lie in
# pipelines/tiny/models. docs/tiny.md has the sizes, the losses and what each part reaches.
TINY_OUT ?= out/tiny
TINY_SCENES ?= 30000
TINY_ENCODER_STEPS ?= 3000
TINY_SCORER_STEPS ?= 5000
TINY_VAE_STEPS ?= 3000
TINY_VAE_WHOLE_STEPS ?= 3500
TINY_VAE_FEATURES_STEPS ?= 900
TINY_UNET_STEPS ?= 6000
TINY_UNET_SECOND_STEPS ?= 8000
TINY_UNET_THIRD_STEPS ?= 7000
TINY_SUBJECT_IMAGES ?= 12000
TINY_SUBJECT_TRIALS ?= 750
TINY_SUBJECT_EPOCHS ?= 20
TINY_REFINER_STEPS ?= 5000
TINY_REFINER_SECOND_STEPS ?= 4000
TINY_REFINER_THIRD_STEPS ?= 6000
TINY_GIT_EPOCHS ?= 6
TINY_CONVERTER_EPOCHS ?= 8
TINY_CAPTIONER_EPOCHS ?= 3
TINY_SEED ?= 7
tiny_config := pipelines/tiny
tiny_parts := encoder vae unet git captioner/converter captioner/git scorer refiner
tiny_scenes := $(TINY_OUT)/scenes/stimuli.zarr
tiny_denoise := --warmup 100 --cosine --condition-drop 0.1 --offset-noise 0 --noise-levels lognormal --batch-size 32
tiny_first := --lr 1.5e-3 --average 0.999 --seed $(TINY_SEED)
tiny_vae := --part vae --cosine --stored f2

.PHONY: tiny
tiny: $(tiny_parts:%=$(TINY_OUT)/%/model.safetensors)
	@echo "tiny models: $(TINY_OUT)"

$(tiny_scenes)/zarr.json: | build
	@echo "tiny: rendering $(TINY_SCENES) scenes"
	@mkdir -p $(TINY_OUT)
	pipelines/step.sh $(TINY_OUT)/scenes $(BIN)/me2-preprocess simulate $(TINY_OUT)/scenes --scenes-only $(TINY_SCENES) --seed $(TINY_SEED)

$(TINY_OUT)/encoder/model.safetensors: $(tiny_scenes)/zarr.json $(tiny_config)/encoder.json
	@echo "tiny: image and text towers"
	pipelines/step.sh $(@D) $(BIN)/me2-embed encoder $(tiny_scenes) $(@D) --config $(tiny_config)/encoder.json --steps $(TINY_ENCODER_STEPS) --seed $(TINY_SEED) --stored f2

# Another seed and another shape than the encoder's, so that a score does not ask the network that made the picture.
$(TINY_OUT)/scorer/model.safetensors: $(tiny_scenes)/zarr.json $(tiny_config)/scorer.json
	@echo "tiny: the scoring towers"
	pipelines/step.sh $(@D) $(BIN)/me2-embed encoder $(tiny_scenes) $(@D) --config $(tiny_config)/scorer.json --steps $(TINY_SCORER_STEPS) --seed 1$(TINY_SEED) --stored f2

# Squares first, which are quick; then whole pictures; then the decoder alone, which leaves the latents what they are.
$(TINY_OUT)/vae-squares/model.safetensors: $(tiny_scenes)/zarr.json $(tiny_config)/vae.json
	@echo "tiny: the autoencoder on squares"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(tiny_scenes) $(@D) $(tiny_vae) --config $(tiny_config)/vae.json --steps $(TINY_VAE_STEPS) --lr 2e-3 --warmup 50 \
	  --average 0.99 --crop 32 --batch-size 16 --seed $(TINY_SEED)

$(TINY_OUT)/vae-whole/model.safetensors: $(TINY_OUT)/vae-squares/model.safetensors
	@echo "tiny: the autoencoder on whole pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(tiny_scenes) $(@D) $(tiny_vae) --model $(TINY_OUT)/vae-squares --steps $(TINY_VAE_WHOLE_STEPS) --lr 1.5e-3 --warmup 100 \
	  --average 0.995 --batch-size 8 --seed $(TINY_SEED)

$(TINY_OUT)/vae-decoder/model.safetensors: $(TINY_OUT)/vae-whole/model.safetensors
	@echo "tiny: the autoencoder's decoder"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(tiny_scenes) $(@D) $(tiny_vae) --model $(TINY_OUT)/vae-whole --freeze-encoder --steps $(TINY_VAE_STEPS) --lr 1e-3 --warmup 100 \
	  --average 0.995 --batch-size 8 --seed $(shell expr $(TINY_SEED) + 1)

# What pixels alone leave out, by the eyes of the image tower (not of the scoring one).
$(TINY_OUT)/vae/model.safetensors: $(TINY_OUT)/vae-decoder/model.safetensors $(TINY_OUT)/encoder/model.safetensors
	@echo "tiny: the autoencoder's decoder, as the image tower sees its pictures"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(tiny_scenes) $(@D) $(tiny_vae) --model $(TINY_OUT)/vae-decoder --freeze-encoder --features $(TINY_OUT)/encoder --feature-weight 1 \
	  --steps $(TINY_VAE_FEATURES_STEPS) --lr 3e-4 --warmup 30 --average 0.99 --batch-size 8 --seed $(shell expr $(TINY_SEED) + 2)

$(TINY_OUT)/targets.zarr/zarr.json: $(TINY_OUT)/encoder/model.safetensors
	@echo "tiny: tokens of every scene"
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(tiny_scenes) $(@D) --model $(TINY_OUT)/encoder

$(TINY_OUT)/git/model.safetensors: $(TINY_OUT)/targets.zarr/zarr.json
	@echo "tiny: the captioner"
	pipelines/step.sh $(@D) $(BIN)/me2-caption train $(TINY_OUT)/targets.zarr $(tiny_scenes) $(@D) --part git --epochs $(TINY_GIT_EPOCHS) --batch-size 64 --learning-rate 2e-3 --seed $(TINY_SEED) --stored f2

# The captioner as it is published: GIT reads the tokens of another tower (CLIP's ViT-L there), and a converter makes those from the encoder's.
$(TINY_OUT)/caption-tower/model.safetensors: $(tiny_scenes)/zarr.json $(tiny_config)/caption_tower.json
	@echo "tiny: the tower whose tokens the captioner reads"
	pipelines/step.sh $(@D) $(BIN)/me2-embed encoder $(tiny_scenes) $(@D) --config $(tiny_config)/caption_tower.json --steps $(TINY_ENCODER_STEPS) --seed 1$(TINY_SEED)

$(TINY_OUT)/caption-targets.zarr/zarr.json: $(TINY_OUT)/caption-tower/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(tiny_scenes) $(@D) --model $(TINY_OUT)/caption-tower

$(TINY_OUT)/captioner/converter/model.safetensors: $(TINY_OUT)/targets.zarr/zarr.json $(TINY_OUT)/caption-targets.zarr/zarr.json
	@echo "tiny: the converter between the towers' tokens"
	@mkdir -p $(TINY_OUT)/captioner
	pipelines/step.sh $(@D) $(BIN)/me2-caption train $(TINY_OUT)/targets.zarr $(TINY_OUT)/caption-targets.zarr $(@D) --part converter --epochs $(TINY_CONVERTER_EPOCHS) --batch-size 64 --learning-rate 5e-3 \
	  --seed $(TINY_SEED) --stored f2

$(TINY_OUT)/captioner/git/model.safetensors: $(TINY_OUT)/caption-targets.zarr/zarr.json
	@echo "tiny: the captioner on that tower's tokens"
	@mkdir -p $(TINY_OUT)/captioner
	pipelines/step.sh $(@D) $(BIN)/me2-caption train $(TINY_OUT)/caption-targets.zarr $(tiny_scenes) $(@D) --part git --epochs $(TINY_CAPTIONER_EPOCHS) --batch-size 64 --learning-rate 2e-3 --seed $(TINY_SEED) --stored f2

# First on true tokens; then on predicted ones as well, which is what it will be given: of the test images of a simulated subject in whom nothing else is
# measured (a population of its own seed, no scene of which the demo shows).
$(TINY_OUT)/unet-first/model.safetensors: $(TINY_OUT)/targets.zarr/zarr.json $(TINY_OUT)/vae-whole/model.safetensors $(tiny_config)/unet.json
	@echo "tiny: the unCLIP U-Net, on true tokens"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(tiny_scenes) $(@D) --tokens $(TINY_OUT)/targets.zarr --config $(tiny_config)/unet.json --vae $(TINY_OUT)/vae-whole --steps $(TINY_UNET_STEPS) \
	  --normalise-tokens coded $(tiny_denoise) $(tiny_first)

tiny_subject := $(TINY_OUT)/subject
$(tiny_subject)/simulated/stimuli.zarr/zarr.json: | build
	@echo "tiny: a subject who sees $(TINY_SUBJECT_IMAGES) test images"
	@mkdir -p $(tiny_subject)
	pipelines/step.sh $(tiny_subject)/simulated $(BIN)/me2-preprocess simulate $(tiny_subject)/simulated --subjects 1 --sessions 8 --trials-per-session $(TINY_SUBJECT_TRIALS) --test-images $(TINY_SUBJECT_IMAGES) --seed $(TINY_SEED)
$(tiny_subject)/targets.zarr/zarr.json: $(tiny_subject)/simulated/stimuli.zarr/zarr.json $(TINY_OUT)/encoder/model.safetensors $(TINY_OUT)/vae/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(tiny_subject)/simulated/stimuli.zarr $(@D) --model $(TINY_OUT)/encoder --vae $(TINY_OUT)/vae --lowlevel-size 64
$(tiny_subject)/brain/model.safetensors: $(tiny_subject)/targets.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed train $(tiny_subject)/targets.zarr $(@D) --subjects $(tiny_subject)/simulated/subj01.zarr --hidden 256 --prior-depth 2 --prior-dim-head 16 --corrected-mixco \
	  --batch-size 48 --samples-per-epoch $$((8 * $(TINY_SUBJECT_TRIALS))) --epochs $(TINY_SUBJECT_EPOCHS) --max-lr 1e-3 --evaluate-interval 0 --seed $(TINY_SEED)
$(tiny_subject)/latent.zarr/zarr.json: $(tiny_subject)/brain/model.safetensors
	pipelines/step.sh $(@D) $(BIN)/me2-align apply $(tiny_subject)/simulated/subj01.zarr $(@D) --subject subj01 --split test --model $(tiny_subject)/brain
$(tiny_subject)/tokens.zarr/zarr.json: $(tiny_subject)/latent.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-embed brain $(tiny_subject)/latent.zarr $(@D) --model $(tiny_subject)/brain
$(tiny_subject)/prior.zarr/zarr.json: $(tiny_subject)/tokens.zarr/zarr.json
	pipelines/step.sh $(@D) $(BIN)/me2-prior sample $(tiny_subject)/tokens.zarr $(@D) --model $(tiny_subject)/brain --steps 4 --draws 8 --mean --guidance 1 --seed $(TINY_SEED)

tiny_predicted = $(BIN)/me2-decode train $(tiny_subject)/simulated/stimuli.zarr $(@D) --vae $(TINY_OUT)/vae --tokens $(tiny_subject)/targets.zarr --tokens $(tiny_subject)/prior.zarr \
  $(tiny_denoise) --lr 1e-3 --average 0.999
$(TINY_OUT)/unet-second/model.safetensors: $(TINY_OUT)/unet-first/model.safetensors $(tiny_subject)/prior.zarr/zarr.json
	@echo "tiny: the unCLIP U-Net, on true and predicted tokens"
	pipelines/step.sh $(@D) $(tiny_predicted) --model $(TINY_OUT)/unet-first --steps $(TINY_UNET_SECOND_STEPS) --seed $(shell expr $(TINY_SEED) + 1)
$(TINY_OUT)/unet/model.safetensors: $(TINY_OUT)/unet-second/model.safetensors
	pipelines/step.sh $(@D) $(tiny_predicted) --model $(TINY_OUT)/unet-second --steps $(TINY_UNET_THIRD_STEPS) --seed $(shell expr $(TINY_SEED) + 2) --stored f2

# Three trainings, each from the average of the one before: what a caption says takes longer to learn than what a picture's tokens say.
tiny_refine = $(BIN)/me2-decode train $(tiny_scenes) $(@D) --part refiner --text $(TINY_OUT)/encoder --vae $(TINY_OUT)/vae-whole $(tiny_denoise)
$(TINY_OUT)/refiner-first/model.safetensors: $(TINY_OUT)/encoder/model.safetensors $(TINY_OUT)/vae-whole/model.safetensors $(tiny_config)/refiner.json
	@echo "tiny: the refiner, on captions"
	pipelines/step.sh $(@D) $(tiny_refine) --config $(tiny_config)/refiner.json --steps $(TINY_REFINER_STEPS) $(tiny_first)
$(TINY_OUT)/refiner-second/model.safetensors: $(TINY_OUT)/refiner-first/model.safetensors
	pipelines/step.sh $(@D) $(tiny_refine) --model $(TINY_OUT)/refiner-first --steps $(TINY_REFINER_SECOND_STEPS) --lr 1.5e-3 --average 0.998 --seed $(shell expr $(TINY_SEED) + 1)
$(TINY_OUT)/refiner/model.safetensors: $(TINY_OUT)/refiner-second/model.safetensors
	pipelines/step.sh $(@D) $(tiny_refine) --model $(TINY_OUT)/refiner-second --steps $(TINY_REFINER_THIRD_STEPS) --lr 1.2e-3 --average 0.999 --seed $(shell expr $(TINY_SEED) + 2) --stored f2
