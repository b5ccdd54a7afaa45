#include "bindings/arrays.h"

#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

std::string dims_text(const std::vector<int64_t>& dims) {
  std::string out;
  for (const int64_t dim : dims) {
    out += (out.empty() ? "" : ", ") + (dim < 0 ? std::string("any") : std::to_string(dim));
  }
  return "(" + out + ")";
}

std::string found_text(const py::object& value) {
  if (!py::isinstance<py::array>(value)) {
    return py::str(py::type::of(value).attr("__name__")).cast<std::string>();
  }
  const py::array array = py::reinterpret_borrow<py::array>(value);
  const bool contiguous = array.flags() & py::array::c_style;
  std::vector<int64_t> dims(array.shape(), array.shape() + array.ndim());
  return py::str(array.dtype()).cast<std::string>() + " " + dims_text(dims) +
         (contiguous ? "" : " not C-contiguous");
}

bool fits(const py::array& array, const std::vector<int64_t>& dims) {
  if (array.ndim() != static_cast<py::ssize_t>(dims.size())) return false;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] >= 0 && array.shape(i) != dims[i]) return false;
  }
  return true;
}

}  // namespace

template <typename T>
py::array_t<T> checked_array(const py::object& value, const char* where, const std::string& name,
                             const std::vector<int64_t>& dims) {
  using Array = py::array_t<T, py::array::c_style>;
  if (py::isinstance<Array>(value) && fits(py::reinterpret_borrow<py::array>(value), dims)) {
    return py::reinterpret_borrow<py::array_t<T>>(value);
  }
  const std::string dtype = py::str(py::dtype::of<T>()).cast<std::string>();
  fail(ErrorKind::input, where, ": expected ", name, " as a C-contiguous ", dtype, " array ",
       dims_text(dims), ", found ", found_text(value),
       "; another dtype, shape or memory order was probably passed; give it in that shape through ",
       "numpy.ascontiguousarray(", name, ", dtype=numpy.", dtype, ")");
}

template py::array_t<float> checked_array<float>(const py::object&, const char*, const std::string&,
                                                 const std::vector<int64_t>&);
template py::array_t<int32_t> checked_array<int32_t>(const py::object&, const char*,
                                                     const std::string&,
                                                     const std::vector<int64_t>&);

std::vector<Box> boxes_of(const py::array_t<int32_t>& array) {
  std::vector<Box> boxes(array.shape(0));
  for (size_t z = 0; z < boxes.size(); ++z) {
    boxes[z] = {array.at(z, 0), array.at(z, 1), array.at(z, 2), array.at(z, 3)};
  }
  return boxes;
}

}  // namespace mdr::bindings
