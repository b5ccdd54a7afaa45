#include <cmath>
#include <limits>
#include <vector>

#include "claim.h"
#include "core/dispatch.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

const Claim keeps("threshold 0 keeps every expert and every bit of the gates", [] {
  std::vector<float> gates = {0.0f, 0.0f, 0.3f, 0.1f, 0.7f, 0.9f};
  const std::vector<float> before = gates;
  equal(plan_tile(gates.data(), 3, 2, 0.0f), 0b111u);
  check(gates == before, "gates changed");
});

const Claim lowest("at threshold 0 not even gates below 0, which no softmax gives, leave one out",
                   [] {
                     std::vector<float> gates = {-1, -2, 0.5f, 1, 3, 4};
                     const std::vector<float> before = gates;
                     equal(plan_tile(gates.data(), 3, 2, 0.0f), 0b111u);
                     check(gates == before, "gates changed");
                   });

const Claim skips("an expert below the threshold everywhere is skipped, the rest sum to 1", [] {
  std::vector<float> gates = {0.01f, 0.04f, 0.2f, 0.05f, 0.79f, 0.91f};
  equal(plan_tile(gates.data(), 3, 2, 0.05f), 0b110u);
  for (int cell = 0; cell < 2; ++cell) {
    equal(gates[cell], 0.0f);
    check(std::abs(gates[2 + cell] + gates[4 + cell] - 1) < 1e-6f, "sum is not 1");
  }
  check(std::abs(gates[2] / gates[4] - 0.2f / 0.79f) < 1e-6f, "ratio changed");
});

const Claim once("one cell at the threshold is enough to run", [] {
  std::vector<float> gates = {0.01f, 0.05f, 0.99f, 0.95f};
  equal(plan_tile(gates.data(), 2, 2, 0.05f), 0b11u);
});

const Claim nan("a gate that is not a number is never a reason to skip", [] {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> gates = {nan, nan, 0.99f, 0.95f};
  equal(plan_tile(gates.data(), 2, 2, 0.05f), 0b11u);
});

const Claim broken("gates that leave no expert are refused, not divided by", [] {
  std::vector<float> gates = {0.01f, 0.04f, 0.02f, 0.03f};
  throws<Error>("expected gates that sum to 1, found 0.03; ",
                [&] { plan_tile(gates.data(), 2, 2, 0.05f); });
});

const Claim refuses("a threshold that could skip every expert is refused", [] {
  check_gate_threshold(0.33, 3);
  for (const double threshold : {1.0 / 3, 0.5, -0.1, std::nan("")}) {
    throws<Error>("below 1/3", [&] { check_gate_threshold(threshold, 3); });
  }
});

}  // namespace
