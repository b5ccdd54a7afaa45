#include "core/planes.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/transpose.h"
#include "core/voxels.h"

namespace mdr {
namespace {

// Edges that differ by less are alike: a scanner's are not exact.
constexpr double kSameEdge = 1.01;
// Of the coarsest edge to the finest: below, a second plane gains. At it that depends on the size
// of the voxel; beyond, it gained next to nothing over slices along the coarsest edge alone, or
// lost (docs/training/README.md).
constexpr double kThick = 1.2;

std::vector<int> coarsest_first(const std::array<double, 3>& spacing_mm) {
  std::vector<int> left = {0, 1, 2}, order;
  while (!left.empty()) {
    double most = 0;
    for (const int axis : left) most = std::max(most, spacing_mm[axis]);
    const auto next = std::find_if(left.begin(), left.end(),
                                   [&](int axis) { return spacing_mm[axis] * kSameEdge >= most; });
    order.push_back(*next);
    left.erase(next);
  }
  return order;
}

Flip seen_in_plane(const Flip& flip, int plane) {
  std::array<bool, 3> axes{flip.z, flip.y, flip.x};
  std::swap(axes[0], axes[plane]);
  return {axes[0], axes[1], axes[2]};
}

Foreground foreground_in_plane(const Foreground& foreground, int plane) {
  Foreground seen = foreground;
  seen.shape = seen_in_plane(foreground.shape, plane);
  seen.blocks = seen_in_plane(foreground.blocks, plane);
  std::swap(seen.block[0], seen.block[plane]);
  int64_t from = 0;
  for (int z = 0; z < foreground.blocks.nz; ++z) {
    for (int y = 0; y < foreground.blocks.ny; ++y) {
      for (int x = 0; x < foreground.blocks.nx; ++x, ++from) {
        std::array<int, 3> at{z, y, x};
        std::swap(at[0], at[plane]);
        const int64_t to = at[0] * seen.blocks.slice() + int64_t{at[1]} * seen.blocks.nx + at[2];
        seen.inside[to] = foreground.inside[from];
        seen.reach[to] = foreground.reach[from];
      }
    }
  }
  return seen;
}

// Calls take(z, y, row) with each row of the volume whose slices along z are those of `turned`, the
// same seen in a plane.
template <typename Take>
void rows_from_plane(Parallel& parallel, const Voxels& turned, int plane, const Take& take) {
  const VolumeShape& from = turned.shape();
  const VolumeShape to = seen_in_plane(from, plane);
  if (plane == 1) {
    parallel.ranges(to.nz, 1, [&](int64_t z, int64_t) {
      for (int y = 0; y < to.ny; ++y) take(z, y, turned.slice(y) + z * from.nx);
    });
    return;
  }
  parallel.ranges(to.ny, 1, [&](int64_t y, int64_t) {
    std::vector<float> rows(int64_t{to.nz} * to.nx);
    transpose(turned.data() + y * from.nx, from.nz, from.nx, from.slice(), to.nx, rows.data());
    for (int64_t z = 0; z < to.nz; ++z) take(z, y, rows.data() + z * to.nx);
  });
}

Voxels turned_to_plane(Parallel& parallel, const float* volume, const VolumeShape& shape,
                       int plane) {
  Voxels turned(seen_in_plane(shape, plane));
  const VolumeShape& to = turned.shape();
  if (plane == 1) {
    parallel.ranges(to.nz, 1, [&](int64_t y, int64_t) {
      for (int64_t z = 0; z < to.ny; ++z) {
        std::copy_n(volume + z * shape.slice() + y * shape.nx, shape.nx,
                    turned.slice(static_cast<int>(y)) + z * to.nx);
      }
    });
  } else {
    parallel.ranges(shape.ny, 1, [&](int64_t y, int64_t) {
      transpose(volume + y * shape.nx, shape.nz, shape.nx, shape.slice(), to.slice(),
                turned.data() + y * to.nx);
    });
  }
  return turned;
}

// Gates of `experts` as (slices along the plane's axis, ...), back as (z, y, x), in place.
void turn_gates_back(Parallel& parallel, int experts, const VolumeShape& shape, int plane,
                     uint8_t* gates) {
  const VolumeShape from = seen_in_plane(shape, plane);
  std::vector<uint8_t> turned(shape.voxels());
  for (int i = 0; i < experts; ++i, gates += shape.voxels()) {
    std::copy_n(gates, shape.voxels(), turned.data());
    parallel.ranges(shape.nz, 1, [&](int64_t z, int64_t) {
      uint8_t* to = gates + z * shape.slice();
      for (int64_t y = 0; y < shape.ny; ++y) {
        for (int64_t x = 0; x < shape.nx; ++x) {
          const int64_t at =
              plane == 1 ? y * from.slice() + z * from.nx + x : x * from.slice() + y * from.nx + z;
          *to++ = turned[at];
        }
      }
    });
  }
}

void add(const EnhanceReport& one, EnhanceReport& all) {
  all.tiles += one.tiles;
  all.expert_calls += one.expert_calls;
  all.expert_calls_saved += one.expert_calls_saved;
  for (const auto& [stage, seconds] : one.seconds) all.seconds[stage] += seconds;
}

}  // namespace

int coarsest_axis(const std::array<double, 3>& spacing_mm) {
  return coarsest_first(spacing_mm).front();
}

bool has_thick_slices(const std::array<double, 3>& spacing_mm) {
  const auto [finest, coarsest] = std::minmax_element(spacing_mm.begin(), spacing_mm.end());
  return *coarsest >= kThick * *finest;
}

VolumeShape seen_in_plane(const VolumeShape& shape, int plane) {
  VolumeShape seen = shape;
  if (plane == 1) std::swap(seen.nz, seen.ny);
  if (plane == 2) std::swap(seen.nz, seen.nx);
  return seen;
}

std::vector<int> choose_planes(const Bundle& bundle, const std::array<double, 3>& spacing_mm,
                               const VolumeShape& output, int asked) {
  std::vector<int> planes = coarsest_first(spacing_mm);
  const auto large = [&](int plane) {
    const VolumeShape seen = seen_in_plane(output, plane);
    return 2 * seen.ny >= bundle.smallest_tile.height && 2 * seen.nx >= bundle.smallest_tile.width;
  };
  const auto end = std::stable_partition(planes.begin(), planes.end(), large);
  int usual = has_thick_slices(spacing_mm) ? 1 : bundle.sampler.planes;
  usual = std::max(1, std::min(usual, static_cast<int>(end - planes.begin())));
  planes.resize(asked > 0 ? asked : usual);
  return planes;
}

uint64_t plane_seed(uint64_t seed, int plane) {
  return seed ^ (static_cast<uint64_t>(plane) * 0x9E3779B97F4A7C15);
}

std::vector<Box> boxes_in_plane(const Foreground& foreground, const VolumeShape& output,
                                int plane) {
  return foreground_in_plane(foreground, plane).boxes(seen_in_plane(output, plane));
}

std::vector<std::vector<Box>> boxes_in_planes(const Foreground& foreground,
                                              const VolumeShape& output, const Flip& flip,
                                              const std::vector<int>& planes) {
  std::vector<std::vector<Box>> boxes;
  for (const int plane : planes) {
    boxes.push_back(flip_boxes(boxes_in_plane(foreground, output, plane),
                               seen_in_plane(output, plane), seen_in_plane(flip, plane)));
  }
  return boxes;
}

int count_tiles_in_planes(const Model& model, const VolumeShape& shape,
                          const std::vector<int>& planes,
                          const std::vector<std::vector<Box>>& boxes) {
  int total = 0;
  for (size_t i = 0; i < planes.size(); ++i) {
    total += count_tiles(model, seen_in_plane(shape, planes[i]), boxes[i]);
  }
  return total;
}

EnhanceReport enhance_in_planes(const Model& model, Parallel& parallel, const float* volume,
                                const VolumeShape& shape, const std::vector<int>& planes,
                                const std::vector<std::vector<Box>>& boxes,
                                const EnhanceOptions& options, float* out, uint8_t* gates,
                                const EnhanceObserver& observer) {
  const int total = count_tiles_in_planes(model, shape, planes, boxes);
  EnhanceReport report;
  const auto run = [&](size_t index, const float* from, float* to) {
    const int plane = planes[index];
    const bool first = index == 0;
    EnhanceOptions own = options;
    own.seed = plane_seed(options.seed, plane);
    EnhanceObserver watching = observer;
    if (observer.progress) {
      watching.progress = [&](int done, int) { observer.progress(report.tiles + done, total); };
    }
    const EnhanceReport one = enhance(model, from, seen_in_plane(shape, plane), boxes[index], own,
                                      to, first ? gates : nullptr, watching);
    if (first && gates && plane > 0) {
      turn_gates_back(parallel, model.bundle().experts, shape, plane, gates);
    }
    add(one, report);
    if (first) report.tile_sizes = one.tile_sizes;
  };
  std::map<int, Voxels> turned;
  size_t axial = planes.size();  // none
  for (size_t i = 0; i < planes.size(); ++i) {
    if (planes[i] == 0) {
      axial = i;
      continue;
    }
    Voxels& seen = turned[planes[i]] = turned_to_plane(parallel, volume, shape, planes[i]);
    run(i, seen.data(), seen.data());
  }
  size_t summed = planes.size() - turned.size();
  if (summed > 0) run(axial, volume, out);  // the last one, since `out` may be `volume`
  for (const auto& [plane, seen] : turned) {
    const bool first = summed++ == 0;
    const float scale = summed == planes.size() ? 1.0f / static_cast<float>(summed) : 1.0f;
    rows_from_plane(parallel, seen, plane, [&](int64_t z, int64_t y, const float* row) {
      float* to = out + z * shape.slice() + y * shape.nx;
      for (int x = 0; x < shape.nx; ++x) to[x] = (first ? row[x] : to[x] + row[x]) * scale;
    });
  }
  return report;
}

}  // namespace mdr
