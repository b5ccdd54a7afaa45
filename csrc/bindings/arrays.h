#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/tiler.h"

namespace mdr::bindings {

// Checks that `value` is a C-contiguous array of T with these dimensions (-1: any), and throws an
// Error(ErrorKind::input) that names `where` and `name` otherwise. Nothing is copied.
template <typename T>
pybind11::array_t<T> checked_array(const pybind11::object& value, const char* where,
                                   const std::string& name, const std::vector<int64_t>& dims);

extern template pybind11::array_t<float> checked_array<float>(const pybind11::object&, const char*,
                                                              const std::string&,
                                                              const std::vector<int64_t>&);
extern template pybind11::array_t<int32_t> checked_array<int32_t>(const pybind11::object&,
                                                                  const char*, const std::string&,
                                                                  const std::vector<int64_t>&);

// Rows [y0, y1, x0, x1) of a checked (nz, 4) array.
std::vector<Box> boxes_of(const pybind11::array_t<int32_t>& array);

}  // namespace mdr::bindings
