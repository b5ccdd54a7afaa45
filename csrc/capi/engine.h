#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "capi/log.h"
#include "core/model.h"
#include "moediff_rt.h"

namespace mdr::capi {

// What an engine and its sessions share, freed with the last of them.
struct LoadedEngine {
  std::shared_ptr<const Model> model;
  int64_t memory_limit = 0;
  Log log;
  std::atomic<int> runs{0};  // mdr_enhance() calls under way
};

// For mdr_engine_load(), and for tests that bring a device of their own.
mdr_engine* make_engine(std::shared_ptr<const Model> model, int64_t memory_limit, Log log);

}  // namespace mdr::capi

struct mdr_engine {
  std::shared_ptr<mdr::capi::LoadedEngine> loaded;
};
