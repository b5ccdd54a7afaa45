#include "bindings/bindings.h"

PYBIND11_MODULE(_core, m) {
  using namespace mdr::bindings;
  m.doc() = "The C++ core of moediff-rt.";
  m.attr("__version__") = MDR_VERSION;
  bind_errors(m);
  bind_bundle(m);
  bind_backend(m);
  bind_engine_cache(m);
  bind_model(m);
  bind_enhance(m);
  bind_blend(m);
  bind_cuda_build(m);
  bind_gated_step(m);
  bind_gpu(m);
  bind_gather_rows(m);
  bind_noise(m);
  bind_sampler(m);
  bind_start_latent(m);
  bind_tiler(m);
  bind_resample(m);
  bind_output_grid(m);
  bind_foreground(m);
  bind_noise_level(m);
  bind_prepare(m);
  bind_consistency(m);
  bind_pipeline(m);
}
