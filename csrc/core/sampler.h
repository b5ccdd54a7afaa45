#pragma once

#include <string>
#include <vector>

namespace mdr {

inline constexpr const char* kMethodDdim = "ddim";
inline constexpr const char* kMethodDpmpp2m = "dpmpp_2m";
inline constexpr const char* kStartLowField = "low_field";
inline constexpr const char* kStartNoise = "noise";

// z_s = c_z z_t + c_0 z0 + c_1 z0_prev + c_n n, in float64.
struct StepCoefficients {
  double c_z = 0, c_0 = 0, c_1 = 0, c_n = 0;
};

// tau_k = round_half_up(start_timestep (K - k) / K) for k = 0..K-1, strictly falling.
// Throws Error(ErrorKind::input) unless 1 <= steps <= max(1, start_timestep).
std::vector<int> timesteps(int steps, int start_timestep);

// One row per step; the last step ends clean (cumulative alpha 1). DDIM: Song et al. 2021, eq. 12
// and 16; DPM-Solver++(2M): Lu et al. 2022, algorithm 2, first order on the first and last step.
std::vector<StepCoefficients> step_coefficients(const std::string& method,
                                                const std::vector<double>& alphas_cumprod,
                                                int steps, int start_timestep, double eta);

}  // namespace mdr
