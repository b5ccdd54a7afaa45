#pragma once

#include "capi/engine.h"
#include "capi/watch.h"

namespace mdr::capi {

// An mdr_enhance() under way among those that share its engine. On a GPU, where runs follow each
// other, it waits until the others are done, under the caller's watch.
class Turn {
 public:
  Turn(LoadedEngine& engine, const Watch& watch);
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // This run's part of the host's threads.
  int threads() const { return threads_; }

 private:
  LoadedEngine& engine_;
  const bool gpu_;
  int threads_ = 1;
};

}  // namespace mdr::capi
