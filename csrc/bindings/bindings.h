#pragma once

#include <pybind11/pybind11.h>

namespace mdr::bindings {

// One function per header bound, each in the file of that name.
void bind_errors(pybind11::module_& m);
void bind_bundle(pybind11::module_& m);
void bind_backend(pybind11::module_& m);
void bind_engine_cache(pybind11::module_& m);
void bind_model(pybind11::module_& m);
void bind_enhance(pybind11::module_& m);
void bind_blend(pybind11::module_& m);
void bind_cuda_build(pybind11::module_& m);
void bind_gated_step(pybind11::module_& m);
void bind_gpu(pybind11::module_& m);
void bind_gather_rows(pybind11::module_& m);
void bind_noise(pybind11::module_& m);
void bind_sampler(pybind11::module_& m);
void bind_start_latent(pybind11::module_& m);
void bind_tiler(pybind11::module_& m);
void bind_resample(pybind11::module_& m);
void bind_output_grid(pybind11::module_& m);
void bind_foreground(pybind11::module_& m);
void bind_noise_level(pybind11::module_& m);
void bind_prepare(pybind11::module_& m);
void bind_consistency(pybind11::module_& m);
void bind_pipeline(pybind11::module_& m);

}  // namespace mdr::bindings
