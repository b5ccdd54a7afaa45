#include "capi/engine.h"

#include <chrono>
#include <limits>
#include <string>
#include <utility>

#include "backends/registry.h"
#include "capi/engines_folder.h"
#include "capi/params.h"
#include "capi/status.h"
#include "core/bundle.h"
#include "core/load_model.h"

namespace mdr::capi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kLoad = "mdr_engine_load";

const char* or_auto(const char* word) { return word && *word ? word : "auto"; }

DeviceRequest request_of(const mdr_engine_params& params, const Bundle& bundle, const Log& log) {
  DeviceRequest request;
  request.int8_there = !bundle.int8_modules.empty();
  request.device = or_auto(params.device);
  request.precision = or_auto(params.precision);
  request.threads = params.threads;
  request.engines_dir = params.engines_dir ? params.engines_dir : engines_folder();
  if (request.engines_dir.empty() && !params.engines_dir) {
    log(MDR_LOG_WARNING,
        "engines: expected a home folder to keep them in, found no HOME in the "
        "environment; they are built again each time; give engines_dir");
  }
  request.memory_limit = static_cast<int64_t>(params.memory_limit);
  return request;
}

void check_asked(const mdr_engine_params& params) {
  if (params.memory_limit > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    refuse(MDR_INVALID_ARGUMENT, kLoad, ": expected a memory limit below 2^63 bytes, found ",
           params.memory_limit, "; probably a negative number; give bytes, or 0 for no limit");
  }
  if (params.log_level < MDR_LOG_DEBUG || params.log_level > MDR_LOG_NONE) {
    refuse(MDR_INVALID_ARGUMENT, kLoad, ": expected a log level from ", int{MDR_LOG_DEBUG}, " to ",
           int{MDR_LOG_NONE}, ", found ", params.log_level,
           "; probably never set; start from mdr_engine_default_params()");
  }
}

mdr_engine* load(const char* folder, const mdr_engine_params& params, const Log& log) {
  const auto begin = Clock::now();
  const auto go_on = [&] {
    if (!params.cancel || params.cancel(params.user_data) == 0) return;
    fail(ErrorKind::cancelled, kLoad,
         ": expected to finish, but cancel() asked to stop; call again for an engine");
  };
  go_on();
  const Bundle bundle = load_bundle(folder);
  log(MDR_LOG_DEBUG, "bundle ", bundle.name, ": ", bundle.hash, " in ", folder);
  const auto open = [backend = std::string(or_auto(params.backend)),
                     request = request_of(params, bundle, log)] {
    return open_device(backend, request);
  };
  std::shared_ptr<const Model> model =
      load_model(bundle, open, [&](const EngineReport& report) { tell(log, report); }, go_on);
  log(MDR_LOG_INFO, "engine: ", model->bundle().name, " on ", model->device().backend(), " ",
      model->device().name(), " ", model->device().precision(), ", ready in ",
      seconds_text(std::chrono::duration<double>(Clock::now() - begin).count()));
  return make_engine(std::move(model), static_cast<int64_t>(params.memory_limit), log);
}

}  // namespace

mdr_engine* make_engine(std::shared_ptr<const Model> model, int64_t memory_limit, Log log) {
  auto loaded = std::make_shared<LoadedEngine>();
  loaded->model = std::move(model);
  loaded->memory_limit = memory_limit;
  loaded->log = log;
  return new mdr_engine{std::move(loaded)};
}

}  // namespace mdr::capi

extern "C" {

mdr_status mdr_engine_load(const char* bundle, const mdr_engine_params* params,
                           mdr_engine** engine) {
  using namespace mdr::capi;
  if (engine) *engine = nullptr;
  Log log;
  const mdr_status status = guarded([&] {
    need(engine, kLoad, "engine");
    need(bundle, kLoad, "bundle");
    const mdr_engine_params asked = taken(kLoad, params);
    check_asked(asked);
    log = {asked.log, asked.log_level, asked.user_data};
    *engine = load(bundle, asked, log);
  });
  if (status != MDR_OK) log(MDR_LOG_ERROR, mdr_last_error());
  return status;
}

void mdr_engine_free(mdr_engine* engine) { delete engine; }

mdr_status mdr_engine_describe(const mdr_engine* engine, mdr_engine_info* info) {
  using namespace mdr::capi;
  return guarded([&] {
    need(engine, "mdr_engine_describe", "engine");
    const mdr::Model& model = *engine->loaded->model;
    const mdr::Bundle& bundle = model.bundle();
    mdr_engine_info filled{};
    filled.bundle_name = bundle.name.c_str();
    filled.bundle_hash = bundle.hash.c_str();
    filled.backend = model.device().backend().c_str();
    filled.device = model.device().name().c_str();
    filled.precision = model.device().precision().c_str();
    filled.threads = model.device().threads();
    filled.default_steps = bundle.sampler.steps;
    filled.default_planes = bundle.sampler.planes;
    filled.input_min_mm = bundle.input_min_mm;
    filled.input_max_mm = bundle.input_max_mm;
    filled.output_min_mm = bundle.output_min_mm;
    filled.output_max_mm = bundle.output_max_mm;
    give("mdr_engine_describe", "info", filled, kFirstEngineInfo, info);
  });
}

}  // extern "C"
