// The CUDA kernels, compiled for the CPU, against the CPU ops.
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "claim.h"
#include "ops/cuda_launch.cuh"
// The kernels themselves: the launch above runs them here.
#include "ops/blend_cuda.cu"
#include "ops/gated_step_cuda.cu"
#include "ops/gather_rows_cuda.cu"
#include "ops/start_latent_cuda.cu"

using claims::check;
using claims::Claim;
using namespace mdr;

namespace {

constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
constexpr int kTiles = 3;

std::vector<float> random_floats(size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(bits);
  return out;
}

template <typename T>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr ExpertType value = ExpertType::float32;
};
template <>
struct TypeOf<__half> {
  static constexpr ExpertType value = ExpertType::float16;
};
template <>
struct TypeOf<__nv_bfloat16> {
  static constexpr ExpertType value = ExpertType::bfloat16;
};

template <typename T>
std::vector<T> rounded(const std::vector<float>& values) {
  std::vector<T> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) assign(out[i], values[i]);
  return out;
}

template <typename T>
std::vector<float> widened(const std::vector<T>& values) {
  std::vector<float> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = as_float(values[i]);
  return out;
}

void same(const std::vector<float>& found, const std::vector<float>& expected, const char* what) {
  for (size_t i = 0; i < expected.size(); ++i) {
    check(found[i] == expected[i], what, "[", i, "]: found ", found[i], ", expected ", expected[i]);
  }
}

// Every third (tile, expert) pair is skipped; rows count up in each expert's batch.
struct Slots {
  std::vector<int> rows;
  std::vector<int> batches;
  Slots(int experts, bool sparse) : batches(experts, 0) {
    for (int b = 0; b < kTiles; ++b) {
      for (int i = 0; i < experts; ++i) {
        const bool skipped = sparse && (b + 2 * i) % 3 == 0;
        rows.push_back(skipped ? -1 : batches[i]++);
      }
    }
  }
  int row(int tile, int expert) const { return rows[tile * batches.size() + expert]; }
};

std::vector<NoiseOrigin> origins() { return {{1, 2, 3}, {4, 5, 6}, {70, 80, 9}}; }

// One batch per expert, with what a tile's row must hold after `z` is written to it.
template <typename T>
struct ExpertBatches {
  std::vector<std::vector<T>> memory;
  ExpertBatches(const Slots& slots, int64_t size) {
    for (const int rows : slots.batches) {
      memory.push_back(rounded<T>(std::vector<float>(rows * size, kPoison)));
    }
  }
  // An expert without rows still has an address, as in an arena.
  void* at(int expert) {
    if (memory[expert].empty()) return this;
    return memory[expert].data();
  }

  void hold(const std::vector<float>& z, const Slots& slots, int64_t size) const {
    const std::vector<float> expected = widened(rounded<T>(z));
    for (int b = 0; b < kTiles; ++b) {
      for (size_t i = 0; i < memory.size(); ++i) {
        if (slots.row(b, i) < 0) continue;
        const auto row = memory[i].begin() + slots.row(b, i) * size;
        same(widened(std::vector<T>(row, row + size)),
             {expected.begin() + b * size, expected.begin() + (b + 1) * size}, "expert_z");
      }
    }
  }
};

template <typename T>
void gated_step_agrees(const GatedStepShape& shape, const GatedStepScalars& scalars, bool sparse) {
  const int64_t size = int64_t{shape.channels} * shape.height * shape.width;
  const int64_t map = int64_t{shape.gate_height} * shape.gate_width;
  const Slots slots(shape.experts, sparse);
  const auto z_t = random_floats(kTiles * size, 1), z0_prev = random_floats(kTiles * size, 2);
  const auto gates = random_floats(kTiles * shape.experts * map, 3);
  const auto places = origins();
  std::vector<std::vector<T>> experts;
  std::vector<std::vector<float>> wide;
  for (int i = 0; i < shape.experts; ++i) {
    experts.push_back(rounded<T>(random_floats(kTiles * size, 10 + i)));
    wide.push_back(widened(experts.back()));
  }
  std::vector<float> expected_z(kTiles * size), expected_z0(kTiles * size);
  for (int b = 0; b < kTiles; ++b) {
    GatedStepShape active = shape;
    active.experts = 0;
    const float* outputs[kMaxExperts];
    const float* maps[kMaxExperts];
    for (int i = 0; i < shape.experts; ++i) {
      if (slots.row(b, i) < 0) continue;
      outputs[active.experts] = wide[i].data() + slots.row(b, i) * size;
      maps[active.experts++] = gates.data() + (b * shape.experts + i) * map;
    }
    if (active.experts == 0) continue;
    gated_step_cpu(active, scalars, places[b], z_t.data() + b * size, outputs, maps,
                   z0_prev.data() + b * size, expected_z.data() + b * size,
                   expected_z0.data() + b * size);
  }

  std::vector<float> z_s(kTiles * size, kPoison), z0(kTiles * size, kPoison);
  ExpertBatches<T> next(slots, size);
  GatedStepDeviceBatch batch{kTiles, TypeOf<T>::value, z_t.data()};
  for (int i = 0; i < shape.experts; ++i) {
    batch.experts[i] = experts[i].data();
    batch.expert_z[i] = next.at(i);
  }
  batch.slots = slots.rows.data();
  batch.gates = gates.data();
  batch.z0_prev = scalars.c_1 != 0 ? z0_prev.data() : nullptr;
  batch.origins = places.data();
  batch.z_s = z_s.data();
  batch.z0 = z0.data();
  gated_step_cuda(shape, scalars, batch, nullptr);
  same(z_s, expected_z, "z_s");
  same(z0, expected_z0, "z0");
  next.hold(z_s, slots, size);
}

