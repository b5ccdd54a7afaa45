#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "core/tile_size.h"

namespace mdr {

class Model;

// A model's variants for other tile sizes, of which those last asked for are kept.
class FittedModels {
 public:
  using Build = std::function<std::shared_ptr<const Model>()>;

  // The variant for tiles of `size`. The first to ask builds it, without holding up those who ask
  // for another; who asks meanwhile waits, calling `poll` about ten times a second. A build that
  // throws is forgotten: one of those who wait builds anew.
  std::shared_ptr<const Model> get(TileSize size, const Build& build,
                                   const std::function<void()>& poll);

 private:
  using Kept = std::list<std::shared_ptr<const Model>>;

  Kept::iterator find(TileSize size);
  void built(TileSize size, Kept kept);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TileSize> building_;
  Kept kept_;  // the last used first
};

}  // namespace mdr
