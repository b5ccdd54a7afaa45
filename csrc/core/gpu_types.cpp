#include "core/gpu_types.h"

#include "backends/gpu.h"
#include "core/error.h"

namespace mdr {
namespace {

const char* name_of(ExpertType type) {
  switch (type) {
    case ExpertType::float16:
      return "float16";
    case ExpertType::bfloat16:
      return "bfloat16";
    case ExpertType::float32:
      break;
  }
  return "float32";
}

void expect(const Engine& engine, const std::string& tensor, ExpertType found, ExpertType wanted) {
  if (found == wanted) return;
  fail(ErrorKind::bundle, "model: expected ", tensor, " of ", engine.report().module, " in ",
       name_of(wanted), ", found ", name_of(found),
       "; the engines were probably built for different precisions; build them again");
}

}  // namespace

void check_gpu_types(const Model& model) {
  const ExpertType full = ExpertType::float32;
  const auto on_gpu = [](const Engine& engine) -> const GpuEngine& {
    return static_cast<const GpuEngine&>(engine);
  };
  const GpuEngine& conditioner = on_gpu(model.conditioner());
  const ExpertType low = on_gpu(model.expert(0)).input_types()[0];
  const ExpertType tokens = conditioner.output_types()[1];
  for (const auto& engine : model.engines()) {
    const GpuEngine& e = on_gpu(*engine);
    const bool expert = e.inputs().size() == 3;
    for (size_t i = 0; i < e.inputs().size(); ++i) {
      const std::string& name = e.inputs()[i].name;
      const bool is_tokens = name == "tokens";
      expect(e, name, e.input_types()[i], is_tokens ? tokens : expert && i < 2 ? low : full);
    }
    for (size_t i = 0; i < e.outputs().size(); ++i) {
      const std::string& name = e.outputs()[i].name;
      const bool is_low = expert || name == "z_c";
      expect(e, name, e.output_types()[i], name == "tokens" ? tokens : is_low ? low : full);
    }
  }
}

}  // namespace mdr
