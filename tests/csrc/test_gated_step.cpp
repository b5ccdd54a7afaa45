#include <cmath>
#include <vector>

#include "claim.h"
#include "ops/gated_step.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

std::vector<float> wave(size_t count, double step) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(std::sin(step * i));
  return out;
}

void same_as_the_element_function(int count, int gate_height, int gate_width) {
  const GatedStepShape shape{5, 7, 37, count, gate_height, gate_width};
  const GatedStepScalars scalars{0.3f, 0.8f, -0.1f, 0.2f, 9, 2};
  const size_t plane = 7 * 37, size = 5 * plane, cells = size_t(gate_height) * gate_width;
  const auto z_t = wave(size, 0.1), prev = wave(size, 0.7), all = wave(count * size, 0.3);
  const auto gate = wave(count * cells, 0.9);
  std::vector<const float*> experts, gates;
  for (int e = 0; e < count; ++e) {
    experts.push_back(all.data() + e * size);
    gates.push_back(gate.data() + e * cells);
  }
  std::vector<float> z_s(size), z0(size);
  gated_step_cpu(shape, scalars, {1, 2, 3}, z_t.data(), experts.data(), gates.data(), prev.data(),
                 z_s.data(), z0.data());
  for (size_t i = 0; i < size; ++i) {
    const int c = i / plane, y = i % plane / 37, x = i % 37;
    const GateSample sy = gate_sample(y, 7, gate_height), sx = gate_sample(x, 37, gate_width);
    const Normal4 n = normal4(9, 2, 1 + x, 2 + y, 3, c);
    const float lanes[] = {n.n0, n.n1, n.n2, n.n3};
    const GatedElement out = gated_element(
        count, [&](int e) { return experts[e][i]; },
        [&](int e) { return gate_at(gates[e], gate_width, sy, sx); }, z_t[i], prev[i], lanes[c % 4],
        scalars);
    equal(z_s[i], out.z_s);
    equal(z0[i], out.z0);
  }
}

const Claim vectors("the vectorised rows give the bits of the element function", [] {
  for (const int experts : {1, 3, 8}) {
    same_as_the_element_function(experts, 4, 6);
    same_as_the_element_function(experts, 1, 1);
    same_as_the_element_function(experts, 16, 50);  // finer than the latent: rows are left out
  }
});

const Claim in_place("the state may be updated in place", [] {
  const GatedStepShape shape{2, 8, 16, 2, 4, 4};
  const GatedStepScalars scalars{0.3f, 0.8f, -0.1f, 0.0f, 0, 1};
  auto z = wave(256, 0.1), z0 = wave(256, 0.7);
  const auto all = wave(512, 0.3), gate = wave(32, 0.9);
  const float* experts[] = {all.data(), all.data() + 256};
  const float* gates[] = {gate.data(), gate.data() + 16};
  std::vector<float> apart(256), apart0(256);
  gated_step_cpu(shape, scalars, {}, z.data(), experts, gates, z0.data(), apart.data(),
                 apart0.data());
  gated_step_cpu(shape, scalars, {}, z.data(), experts, gates, z0.data(), z.data(), z0.data());
  check(z == apart && z0 == apart0, "in place differs");
});

}  // namespace
