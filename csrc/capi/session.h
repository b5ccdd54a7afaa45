#pragma once

#include <atomic>
#include <memory>

#include "capi/engine.h"
#include "moediff_rt.h"

struct mdr_session {
  std::shared_ptr<mdr::capi::LoadedEngine> loaded;
  mutable std::atomic<bool> busy{false};
  mdr_report report{};  // of the last run that went well; struct_size 0 before
};
