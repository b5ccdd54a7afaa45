#include "core/resample.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "core/axis_resampler.h"
#include "core/transpose.h"
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

int64_t size_after(const Axis& axis, int64_t n) { return axis ? axis->to() : n; }

// Whether results replace what is in the output or are added to it.
enum class Store { replace, add };

inline void store(const float* from, int64_t count, Store how, float* to) {
  if (how == Store::replace) {
    std::copy_n(from, count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
  }
}

// At most kLanes floats; all of them as one vector.
void store_lanes(const float* from, int count, Store how, float* to) {
  if (count < kLanes) return store(from, count, how, to);
  const Vector16 all = *lanes_at<Vector16>(from, 0);
  Vector16* at = lanes_at<Vector16>(to, 0);
  *at = how == Store::replace ? all : *at + all;
}

// The working memory of one thread on one axis.
class Lanes {
 public:
  explicit Lanes(const AxisResampler& axis)
      : axis_(axis),
        in_(int64_t{axis.from()} * kLanes),
        out_(int64_t{axis.to()} * kLanes),
        rows_(int64_t{axis.to()} * kLanes),
        scratch_(axis.scratch()) {}

  // Along the slow axis of a matrix of `columns`: columns [begin, end) of (from, columns) into
  // those of (to, columns). `begin` is a multiple of kLanes.
  void columns(const float* in, int64_t columns, int64_t begin, int64_t end, Store how,
               float* out) {
    for (int64_t c = begin; c < end; c += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, end - c));
      load(in + c, columns, count);
      axis_.run(in_.data(), out_.data(), scratch_.data());
      for (int j = 0; j < axis_.to(); ++j) {
        store_lanes(out_.data() + int64_t{j} * kLanes, count, how, out + j * columns + c);
      }
    }
  }

  // Along the fast axis: `rows` rows of (rows, from) into those of (rows, to).
  void rows(const float* in, int64_t rows, Store how, float* out) {
    const int64_t n = axis_.from(), m = axis_.to();
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, rows - r));
      if (count < kLanes) std::fill(in_.begin(), in_.end(), 0.0f);
      transpose(in + r * n, count, n, n, kLanes, in_.data());
      axis_.run(in_.data(), out_.data(), scratch_.data());
      if (how == Store::replace) {
        transpose(out_.data(), m, count, kLanes, m, out + r * m);
      } else {
        transpose(out_.data(), m, count, kLanes, m, rows_.data());
        store(rows_.data(), count * m, how, out + r * m);
      }
    }
  }

 private:
  // `count` columns of a matrix whose rows are `apart`; zeros in the other lanes.
  void load(const float* in, int64_t apart, int count) {
    if (count < kLanes) std::fill(in_.begin(), in_.end(), 0.0f);
    for (int i = 0; i < axis_.from(); ++i) {
      float* lanes = in_.data() + int64_t{i} * kLanes;
      store_lanes(in + i * apart, count, Store::replace, lanes);
    }
  }

  const AxisResampler& axis_;
  std::vector<float> in_, out_, rows_, scratch_;
};

// One thread's slices, (ny, nx), along y and x: each while it is in the cache.
class Slices {
 public:
  Slices(const Axes& axes, int64_t ny, int64_t nx)
      : ny_(ny), nx_(nx), my_(size_after(axes.y, ny)), mx_(size_after(axes.x, nx)) {
    if (axes.y) along_y_.emplace(*axes.y);
    if (axes.x) along_x_.emplace(*axes.x);
    if (axes.y && axes.x) between_.resize(x_first() ? ny_ * mx_ : my_ * nx_);
  }

  void resample(const float* in, Store how, float* out) {
    if (!along_y_ && !along_x_) return store(in, ny_ * nx_, how, out);
    if (!along_y_) return along_x_->rows(in, ny_, how, out);
    if (!along_x_) return along_y_->columns(in, nx_, 0, nx_, how, out);
    if (x_first()) {
      along_x_->rows(in, ny_, Store::replace, between_.data());
      along_y_->columns(between_.data(), mx_, 0, mx_, how, out);
    } else {
      along_y_->columns(in, nx_, 0, nx_, Store::replace, between_.data());
      along_x_->rows(between_.data(), my_, how, out);
    }
  }

 private:
  // The order that keeps what is in between small.
  bool x_first() const { return ny_ * mx_ <= my_ * nx_; }

  int64_t ny_, nx_, my_, mx_;
  std::optional<Lanes> along_y_, along_x_;
  std::vector<float> between_;
};

void along_slices(Parallel& parallel, const Axes& axes, const float* in, const VolumeShape& shape,
                  Store how, float* out) {
  constexpr int64_t kGrain = 4;
  const int64_t out_slice = size_after(axes.y, shape.ny) * size_after(axes.x, shape.nx);
  parallel.ranges(shape.nz, kGrain, [&](int64_t begin, int64_t end) {
    Slices slices(axes, shape.ny, shape.nx);
    for (int64_t z = begin; z < end; ++z) {
      slices.resample(in + z * shape.slice(), how, out + z * out_slice);
    }
  });
}

void along_z(Parallel& parallel, const AxisResampler& axis, const float* in, int64_t slice,
             Store how, float* out) {
  constexpr int64_t kGrain = 32 * kLanes;
  parallel.ranges(slice, kGrain, [&](int64_t begin, int64_t end) {
    Lanes(axis).columns(in, slice, begin, end, how, out);
  });
}

void resample(Parallel& parallel, const Axes& axes, const float* in, const VolumeShape& shape,
              Store how, float* out) {
  if (!axes.z) return along_slices(parallel, axes, in, shape, how, out);
  if (!axes.y && !axes.x) return along_z(parallel, *axes.z, in, shape.slice(), how, out);
  const VolumeShape slices_done{shape.nz, static_cast<int>(size_after(axes.y, shape.ny)),
                                static_cast<int>(size_after(axes.x, shape.nx))};
  const VolumeShape z_done{axes.z->to(), shape.ny, shape.nx};
  if (z_done.voxels() < slices_done.voxels()) {
    const Voxels between(z_done);
    along_z(parallel, *axes.z, in, shape.slice(), Store::replace, between.data());
    along_slices(parallel, axes, between.data(), z_done, how, out);
  } else {
    const Voxels between(slices_done);
    along_slices(parallel, axes, in, shape, Store::replace, between.data());
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

void filter_kspace(Parallel& parallel, float* volume, const VolumeShape& shape, int axis,
                   const std::vector<double>& gains) {
  Axes axes;
  (axis == 0 ? axes.z : axis == 1 ? axes.y : axes.x) = kspace_gains(gains);
  // In place: lines along one axis are read before they are written.
  resample(parallel, axes, volume, shape, Store::replace, volume);
}

}  // namespace mdr