const GatedStepScalars kNoisy{0.3f, 0.8f, -0.1f, 0.2f, 0x123456789ull, 2};
const GatedStepScalars kFirst{0.3f, 0.8f, 0.0f, 0.0f, 0, 1};

template <typename T>
void gated_step_agrees_on_shapes() {
  for (const bool order : {false, true}) {
    backwards = order;
    for (const auto& [channels, height, width] :
         {std::array{4, 16, 16}, {8, 8, 8}, {5, 7, 37}, {3, 5, 600}, {70, 1, 2}, {1, 3, 1}}) {
      for (const GatedStepScalars& scalars : {kNoisy, kFirst}) {
        gated_step_agrees<T>({channels, height, width, 3, 4, 6}, scalars, true);
        gated_step_agrees<T>({channels, height, width, 2, 20, 1}, scalars, false);
      }
    }
    gated_step_agrees<T>({4, 8, 12, 1, 2, 2}, kNoisy, false);
    gated_step_agrees<T>({4, 8, 12, 8, 3, 3}, kNoisy, true);
  }
}

const Claim step32("gated_step gives the bits of the CPU with float32 experts",
                   gated_step_agrees_on_shapes<float>);
const Claim step16("gated_step gives the bits of the CPU with float16 experts",
                   gated_step_agrees_on_shapes<__half>);
const Claim stepbf("gated_step gives the bits of the CPU with bfloat16 experts",
                   gated_step_agrees_on_shapes<__nv_bfloat16>);

const Claim shifted("gated_step takes memory that is not on a 16-byte boundary", [] {
  const GatedStepShape shape{2, 4, 8, 1, 1, 1};
  const auto all = random_floats(3 * 65, 5);
  const int slot = 0;
  const float gate = 0.5f;
  std::vector<float> z_s(65), z0(65), expected_z(64), expected_z0(64);
  for (const int shift : {0, 1}) {
    GatedStepDeviceBatch batch{1, ExpertType::float32, all.data() + shift};
    batch.experts[0] = all.data() + 65;
    batch.slots = &slot;
    batch.gates = &gate;
    batch.z_s = z_s.data();
    batch.z0 = z0.data() + shift;
    gated_step_cuda(shape, kFirst, batch, nullptr);
    const float* experts[] = {all.data() + 65};
    const float* gates[] = {&gate};
    gated_step_cpu(shape, kFirst, {}, all.data() + shift, experts, gates, nullptr,
                   expected_z.data(), expected_z0.data());
    same(z_s, expected_z, "z_s");
    same({z0.begin() + shift, z0.begin() + shift + 64}, expected_z0, "z0");
  }
});

const Claim in_place("gated_step may update the state in place", [] {
  const GatedStepShape shape{6, 4, 8, 1, 1, 1};
  const auto expert = random_floats(192, 6), z_t = random_floats(192, 7);
  auto z = z_t, z0 = random_floats(192, 8);
  std::vector<float> expected_z(192), expected_z0(192);
  const int slot = 0;
  const float gate = 0.5f;
  const NoiseOrigin origin;
  const float* experts[] = {expert.data()};
  const float* gates[] = {&gate};
  gated_step_cpu(shape, kNoisy, {}, z.data(), experts, gates, z0.data(), expected_z.data(),
                 expected_z0.data());
  GatedStepDeviceBatch batch{1, ExpertType::float32, z.data()};
  batch.experts[0] = expert.data();
  batch.slots = &slot;
  batch.gates = &gate;
  batch.origins = &origin;
  batch.z0_prev = batch.z0 = z0.data();
  batch.z_s = z.data();
  gated_step_cuda(shape, kNoisy, batch, nullptr);
  same(z, expected_z, "z_s");
  same(z0, expected_z0, "z0");
});

