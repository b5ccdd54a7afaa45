#include "core/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/error.h"

namespace mdr {
namespace {

StepCoefficients ddim(double ab_t, double ab_s, double eta) {
  const double sigma = eta * std::sqrt((1 - ab_s) / (1 - ab_t)) * std::sqrt(1 - ab_t / ab_s);
  StepCoefficients c;
  c.c_z = std::sqrt(std::max(1 - ab_s - sigma * sigma, 0.0) / (1 - ab_t));
  c.c_0 = std::sqrt(ab_s) - c.c_z * std::sqrt(ab_t);
  c.c_n = sigma;
  return c;
}

// Half the log signal-to-noise ratio.
double half_log_snr(double ab) { return 0.5 * std::log(ab / (1 - ab)); }

// h_prev 0: there is no previous step, or the schedule was flat there.
StepCoefficients dpmpp_2m(double ab_t, double ab_s, double h_prev) {
  StepCoefficients c;
  if (ab_s == 1) {
    c.c_0 = 1;
    return c;
  }
  const double h = half_log_snr(ab_s) - half_log_snr(ab_t);
  const double phi = std::sqrt(ab_s) * (1 - std::exp(-h));
  c.c_z = std::sqrt((1 - ab_s) / (1 - ab_t));
  c.c_0 = phi;
  if (h_prev > 0) {
    const double r = h_prev / h;
    c.c_0 = phi * (1 + 1 / (2 * r));
    c.c_1 = -phi / (2 * r);
  }
  return c;
}

}  // namespace

std::vector<int> timesteps(int steps, int start_timestep) {
  if (start_timestep < 0 || steps < 1 || steps > std::max(1, start_timestep)) {
    fail(ErrorKind::input, "timesteps: expected 1 to ", std::max(1, start_timestep),
         " steps from timestep ", start_timestep, ", found ", steps,
         "; each step needs a timestep of its own; ask for fewer steps or start later");
  }
  std::vector<int> taus;
  for (int64_t k = 0; k < steps; ++k) {
    taus.push_back(static_cast<int>((2 * int64_t{start_timestep} * (steps - k) + steps) /
                                    (2 * int64_t{steps})));
  }
  return taus;
}

std::vector<StepCoefficients> step_coefficients(const std::string& method,
                                                const std::vector<double>& alphas_cumprod,
                                                int steps, int start_timestep, double eta) {
  if (method != kMethodDdim && method != kMethodDpmpp2m) {
    fail(ErrorKind::input, "step_coefficients: expected method ddim or dpmpp_2m, found ", method,
         "; probably mistyped; give one of the two");
  }
  if (!(eta >= 0 && eta <= 1)) {
    fail(ErrorKind::input, "step_coefficients: expected eta from 0 to 1, found ", eta,
         "; 0 is deterministic DDIM, 1 is ancestral; give a value between");
  }
  if (start_timestep >= static_cast<int>(alphas_cumprod.size())) {
    fail(ErrorKind::input, "step_coefficients: expected a start timestep below ",
         alphas_cumprod.size(), ", found ", start_timestep,
         "; the schedule has no more timesteps; start at a smaller one");
  }
  const std::vector<int> taus = timesteps(steps, start_timestep);
  std::vector<StepCoefficients> rows;
  double h_prev = 0;
  for (int k = 0; k < steps; ++k) {
    const double ab_t = alphas_cumprod[taus[k]];
    const double ab_s = k + 1 < steps ? alphas_cumprod[taus[k + 1]] : 1;
    rows.push_back(method == kMethodDdim ? ddim(ab_t, ab_s, eta) : dpmpp_2m(ab_t, ab_s, h_prev));
    if (ab_s < 1) h_prev = half_log_snr(ab_s) - half_log_snr(ab_t);
  }
  return rows;
}

}  // namespace mdr
