// Every CUDA op where this was built without nvcc.
#include "core/error.h"
#include "ops/blend.h"
#include "ops/cuda_build.h"
#include "ops/gated_step.h"
#include "ops/gather_rows.h"
#include "ops/start_latent.h"

namespace mdr {
namespace {

[[noreturn]] void fail_without_cuda(const char* op) {
  fail(ErrorKind::backend, op,
       ": expected a build with CUDA, found one without; nvcc was probably ",
       "not there when this was built; build again where nvcc is on PATH, or use the CPU");
}

}  // namespace

bool cuda_built() { return false; }

void blend_add_cuda(const BlendShape&, const BlendDeviceBatch&, void*) {
  fail_without_cuda("blend_add");
}

void blend_finish_cuda(const float*, const float*, const float*, int64_t, float*, void*) {
  fail_without_cuda("blend_finish");
}

void gated_step_cuda(const GatedStepShape&, const GatedStepScalars&, const GatedStepDeviceBatch&,
                     void*) {
  fail_without_cuda("gated_step");
}

void gather_rows_cuda(const GatherRowsDeviceBatch&, void*) { fail_without_cuda("gather_rows"); }

void start_latent_cuda(const LatentShape&, const StartScalars&, const StartLatentDeviceBatch&,
                       void*) {
  fail_without_cuda("start_latent");
}

}  // namespace mdr