template <typename T>
void start_latent_agrees(const LatentShape& shape, bool from_noise) {
  const StartScalars scalars{0.7f, 0.6f, 0xfedcba9876543210ull};
  const int64_t size = int64_t{shape.channels} * shape.height * shape.width;
  const auto z_low = random_floats(kTiles * size, 1);
  const auto places = origins();
  const Slots slots(3, true);
  std::vector<float> expected(kTiles * size), z(kTiles * size, kPoison);
  for (int b = 0; b < kTiles; ++b) {
    start_latent_cpu(shape, scalars, places[b], from_noise ? nullptr : z_low.data() + b * size,
                     expected.data() + b * size);
  }
  ExpertBatches<T> next(slots, size);
  StartLatentDeviceBatch batch{kTiles,           3,
                               TypeOf<T>::value, from_noise ? nullptr : z_low.data(),
                               places.data(),    slots.rows.data(),
                               z.data()};
  for (int i = 0; i < 3; ++i) batch.expert_z[i] = next.at(i);
  start_latent_cuda(shape, scalars, batch, nullptr);
  same(z, expected, "z");
  next.hold(z, slots, size);
}

const Claim start("start_latent gives the bits of the CPU, with and without a low-field latent",
                  [] {
                    for (const bool from_noise : {false, true}) {
                      for (const LatentShape& shape :
                           {LatentShape{4, 16, 16}, {6, 5, 7}, {1, 1, 600}}) {
                        start_latent_agrees<float>(shape, from_noise);
                        start_latent_agrees<__half>(shape, from_noise);
                        start_latent_agrees<__nv_bfloat16>(shape, from_noise);
                      }
                    }
                  });

template <typename T>
void gather_agrees(int64_t row) {
  const Slots slots(3, true);
  const auto from = rounded<T>(random_floats(kTiles * row, 1));
  ExpertBatches<T> to(slots, row);
  GatherRowsDeviceBatch batch{kTiles, 3, TypeOf<T>::value, row, slots.rows.data(), from.data(), {}};
  for (int i = 0; i < 3; ++i) batch.to[i] = to.at(i);
  gather_rows_cuda(batch, nullptr);
  to.hold(widened(from), slots, row);
}

const Claim gather("gather_rows moves each tile's row to where its experts read it", [] {
  for (const int64_t row : {int64_t{1}, int64_t{37}, int64_t{4096}}) {
    gather_agrees<float>(row);
    gather_agrees<__half>(row);
    gather_agrees<__nv_bfloat16>(row);
  }
});

// Two slices; in the first, five tiles overlap in both axes and reach past the far edges.
const Claim blend("blend gives the bits of the CPU in any order of threads", [] {
  const BlendShape shape{40, 45, 24, 20};
  const std::vector<BlendTile> tiles = {
      {0, 0, 0, {0, 4}, {0, 8}},   {0, 0, 12, {0, 4}, {8, 4}},  {-1, 0, 0, {}, {}},
      {1, 0, 30, {0, 8}, {8, 0}},  {1, 16, 30, {8, 4}, {8, 0}}, {1, 20, 24, {8, 0}, {4, 8}},
      {1, 20, 36, {8, 0}, {8, 0}},
  };
  const size_t slice = 40 * 45, size = 24 * 20;
  const auto images = random_floats(tiles.size() * size, 1), input = random_floats(2 * slice, 2);
  auto expected = random_floats(2 * slice, 3), expected_weight = std::vector<float>(2 * slice);
  const auto before = expected;
  for (size_t b = 0; b < tiles.size(); ++b) {
    const BlendTile& tile = tiles[b];
    if (tile.slice < 0) continue;
    std::vector<float> weight_y, weight_x;
    for (int y = 0; y < 24; ++y) weight_y.push_back(ramp_weight(y, 24, tile.ramps_y));
    for (int x = 0; x < 20; ++x) weight_x.push_back(ramp_weight(x, 20, tile.ramps_x));
    const size_t at = tile.slice * slice + tile.y * 45 + tile.x;
    blend_add_cpu(images.data() + b * size, 20, std::min(24, 40 - tile.y),
                  std::min(20, 45 - tile.x), weight_y.data(), weight_x.data(), 45,
                  expected.data() + at, expected_weight.data() + at);
  }
  for (const bool order : {false, true}) {
    backwards = order;
    auto sum = before, weight = std::vector<float>(2 * slice);
    BlendDeviceBatch batch{static_cast<int>(tiles.size()), images.data(), tiles.data(), sum.data(),
                           weight.data()};
    blend_add_cuda(shape, batch, nullptr);
    same(sum, expected, "sum");
    same(weight, expected_weight, "weight");
    for (const size_t count : {2 * slice, 2 * slice - 3}) {
      std::vector<float> out(2 * slice, kPoison), finished(2 * slice, kPoison);
      blend_finish_cuda(sum.data(), weight.data(), input.data(), count, out.data(), nullptr);
      blend_finish_cpu(sum.data(), weight.data(), input.data(), count, finished.data());
      same({out.begin(), out.begin() + count}, {finished.begin(), finished.begin() + count}, "out");
      check(count == 2 * slice || std::isnan(out[count]), "wrote past the end");
    }
  }
});

}  // namespace
