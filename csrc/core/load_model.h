#pragma once

#include <functional>
#include <memory>

#include "core/model.h"

namespace mdr {

// Loads a model on a thread of its own while the caller's thread calls `on_engine` after each
// engine and `poll` ten times a second, where they are set. What they throw comes back at once; the
// engines then under way, which no backend can stop, are finished and dropped behind the caller's
// back.
std::shared_ptr<Model> load_model(const Bundle& bundle,
                                  std::function<std::shared_ptr<Device>()> open,
                                  const Model::OnEngine& on_engine,
                                  const std::function<void()>& poll);

// Waits for loads whose callers have left. Is called when the process exits; to be called before if
// it takes down the backends earlier.
void join_left_loads();

}  // namespace mdr
