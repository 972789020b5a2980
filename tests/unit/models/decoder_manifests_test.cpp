// Every full-size decoder network asks for exactly the tensors of its official checkpoint (tests/manifests), by name and shape.
#include <gtest/gtest.h>

#include "models/unclip_unet.h"
#include "models/vae.h"
#include "support/manifest.h"

namespace me2::models {
namespace {

UnetConfig sdxl(std::int64_t context, std::int64_t vector) {
  UnetConfig c;
  c.context_dim = context;
  c.adm_in_channels = vector;
  return c;
}

TEST(DecoderManifests, UnclipUnet) {
  nn::ShapeLister lister;
  const UnclipUnet net(nn::Scope(lister, "model.diffusion_model."), sdxl(1664, 1024));
  test::expect_manifest(lister, "unclip6_diffusion_engine", "model.diffusion_model.");
}

TEST(DecoderManifests, SdxlUnet) {
  nn::ShapeLister lister;
  const UnclipUnet net(nn::Scope(lister, "model.diffusion_model."), sdxl(2048, 2816));
  test::expect_manifest(lister, "sd_xl_base_diffusion_engine", "model.diffusion_model.");
}

TEST(DecoderManifests, SdxlAutoencoder) {
  for (const auto* name : {"unclip6_diffusion_engine", "sd_xl_base_diffusion_engine"}) {
    nn::ShapeLister lister;
    const Vae vae(nn::Scope(lister, "first_stage_model."), VaeConfig());
    test::expect_manifest(lister, name, "first_stage_model.");
  }
}

TEST(DecoderManifests, ImageVariationAutoencoder) {
  nn::ShapeLister lister;
  VaeConfig config;
  config.diffusers_names = true;
  const Vae vae(nn::Scope(lister), config);
  test::expect_manifest(lister, "sd_image_var_autoenc");
}

}  // namespace
}  // namespace me2::models
