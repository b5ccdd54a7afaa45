#include "capi/turn.h"

#include <algorithm>
#include <chrono>

#include "backends/gpu.h"

namespace mdr::capi {
namespace {

constexpr std::chrono::milliseconds kLookEvery{100};

}  // namespace

Turn::Turn(LoadedEngine& engine, const Watch& watch)
    : engine_(engine), gpu_(dynamic_cast<const GpuDevice*>(&engine.model->device()) != nullptr) {
  std::unique_lock<std::mutex> lock(engine.mutex);
  while (gpu_ && engine.runs > 0) {
    engine.changed.wait_for(lock, kLookEvery);
    lock.unlock();
    watch.look();
    lock.lock();
  }
  ++engine.runs;
  const int threads = engine.model->device().threads();
  threads_ = std::max(1, threads / engine.runs);
}

Turn::~Turn() {
  const std::lock_guard<std::mutex> lock(engine_.mutex);
  --engine_.runs;
  engine_.changed.notify_all();
}

}  // namespace mdr::capi
