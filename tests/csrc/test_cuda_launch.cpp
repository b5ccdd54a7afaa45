#include "claim.h"
#include "ops/blend.h"
#include "ops/cuda_build.h"
#include "ops/gated_step.h"
#include "ops/gather_rows.h"
#include "ops/start_latent.h"

using claims::Claim;
using claims::throws;
using namespace mdr;

namespace {

// No driver, no device or nothing to launch on one: whichever it is, it is told.
void fails_to_launch(const char* op, const std::function<void()>& body) {
  throws<Error>(std::string(op) + (cuda_built() ? ": expected a CUDA launch, found "
                                                : ": expected a build with CUDA, found "),
                body);
}

const Claim told("a launch that cannot be is an error of the op's, with and without CUDA", [] {
  fails_to_launch("gated_step", [] { gated_step_cuda({}, {}, {}, nullptr); });
  fails_to_launch("start_latent", [] { start_latent_cuda({}, {}, {}, nullptr); });
  fails_to_launch("gather_rows", [] { gather_rows_cuda({}, nullptr); });
  fails_to_launch("blend_add", [] { blend_add_cuda({}, {}, nullptr); });
  fails_to_launch("blend_finish",
                  [] { blend_finish_cuda(nullptr, nullptr, nullptr, 0, nullptr, nullptr); });
});

}  // namespace
