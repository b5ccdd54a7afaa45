#include "core/bundle.h"

#include <pybind11/stl.h>

#include <tuple>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace mdr::bindings {

void bind_bundle(py::module_& m) {
  py::class_<ModuleFile>(m, "ModuleFile", "One ONNX file of a bundle.")
      .def_readonly("name", &ModuleFile::name)
      .def_readonly("file", &ModuleFile::file)
      .def_readonly("sha256", &ModuleFile::sha256)
      .def_readonly("bytes", &ModuleFile::bytes);

  py::class_<SamplerSettings>(m, "SamplerSettings", "A bundle's default sampler.")
      .def_readonly("method", &SamplerSettings::method)
      .def_readonly("start", &SamplerSettings::start)
      .def_readonly("steps", &SamplerSettings::steps)
      .def_readonly("start_timestep", &SamplerSettings::start_timestep)
      .def_readonly("eta", &SamplerSettings::eta)
      .def_readonly("planes", &SamplerSettings::planes);

  py::class_<Bundle>(m, "Bundle", "A verified bundle.")
      .def_property_readonly("path", [](const Bundle& b) { return b.path.string(); })
      .def_readonly("name", &Bundle::name)
      .def_readonly("hash", &Bundle::hash)
      .def_readonly("json", &Bundle::json)
      .def_readonly("format_version", &Bundle::format_version)
      .def_property_readonly(
          "tile",
          [](const Bundle& b) { return std::tuple(b.tile_height, b.tile_width, b.tile_slices); })
      .def_property_readonly(
          "smallest_tile",
          [](const Bundle& b) { return std::tuple(b.smallest_tile.height, b.smallest_tile.width); })
      .def_property_readonly(
          "tile_pitch",
          [](const Bundle& b) { return std::tuple(b.tile_pitch.height, b.tile_pitch.width); })
      .def_property_readonly("latent",
                             [](const Bundle& b) {
                               return std::tuple(b.latent_channels, b.latent_height,
                                                 b.latent_width);
                             })
      .def_property_readonly(
          "gate",
          [](const Bundle& b) { return std::tuple(b.experts, b.gate_height, b.gate_width); })
      .def_readonly("expert_names", &Bundle::expert_names)
      .def_readonly("alphas_cumprod", &Bundle::alphas_cumprod)
      .def_readonly("sampler", &Bundle::sampler)
      .def_readonly("percentile", &Bundle::percentile)
      .def_readonly("intensity_value", &Bundle::intensity_value)
      .def_readonly("gate_threshold", &Bundle::gate_threshold)
      .def_readonly("tile_overlap", &Bundle::tile_overlap)
      .def_readonly("output_min_mm", &Bundle::output_min_mm)
      .def_readonly("output_max_mm", &Bundle::output_max_mm)
      .def_readonly("input_min_mm", &Bundle::input_min_mm)
      .def_readonly("input_max_mm", &Bundle::input_max_mm)
      .def_readonly("modules", &Bundle::modules)
      .def_readonly("int8_modules", &Bundle::int8_modules);

  m.def(
      "load_bundle", [](const std::string& path) { return load_bundle(path); }, py::arg("path"),
      py::call_guard<py::gil_scoped_release>(), "Read and verify a bundle folder.");
}

}  // namespace mdr::bindings
