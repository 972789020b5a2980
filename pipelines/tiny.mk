# The tiny models: the architectures of MindEye2 small enough for a laptop (64-pixel scenes), trained by our own tools on rendered
# scenes. `make -f Makefile.pipeline tiny` makes them anew in out/tiny; those the demo uses lie in pipelines/tiny/models when they
# are shipped with the checkout. docs/tiny.md has the sizes, the losses and what each part reaches.
TINY_OUT ?= out/tiny
TINY_SCENES ?= 30000
TINY_ENCODER_STEPS ?= 3000
TINY_VAE_STEPS ?= 3000
TINY_UNET_STEPS ?= 8000
TINY_GIT_EPOCHS ?= 6
TINY_SEED ?= 7
tiny_config := pipelines/tiny
tiny_parts := encoder vae unet git scorer

.PHONY: tiny
tiny: $(tiny_parts:%=$(TINY_OUT)/%/model.safetensors)
	@echo "tiny models: $(TINY_OUT)"

$(TINY_OUT)/scenes/stimuli.zarr/zarr.json: | build
	@echo "tiny: rendering $(TINY_SCENES) scenes"
	@mkdir -p $(TINY_OUT)
	pipelines/step.sh $(TINY_OUT)/scenes $(BIN)/me2-preprocess simulate $(TINY_OUT)/scenes --scenes-only $(TINY_SCENES) --seed $(TINY_SEED)

$(TINY_OUT)/encoder/model.safetensors: $(TINY_OUT)/scenes/stimuli.zarr/zarr.json $(tiny_config)/encoder.json
	@echo "tiny: image and text towers"
	pipelines/step.sh $(@D) $(BIN)/me2-embed encoder $(TINY_OUT)/scenes/stimuli.zarr $(@D) --config $(tiny_config)/encoder.json --steps $(TINY_ENCODER_STEPS) --seed $(TINY_SEED)

# Another seed and another shape than the encoder's, so that a score does not ask the network that made the picture.
$(TINY_OUT)/scorer/model.safetensors: $(TINY_OUT)/scenes/stimuli.zarr/zarr.json $(tiny_config)/scorer.json
	@echo "tiny: the scoring towers"
	pipelines/step.sh $(@D) $(BIN)/me2-embed encoder $(TINY_OUT)/scenes/stimuli.zarr $(@D) --config $(tiny_config)/scorer.json --steps $(TINY_ENCODER_STEPS) --seed 1$(TINY_SEED)

$(TINY_OUT)/vae/model.safetensors: $(TINY_OUT)/scenes/stimuli.zarr/zarr.json $(tiny_config)/vae.json
	@echo "tiny: the autoencoder"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(TINY_OUT)/scenes/stimuli.zarr $(@D) --part vae --config $(tiny_config)/vae.json --steps $(TINY_VAE_STEPS) --lr 2e-3 --warmup 50 --cosine \
	  --average 0.99 --crop 32 --batch-size 16 --seed $(TINY_SEED)

$(TINY_OUT)/targets.zarr/zarr.json: $(TINY_OUT)/encoder/model.safetensors
	@echo "tiny: tokens of every scene"
	pipelines/step.sh $(@D) $(BIN)/me2-embed images $(TINY_OUT)/scenes/stimuli.zarr $(@D) --model $(TINY_OUT)/encoder

$(TINY_OUT)/git/model.safetensors: $(TINY_OUT)/targets.zarr/zarr.json
	@echo "tiny: the captioner"
	pipelines/step.sh $(@D) $(BIN)/me2-caption train $(TINY_OUT)/targets.zarr $(TINY_OUT)/scenes/stimuli.zarr $(@D) --part git --epochs $(TINY_GIT_EPOCHS) --batch-size 64 --seed $(TINY_SEED)

$(TINY_OUT)/unet/model.safetensors: $(TINY_OUT)/targets.zarr/zarr.json $(TINY_OUT)/vae/model.safetensors $(tiny_config)/unet.json
	@echo "tiny: the unCLIP U-Net"
	pipelines/step.sh $(@D) $(BIN)/me2-decode train $(TINY_OUT)/scenes/stimuli.zarr $(@D) --tokens $(TINY_OUT)/targets.zarr --config $(tiny_config)/unet.json --vae $(TINY_OUT)/vae --steps $(TINY_UNET_STEPS) \
	  --lr 1.5e-3 --warmup 100 --cosine --average 0.999 --condition-drop 0.1 --offset-noise 0 --noise-levels lognormal --normalise-tokens --batch-size 32 \
	  --seed $(TINY_SEED)
