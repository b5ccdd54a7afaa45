#include "core/resample.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "core/axis_resampler.h"
#include "core/voxels.h"

namespace mdr {
namespace {

using Axis = std::unique_ptr<AxisResampler>;

// Null where an axis keeps its voxels.
struct Axes {
  Axis z, y, x;
};

template <typename Make>
Axes make_axes(const VolumeShape& from, const VolumeShape& to, const Make& make) {
  const auto axis = [&](int n, int m) { return n == m ? nullptr : make(n, m); };
  return {axis(from.nz, to.nz), axis(from.ny, to.ny), axis(from.nx, to.nx)};
}

int size_after(const Axis& axis, int n) { return axis ? axis->to() : n; }

// Whether results replace what is in the output or are added to it.
enum class Store { replace, add };

void store(const float* from, int count, Store how, float* to) {
  if (how == Store::replace) {
    std::copy_n(from, count, to);
  } else {
    for (int i = 0; i < count; ++i) to[i] += from[i];
  }
}

// The working memory of one thread on one axis.
class Lanes {
 public:
  explicit Lanes(const AxisResampler& axis)
      : axis_(axis),
        in_(int64_t{axis.from()} * kLanes),
        out_(int64_t{axis.to()} * kLanes),
        scratch_(axis.scratch()) {}

  // Along the slow axis of a matrix of `columns`: columns [begin, end) of (from, columns) into
  // those of (to, columns). `begin` is a multiple of kLanes.
  void columns(const float* in, int64_t columns, int64_t begin, int64_t end, Store how,
               float* out) {
    for (int64_t c = begin; c < end; c += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, end - c));
      for (int i = 0; i < axis_.from(); ++i) {
        float* lane = in_.data() + int64_t{i} * kLanes;
        std::copy_n(in + i * columns + c, count, lane);
        std::fill(lane + count, lane + kLanes, 0.0f);
      }
      axis_.run(in_.data(), out_.data(), scratch_.data());
      for (int j = 0; j < axis_.to(); ++j) {
        store(out_.data() + int64_t{j} * kLanes, count, how, out + j * columns + c);
      }
    }
  }

  // Along the fast axis: `rows` rows of (rows, from) into those of (rows, to).
  void rows(const float* in, int rows, Store how, float* out) {
    const int64_t n = axis_.from(), m = axis_.to();
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, rows - r));
      for (int l = 0; l < kLanes; ++l) {
        const float* row = in + (r + std::min(l, count - 1)) * n;
        for (int64_t i = 0; i < n; ++i) in_[i * kLanes + l] = l < count ? row[i] : 0.0f;
      }
      axis_.run(in_.data(), out_.data(), scratch_.data());
      for (int l = 0; l < count; ++l) {
        float* row = out + (r + l) * m;
        if (how == Store::replace) {
          for (int64_t j = 0; j < m; ++j) row[j] = out_[j * kLanes + l];
        } else {
          for (int64_t j = 0; j < m; ++j) row[j] += out_[j * kLanes + l];
        }
      }
    }
  }

 private:
  const AxisResampler& axis_;
  std::vector<float> in_, out_, scratch_;
};

// Slices of (count, ny, nx) along y and x, each while it is in the cache.
class SliceStage {
 public:
  SliceStage(const Axes& axes, int ny, int nx)
      : axes_(axes), ny_(ny), nx_(nx), my_(size_after(axes.y, ny)), mx_(size_after(axes.x, nx)) {}

  void run(Parallel& parallel, const float* in, int count, Store how, float* out) const {
    parallel.ranges(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t z = begin; z < end; ++z) {
        one(in + z * ny_ * nx_, how, out + z * my_ * mx_);
      }
    });
  }

 private:
  void one(const float* in, Store how, float* out) const {
    if (!axes_.y && !axes_.x) return store_whole(in, how, out);
    if (!axes_.y) return Lanes(*axes_.x).rows(in, ny_, how, out);
    if (!axes_.x) return Lanes(*axes_.y).columns(in, nx_, 0, nx_, how, out);
    // The order that keeps what is in between small.
    if (ny_ * mx_ <= my_ * nx_) {
      std::vector<float> between(ny_ * mx_);
      Lanes(*axes_.x).rows(in, static_cast<int>(ny_), Store::replace, between.data());
      Lanes(*axes_.y).columns(between.data(), mx_, 0, mx_, how, out);
    } else {
      std::vector<float> between(my_ * nx_);
      Lanes(*axes_.y).columns(in, nx_, 0, nx_, Store::replace, between.data());
      Lanes(*axes_.x).rows(between.data(), static_cast<int>(my_), how, out);
    }
  }

  void store_whole(const float* in, Store how, float* out) const {
    for (int64_t y = 0; y < ny_; ++y) {
      store(in + y * nx_, static_cast<int>(nx_), how, out + y * nx_);
    }
  }

  const Axes& axes_;
  int64_t ny_, nx_, my_, mx_;
};

void along_z(Parallel& parallel, const AxisResampler& axis, const float* in, int64_t slice,
             Store how, float* out) {
  constexpr int64_t kGrain = 32 * kLanes;
  parallel.ranges(slice, kGrain, [&](int64_t begin, int64_t end) {
    Lanes(axis).columns(in, slice, begin, end, how, out);
  });
}

void resample(Parallel& parallel, const Axes& axes, const float* in, const VolumeShape& shape,
              Store how, float* out) {
  const SliceStage slices(axes, shape.ny, shape.nx);
  if (!axes.z) return slices.run(parallel, in, shape.nz, how, out);
  const VolumeShape slices_done{shape.nz, size_after(axes.y, shape.ny),
                                size_after(axes.x, shape.nx)};
  if (!axes.y && !axes.x) return along_z(parallel, *axes.z, in, shape.slice(), how, out);
  const VolumeShape z_done{axes.z->to(), shape.ny, shape.nx};
  if (z_done.voxels() < slices_done.voxels()) {
    const Voxels between(z_done);
    along_z(parallel, *axes.z, in, shape.slice(), Store::replace, between.data());
    slices.run(parallel, between.data(), z_done.nz, how, out);
  } else {
    const Voxels between(slices_done);
    slices.run(parallel, in, shape.nz, Store::replace, between.data());
    along_z(parallel, *axes.z, between.data(), slices_done.slice(), how, out);
  }
}

}  // namespace

void interpolate(Parallel& parallel, const float* volume, const VolumeShape& shape, float* out,
                 const VolumeShape& out_shape) {
  const Axes axes = make_axes(shape, out_shape, [](int n, int m) {
    return m > n ? cubic_spline(n, m) : kspace_band(n, m);
  });
  resample(parallel, axes, volume, shape, Store::replace, out);
}

void resample_kspace(Parallel& parallel, const float* volume, const VolumeShape& shape, float* out,
                     const VolumeShape& out_shape) {
  resample(parallel, make_axes(shape, out_shape, kspace_band), volume, shape, Store::replace, out);
}

void add_resampled_kspace(Parallel& parallel, const float* volume, const VolumeShape& shape,
                          float* out, const VolumeShape& out_shape) {
  resample(parallel, make_axes(shape, out_shape, kspace_band), volume, shape, Store::add, out);
}

}  // namespace mdr
