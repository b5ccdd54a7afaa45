#include <vector>

#include "claim.h"
#include "ops/gather_rows.h"

using claims::check;
using claims::Claim;
using namespace mdr;

namespace {

// Three tiles, two experts: the first runs for tiles 0 and 2, the second for tile 1.
const int kSlots[] = {0, -1, -1, 0, 1, -1};
const std::vector<float> kRows = {1, 2, 3, 4, 5, 6};

const Claim moved("each tile's row goes to where its experts' batches have it", [] {
  std::vector<float> first(4), second(2);
  float* to[] = {first.data(), second.data()};
  gather_rows_cpu(3, 2, kSlots, 2, kRows.data(), to);
  check(first == std::vector<float>{1, 2, 5, 6}, "the first expert's batch");
  check(second == std::vector<float>{3, 4}, "the second expert's batch");
});

const Claim left_out("an expert without a batch is left out", [] {
  std::vector<float> second(2);
  float* to[] = {nullptr, second.data()};
  gather_rows_cpu(3, 2, kSlots, 2, kRows.data(), to);
  check(second == std::vector<float>{3, 4}, "the second expert's batch");
});

}  // namespace
