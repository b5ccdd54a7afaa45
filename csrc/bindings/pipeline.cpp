#include "core/pipeline.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/observer.h"
#include "bindings/volumes.h"

namespace py = pybind11;

namespace mdr::bindings {
namespace {

struct ScanResult {
  py::array_t<float> volume;
  py::object gates = py::none();
  py::object deviation = py::none();
  PipelineReport report{};
};

ScanResult enhance_scan_array(const Model& model, const py::object& scan, const Triple& spacing,
                              double output_spacing, int steps, uint64_t seed, int samples,
                              int planes, bool data_consistency, double slice_profile,
                              bool save_gates, const py::object& progress, const py::object& cancel,
                              int64_t memory_limit, int threads) {
  const auto voxels = checked_array<float>(scan, "enhance_scan", "scan", {-1, -1, -1});
  const VolumeShape shape = volume_shape(voxels, "enhance_scan");
  const std::array<double, 3> edges{std::get<0>(spacing), std::get<1>(spacing),
                                    std::get<2>(spacing)};
  const VolumeShape to = output_shape(model.bundle(), shape, edges, output_spacing);
  ScanResult result{new_volume(to)};
  PipelineOutput out;
  out.volume = result.volume.mutable_data();
  if (save_gates) {
    py::array_t<uint8_t> gates({model.bundle().experts, to.nz, to.ny, to.nx});
    out.gates = gates.mutable_data();
    result.gates = std::move(gates);
  }
  if (samples > 1) {
    py::array_t<float> deviation = new_volume(to);
    out.deviation = deviation.mutable_data();
    result.deviation = std::move(deviation);
  }
  PipelineOptions options;
  options.sampling.steps = steps;
  options.sampling.seed = seed;
  options.output_spacing_mm = output_spacing;
  options.samples = samples;
  options.planes = planes;
  options.data_consistency = data_consistency;
  options.slice_profile = slice_profile;
  options.memory_limit = memory_limit;
  const EnhanceObserver observer = observer_of(progress, cancel);
  const float* from = voxels.data();
  const py::gil_scoped_release release;
  result.report = enhance_scan(model, from, shape, edges, options, out, observer, threads);
  return result;
}

py::dict seconds_of(const ScanResult& result) {
  py::dict seconds;
  for (const auto& [stage, spent] : result.report.seconds) seconds[py::str(stage)] = spent;
  return seconds;
}

Triple spacing_of(const ScanResult& result) {
  const auto [z, y, x] = result.report.spacing_mm;
  return {z, y, x};
}

}  // namespace

void bind_pipeline(py::module_& m) {
  py::class_<ScanResult>(m, "ScanResult", "What Model.enhance_scan returns.")
      .def_readonly("volume", &ScanResult::volume)
      .def_readonly("gates", &ScanResult::gates)
      .def_readonly("deviation", &ScanResult::deviation)
      .def_property_readonly("spacing", &spacing_of)
      .def_property_readonly("noise_sigma",
                             [](const ScanResult& r) { return r.report.noise_sigma; })
      .def_property_readonly("slice_profile",
                             [](const ScanResult& r) { return r.report.slice_profile; })
      .def_property_readonly("largest_correction",
                             [](const ScanResult& r) { return r.report.largest_correction; })
      .def_property_readonly("steps", [](const ScanResult& r) { return r.report.steps; })
      .def_property_readonly(
          "planes", [](const ScanResult& r) { return py::tuple(py::cast(r.report.planes)); })
      .def_property_readonly("tiles", [](const ScanResult& r) { return r.report.tiles; })
      .def_property_readonly("tile_sizes",
                             [](const ScanResult& r) { return pairs_of(r.report.tile_sizes); })
      .def_property_readonly("expert_calls",
                             [](const ScanResult& r) { return r.report.expert_calls; })
      .def_property_readonly("expert_calls_saved",
                             [](const ScanResult& r) { return r.report.expert_calls_saved; })
      .def_property_readonly("seconds", &seconds_of);

  py::class_<Model, std::shared_ptr<Model>> model(m.attr("Model"));
  model.def("enhance_scan", &enhance_scan_array, py::arg("scan"), py::arg("spacing"), py::kw_only(),
            py::arg("output_spacing") = 0.0, py::arg("steps") = 0, py::arg("seed") = 0,
            py::arg("samples") = 1, py::arg("planes") = 0, py::arg("data_consistency") = true,
            py::arg("slice_profile") = 0.0, py::arg("save_gates") = false,
            py::arg("progress") = py::none(), py::arg("cancel") = py::none(),
            py::arg("memory_limit") = 0, py::arg("threads") = 0);
}

}  // namespace mdr::bindings
