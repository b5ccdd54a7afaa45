#include "core/fitted_models.h"

#include <algorithm>
#include <iterator>

#include "core/model.h"
#include "core/poll.h"

namespace mdr {
namespace {

// Heads of one protocol need the same sizes in each plane; each holds its engines' memory.
constexpr size_t kMostKept = kMostPlanes * kMostTileSizes;

}  // namespace

std::shared_ptr<const Model> FittedModels::get(TileSize size, const Build& build,
                                               const std::function<void()>& poll) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    const auto kept = find(size);
    if (kept != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, kept);
      return kept_.front();
    }
    if (std::find(building_.begin(), building_.end(), size) == building_.end()) break;
    changed_.wait_for(lock, kPollEvery);
    lock.unlock();
    if (poll) poll();
    lock.lock();
  }
  building_.push_back(size);
  lock.unlock();
  try {
    const std::shared_ptr<const Model> model = build();
    built(size, {model});
    return model;
  } catch (...) {
    built(size, {});
    throw;
  }
}

FittedModels::Kept::iterator FittedModels::find(TileSize size) {
  return std::find_if(kept_.begin(), kept_.end(),
                      [&](const auto& model) { return model->bundle().tile() == size; });
}

// `kept` is the model, or empty for none.
void FittedModels::built(TileSize size, Kept kept) {
  Kept dropped;  // freed without the lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    building_.erase(std::find(building_.begin(), building_.end(), size));
    kept_.splice(kept_.begin(), kept);
    if (kept_.size() > kMostKept) dropped.splice(dropped.begin(), kept_, std::prev(kept_.end()));
  }
  changed_.notify_all();
}

}  // namespace mdr
