#include <cmath>

#include "claim.h"
#include "core/sampler.h"

using claims::check;
using claims::Claim;
using claims::throws;
using namespace mdr;

namespace {

std::vector<double> schedule() {
  std::vector<double> alphas;
  for (int t = 0; t < 100; ++t) alphas.push_back(0.999 * std::exp(-0.05 * t));
  return alphas;
}

const Claim taus("timesteps fall from the start and round half up", [] {
  check(timesteps(4, 10) == std::vector<int>{10, 8, 5, 3}, "other timesteps");
  check(timesteps(1, 0) == std::vector<int>{0}, "other timesteps");
});

const Claim clean("every sampler's last step returns the prediction itself", [] {
  for (const char* method : {kMethodDdim, kMethodDpmpp2m}) {
    for (const int steps : {1, 2, 7}) {
      const StepCoefficients c = step_coefficients(method, schedule(), steps, 60, 0).back();
      check(c.c_z == 0 && c.c_0 == 1 && c.c_1 == 0 && c.c_n == 0, method, " with ", steps);
    }
  }
});

const Claim variance("stochastic DDIM keeps the noise level of the schedule", [] {
  const auto alphas = schedule();
  const auto taus = timesteps(5, 60);
  const auto rows = step_coefficients(kMethodDdim, alphas, 5, 60, 1);
  for (int k = 0; k + 1 < 5; ++k) {
    const double spread =
        rows[k].c_z * rows[k].c_z * (1 - alphas[taus[k]]) + rows[k].c_n * rows[k].c_n;
    check(std::abs(spread - (1 - alphas[taus[k + 1]])) < 1e-12, "step ", k);
  }
});

const Claim flat("a schedule that is flat at its end gives finite steps", [] {
  auto alphas = schedule();
  for (int t = 60; t < 100; ++t) alphas[t] = alphas[60];
  for (const StepCoefficients& c : step_coefficients(kMethodDpmpp2m, alphas, 10, 99, 0)) {
    check(std::isfinite(c.c_z + c.c_0 + c.c_1 + c.c_n), "not finite");
  }
});

const Claim refuses("an unknown method is refused by name", [] {
  throws<Error>("found euler", [] { step_coefficients("euler", schedule(), 2, 60, 0); });
});

}  // namespace
