#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <openvino/openvino.hpp>
#include <openvino/runtime/exception.hpp>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/error.h"

namespace mdr {

// One compiled model and the asynchronous requests made for it so far.
class OpenvinoEngine : public HostEngine {
 public:
  OpenvinoEngine(ov::CompiledModel model, const EngineSource& source, EngineReport report);
  ~OpenvinoEngine() override;

  const EngineReport& report() const override { return report_; }
  const std::vector<TensorInfo>& inputs() const override { return inputs_; }
  const std::vector<TensorInfo>& outputs() const override { return outputs_; }
  void submit(const void* owner, int batch, const std::vector<const float*>& inputs,
              const std::vector<float*>& outputs, Done done) override;
  void cancel(const void* owner) override;

 private:
  struct Slot {
    ov::InferRequest request;
    Done done;
    const void* owner = nullptr;
    bool busy = false;
  };

  Slot& take(const void* owner);
  Error failure(const std::exception& error) const;
  void finish(Slot& slot, std::exception_ptr error);

  ov::CompiledModel model_;
  EngineReport report_;
  std::vector<ov::Output<const ov::Node>> input_ports_, output_ports_;
  std::vector<TensorInfo> inputs_, outputs_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace mdr
