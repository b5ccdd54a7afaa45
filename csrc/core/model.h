#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "core/bundle.h"
#include "core/fitted_models.h"

namespace mdr {

// A bundle's engines on one device. Immutable once made; several threads may enhance with it.
class Model {
 public:
  using OnEngine = std::function<void(const EngineReport&)>;

  // Loads every engine, calling `on_engine` after each: on any thread, one at a time, also of those
  // under way when one has failed; load_model() calls it on the caller's. Throws
  // Error(ErrorKind::bundle) when a module's tensors are not those that bundle.json promises.
  Model(Bundle bundle, std::shared_ptr<Device> device, const OnEngine& on_engine);

  const Bundle& bundle() const { return bundle_; }
  const Device& device() const { return *device_; }
  Engine& encoder() const { return *encoder_; }
  Engine& conditioner() const { return *conditioner_; }
  Engine& gate() const { return *gate_; }
  Engine& expert(int i) const { return *experts_[i]; }
  Engine& decoder() const { return *decoder_; }
  std::vector<EngineReport> reports() const;
  std::vector<std::shared_ptr<Engine>> engines() const;
  int64_t token_elements() const { return token_elements_; }

  // This model for tiles of another size, one of bundle().tile_sizes(), on a device that takes any;
  // itself for its own, as long as it lives. The sizes last asked for are kept loaded; a size that
  // is not is built, for all who ask for it, by the first, whose `on_engine` is called after each
  // engine. Calls `poll` about ten times a second meanwhile; throws as the constructor, and what
  // the two throw, at once.
  std::shared_ptr<const Model> fitted(TileSize size, const OnEngine& on_engine = {},
                                      const std::function<void()>& poll = {}) const;

 private:
  Bundle bundle_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Engine> encoder_, conditioner_, gate_, decoder_;
  std::vector<std::shared_ptr<Engine>> experts_;
  int64_t token_elements_ = 0;
  mutable FittedModels fitted_;
};

}  // namespace mdr
