#include "core/block_mask.h"

#include <algorithm>

namespace mdr {
namespace {

struct Cell {
  int z, y, x;
};

int64_t index_of(const VolumeShape& shape, const Cell& cell) {
  return (int64_t{cell.z} * shape.ny + cell.y) * shape.nx + cell.x;
}

// Labels every cell that is connected with `start` through cells where mask is `value`; returns how
// many. Cells with a label are not visited again.
int64_t flood(const BlockMask& mask, const VolumeShape& shape, uint8_t value, const Cell& start,
              int label, std::vector<int>& labels) {
  std::vector<Cell> pending;
  int64_t count = 0;
  const auto visit = [&](const Cell& cell) {
    if (cell.z < 0 || cell.z >= shape.nz || cell.y < 0 || cell.y >= shape.ny || cell.x < 0 ||
        cell.x >= shape.nx) {
      return;
    }
    const int64_t at = index_of(shape, cell);
    if (mask[at] != value || labels[at] != 0) return;
    labels[at] = label;
    ++count;
    pending.push_back(cell);
  };
  visit(start);
  while (!pending.empty()) {
    const Cell at = pending.back();
    pending.pop_back();
    for (const int step : {-1, 1}) {
      visit({at.z + step, at.y, at.x});
      visit({at.z, at.y + step, at.x});
      visit({at.z, at.y, at.x + step});
    }
  }
  return count;
}

template <typename Body>
void for_each_cell(const VolumeShape& shape, const Body& body) {
  for (int z = 0; z < shape.nz; ++z) {
    for (int y = 0; y < shape.ny; ++y) {
      for (int x = 0; x < shape.nx; ++x) body(Cell{z, y, x});
    }
  }
}

// One line of `n` cells, `apart` from each other.
void grow_line(uint8_t* line, int n, int64_t apart, int margin) {
  std::vector<uint8_t> wide(n);
  for (int i = 0; i < n; ++i) {
    if (!line[i * apart]) continue;
    const int end = std::min(n - 1, i + margin);
    for (int j = std::max(0, i - margin); j <= end; ++j) wide[j] = 1;
  }
  for (int i = 0; i < n; ++i) line[i * apart] = wide[i];
}

}  // namespace

void drop_specks(BlockMask& mask, const VolumeShape& shape, double share) {
  std::vector<int> labels(mask.size());
  std::vector<int64_t> sizes{0};
  for_each_cell(shape, [&](const Cell& cell) {
    const int label = static_cast<int>(sizes.size());
    const int64_t count = flood(mask, shape, 1, cell, label, labels);
    if (count > 0) sizes.push_back(count);
  });
  const auto largest = static_cast<double>(*std::max_element(sizes.begin(), sizes.end()));
  for (size_t i = 0; i < mask.size(); ++i) {
    if (static_cast<double>(sizes[labels[i]]) < share * largest) mask[i] = 0;
  }
}

void fill_holes(BlockMask& mask, const VolumeShape& shape) {
  std::vector<int> outside(mask.size());
  for_each_cell(shape, [&](const Cell& cell) {
    const bool at_border = cell.z == 0 || cell.z == shape.nz - 1 || cell.y == 0 ||
                           cell.y == shape.ny - 1 || cell.x == 0 || cell.x == shape.nx - 1;
    if (at_border) flood(mask, shape, 0, cell, 1, outside);
  });
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = outside[i] == 0;
}

BlockMask grown(const BlockMask& mask, const VolumeShape& shape, const std::array<int, 3>& margin) {
  BlockMask wide = mask;
  for_each_cell(shape, [&](const Cell& cell) {
    uint8_t* line = wide.data() + index_of(shape, cell);
    if (cell.z == 0) grow_line(line, shape.nz, shape.slice(), margin[0]);
  });
  for_each_cell(shape, [&](const Cell& cell) {
    uint8_t* line = wide.data() + index_of(shape, cell);
    if (cell.y == 0) grow_line(line, shape.ny, shape.nx, margin[1]);
  });
  for_each_cell(shape, [&](const Cell& cell) {
    uint8_t* line = wide.data() + index_of(shape, cell);
    if (cell.x == 0) grow_line(line, shape.nx, 1, margin[2]);
  });
  return wide;
}

}  // namespace mdr
