#include "core/slice_blend.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ops/blend.h"
#include "ops/gated_step.h"

namespace mdr {
namespace {

void ramp(int tile, const Ramps& ramps, std::vector<float>& weights) {
  weights.resize(tile);
  for (int i = 0; i < tile; ++i) weights[i] = ramp_weight(i, tile, ramps);
}

}  // namespace

SliceBlend::SliceBlend(const Bundle& bundle, const float* volume, const VolumeShape& shape,
                       const std::vector<Tile>& tiles, float* out, uint8_t* gates)
    : bundle_(bundle), volume_(volume), shape_(shape), out_(out), gates_(gates) {
  std::vector<bool> has_tiles(shape.nz, false);
  for (const Tile& tile : tiles) has_tiles[tile.z] = true;
  for (int z = 0; z < shape.nz && out != volume; ++z) {
    const int64_t at = z * shape.slice();
    if (!has_tiles[z]) std::copy_n(volume + at, shape.slice(), out + at);
  }
  if (gates) std::fill_n(gates, bundle.experts * shape.voxels(), uint8_t{0});
}

void SliceBlend::begin(int z) {
  end();
  z_ = z;
  sums_.assign(shape_.slice(), 0.0f);
  weight_.assign(shape_.slice(), 0.0f);
  if (gates_) gate_sums_.assign(bundle_.experts * shape_.slice(), 0.0f);
}

void SliceBlend::add(const Tile& tile, const float* image, const float* gates) {
  if (tile.z != z_) begin(tile.z);
  const auto [height, width] = tile.size;
  ramp(height, tile.ramps_y, weight_y_);
  ramp(width, tile.ramps_x, weight_x_);
  const int rows = std::min(height, shape_.ny - tile.y);
  const int columns = std::min(width, shape_.nx - tile.x);
  const int64_t at = int64_t{tile.y} * shape_.nx + tile.x;
  blend_add_cpu(image, width, rows, columns, weight_y_.data(), weight_x_.data(), shape_.nx,
                sums_.data() + at, weight_.data() + at);
  if (gates_) add_gates(tile, gates, rows, columns);
}

void SliceBlend::add_gates(const Tile& tile, const float* gates, int rows, int columns) {
  const auto [height, width] = tile.size;
  const auto [gate_height, gate_width] = bundle_.gate_size(tile.size);
  gate_map_.resize(int64_t{rows} * columns);
  for (int i = 0; i < bundle_.experts; ++i) {
    const float* gate = gates + int64_t{i} * gate_height * gate_width;
    for (int y = 0; y < rows; ++y) {
      const GateSample sy = gate_sample(y, height, gate_height);
      for (int x = 0; x < columns; ++x) {
        const GateSample sx = gate_sample(x, width, gate_width);
        gate_map_[int64_t{y} * columns + x] = gate_at(gate, gate_width, sy, sx);
      }
    }
    float* sums = gate_sums_.data() + i * shape_.slice() + int64_t{tile.y} * shape_.nx + tile.x;
    blend_add_cpu(gate_map_.data(), columns, rows, columns, weight_y_.data(), weight_x_.data(),
                  shape_.nx, sums, nullptr);
  }
}

void SliceBlend::end() {
  if (z_ < 0) return;
  const int64_t at = z_ * shape_.slice();
  blend_finish_cpu(sums_.data(), weight_.data(), volume_ + at, shape_.slice(), sums_.data());
  for (int i = 0; gates_ && i < bundle_.experts; ++i) {
    const float* sums = gate_sums_.data() + i * shape_.slice();
    uint8_t* to = gates_ + i * shape_.voxels() + at;
    for (int64_t v = 0; v < shape_.slice(); ++v) {
      const float gate = weight_[v] > 0 ? sums[v] / weight_[v] : 0.0f;
      to[v] = static_cast<uint8_t>(std::lround(255.0f * std::clamp(gate, 0.0f, 1.0f)));
    }
  }
  Slice slice{std::exchange(z_, -1), std::move(sums_)};
  if (!spare_.empty()) {
    sums_ = std::move(spare_.back());
    spare_.pop_back();
  }
  if (out_ == volume_) {
    waiting_.push_back(std::move(slice));
  } else {
    write(std::move(slice));
  }
}

void SliceBlend::write(Slice slice) {
  std::copy_n(slice.voxels.data(), shape_.slice(), out_ + slice.z * shape_.slice());
  spare_.push_back(std::move(slice.voxels));
}

void SliceBlend::read_before(int z) {
  while (!waiting_.empty() && waiting_.front().z < z - bundle_.tile_slices / 2) {
    write(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void SliceBlend::finish() {
  end();
  read_before(shape_.nz + bundle_.tile_slices);
}

}  // namespace mdr
