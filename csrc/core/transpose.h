#pragma once

#include <cstdint>

namespace mdr {

// (rows, columns), whose rows are `from_row` apart, into (columns, rows), whose rows are `to_row`
// apart.
void transpose(const float* from, int64_t rows, int64_t columns, int64_t from_row, int64_t to_row,
               float* to);

}  // namespace mdr
