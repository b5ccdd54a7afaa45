#include "core/enhance.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/observer.h"
#include "bindings/volumes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

struct EnhanceResult {
  py::array_t<float> volume;
  py::object gates;
  EnhanceReport report;
};

EnhanceResult enhance_arrays(const Model& model, const py::object& volume, const py::object& boxes,
                             int steps, uint64_t seed, const std::string& method,
                             const std::string& start, int start_timestep, double gate_threshold,
                             int batch, bool save_gates, const py::object& progress,
                             const py::object& cancel) {
  const auto voxels = checked_array<float>(volume, "enhance", "volume", {-1, -1, -1});
  const auto box_array = checked_array<int32_t>(boxes, "enhance", "boxes", {-1, 4});
  const VolumeShape shape = volume_shape(voxels, "enhance");
  EnhanceResult result{new_volume(shape), py::none(), {}};
  uint8_t* gates = nullptr;
  if (save_gates) {
    py::array_t<uint8_t> array({model.bundle().experts, shape.nz, shape.ny, shape.nx});
    gates = array.mutable_data();
    result.gates = std::move(array);
  }
  const EnhanceOptions options{steps, seed, method, start, start_timestep, gate_threshold, batch};
  const EnhanceObserver observer = observer_of(progress, cancel);
  const std::vector<Box> box_list = boxes_of(box_array);
  const float* from = voxels.data();
  float* to = result.volume.mutable_data();
  const py::gil_scoped_release release;
  result.report = enhance(model, from, shape, box_list, options, to, gates, observer);
  return result;
}

}  // namespace

void bind_enhance(py::module_& m) {
  py::class_<EnhanceResult>(m, "EnhanceResult", "What Model.enhance returns.")
      .def_readonly("volume", &EnhanceResult::volume)
      .def_readonly("gates", &EnhanceResult::gates)
      .def_property_readonly("tiles", [](const EnhanceResult& r) { return r.report.tiles; })
      .def_property_readonly("tile_sizes",
                             [](const EnhanceResult& r) { return pairs_of(r.report.tile_sizes); })
      .def_property_readonly("expert_calls",
                             [](const EnhanceResult& r) { return r.report.expert_calls; })
      .def_property_readonly("expert_calls_saved",
                             [](const EnhanceResult& r) { return r.report.expert_calls_saved; })
      .def_property_readonly("seconds", [](const EnhanceResult& r) { return r.report.seconds; });

  py::class_<Model, std::shared_ptr<Model>> model(m.attr("Model"));
  model.def("enhance", &enhance_arrays, py::arg("volume"), py::arg("boxes"), py::kw_only(),
            py::arg("steps") = 0, py::arg("seed") = 0, py::arg("method") = "",
            py::arg("start") = "", py::arg("start_timestep") = -1, py::arg("gate_threshold") = -1.0,
            py::arg("batch") = 0, py::arg("save_gates") = false, py::arg("progress") = py::none(),
            py::arg("cancel") = py::none());
}

}  // namespace mdr::bindings
