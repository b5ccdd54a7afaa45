#include "core/planes.h"

#include <algorithm>
#include <utility>

#include "core/transpose.h"
#include "core/voxels.h"

namespace mdr {
namespace {

Foreground seen_in_plane(const Foreground& foreground, int plane) {
  Foreground seen = foreground;
  seen.shape = mdr::seen_in_plane(foreground.shape, plane);
  seen.blocks = mdr::seen_in_plane(foreground.blocks, plane);
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

void add(const EnhanceReport& one, EnhanceReport& all) {
  all.tile = one.tile;
  all.tiles += one.tiles;
  all.expert_calls += one.expert_calls;
  all.expert_calls_saved += one.expert_calls_saved;
  for (const auto& [stage, seconds] : one.seconds) all.seconds[stage] += seconds;
}

}  // namespace

VolumeShape seen_in_plane(const VolumeShape& shape, int plane) {
  VolumeShape seen = shape;
  if (plane == 1) std::swap(seen.nz, seen.ny);
  if (plane == 2) std::swap(seen.nz, seen.nx);
  return seen;
}

uint64_t plane_seed(uint64_t seed, int plane) {
  return seed ^ (static_cast<uint64_t>(plane) * 0x9E3779B97F4A7C15);
}

PlaneBoxes boxes_in_planes(const Foreground& foreground, const VolumeShape& output, int planes) {
  PlaneBoxes boxes;
  for (int plane = 0; plane < planes; ++plane) {
    boxes.push_back(seen_in_plane(foreground, plane).boxes(seen_in_plane(output, plane)));
  }
  return boxes;
}

EnhanceReport enhance_in_planes(const Model& model, Parallel& parallel, const float* volume,
                                const VolumeShape& shape, const PlaneBoxes& boxes,
                                const EnhanceOptions& options, float* out, uint8_t* gates,
                                const EnhanceObserver& observer) {
  const int planes = static_cast<int>(boxes.size());
  int total = 0, before = 0, told = -1;
  for (int plane = 0; plane < planes; ++plane) {
    total += count_tiles(model, seen_in_plane(shape, plane), boxes[plane]);
  }
  EnhanceReport report;
  const auto run = [&](int plane, const float* from, float* to, uint8_t* to_gates) {
    EnhanceOptions own = options;
    own.seed = plane_seed(options.seed, plane);
    EnhanceObserver watching = observer;
    if (observer.progress) {
      watching.progress = [&](int done, int) {
        if (before + done <= told) return;  // a plane begins where the last one ended
        told = before + done;
        observer.progress(told, total);
      };
    }
    const EnhanceReport one = enhance(model, from, seen_in_plane(shape, plane), boxes[plane], own,
                                      to, to_gates, watching);
    before += one.tiles;
    add(one, report);
  };
  std::vector<Voxels> others;
  for (int plane = planes - 1; plane > 0; --plane) {
    others.push_back(turned_to_plane(parallel, volume, shape, plane));
    run(plane, others.back().data(), others.back().data(), nullptr);
  }
  run(0, volume, out, gates);  // the last one, since `out` may be `volume`
  for (int plane = 1; plane < planes; ++plane) {
    const bool last = plane + 1 == planes;
    const float share = 1.0f / static_cast<float>(planes);
    rows_from_plane(parallel, others.back(), plane, [&](int64_t z, int64_t y, const float* row) {
      float* to = out + z * shape.slice() + y * shape.nx;
      for (int x = 0; x < shape.nx; ++x) to[x] = last ? (to[x] + row[x]) * share : to[x] + row[x];
    });
    others.pop_back();
  }
  return report;
}

}  // namespace mdr
