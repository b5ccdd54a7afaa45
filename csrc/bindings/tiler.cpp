#include "core/tiler.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/volumes.h"
#include "core/error.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

using Pair = std::tuple<int, int>;

TileSize size_of(Pair pair) { return {std::get<0>(pair), std::get<1>(pair)}; }

std::vector<Pair> fit(std::tuple<int, int, int> shape, const py::object& boxes, Pair smallest,
                      Pair largest, Pair pitch, int overlap, Pair align) {
  const auto [nz, ny, nx] = shape;
  const auto array = checked_array<int32_t>(boxes, "fit_tiles", "boxes", {nz, 4});
  const TileSizes sizes{size_of(smallest), size_of(largest), size_of(pitch)};
  if (sizes.pitch.height < 1 || sizes.pitch.width < 1) {
    fail(ErrorKind::input, "fit_tiles: expected a pitch of 1 or more, found ", sizes.pitch.height,
         " and ", sizes.pitch.width, "; probably mistyped; give the bundle's tile_pitch");
  }
  if (sizes.smallest.height > sizes.largest.height || sizes.smallest.width > sizes.largest.width) {
    fail(ErrorKind::input, "fit_tiles: expected a smallest tile no larger than the largest, found ",
         sizes.smallest.height, " x ", sizes.smallest.width, " and ", sizes.largest.height, " x ",
         sizes.largest.width, "; the two are probably swapped; give the bundle's");
  }
  const TileSpacing spacing{overlap, std::get<0>(align), std::get<1>(align)};
  return pairs_of(fit_tiles({nz, ny, nx}, boxes_of(array), sizes, spacing));
}

}  // namespace

void bind_tiler(py::module_& m) {
  m.def("tile_starts", &tile_starts, py::arg("n"), py::arg("lo"), py::arg("hi"), py::arg("tile"),
        py::arg("overlap"), py::arg("align"), "Tile starts that cover [lo, hi) of an axis.");
  m.def("fit_tiles", &fit, py::arg("shape"), py::arg("boxes"), py::kw_only(), py::arg("smallest"),
        py::arg("largest"), py::arg("pitch"), py::arg("overlap"), py::arg("align"),
        "The size of each slice's tiles.");
}

}  // namespace mdr::bindings
