#pragma once

#include <cstddef>

#include "capi/engine.h"
#include "core/bundle.h"
#include "moediff_rt.h"

namespace mdr::capi {

constexpr const char* kEnhance = "mdr_enhance";

mdr_grid output_grid(const Bundle& bundle, const mdr_grid& scan, const mdr_enhance_params& params);

// mdr_enhance() with pointers that are there and params that are whole; throws.
mdr_report enhance(LoadedEngine& engine, const float* scan, const mdr_grid& grid,
                   const mdr_enhance_params& params, float* out, size_t out_voxels);

}  // namespace mdr::capi
