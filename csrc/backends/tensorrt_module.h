#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/gpu.h"
#include "backends/tensorrt_cache.h"
#include "backends/tensorrt_runtime.h"

namespace mdr {

// An engine of the cache for the scheduler. Each batch and set of addresses has a context of its
// own, which is not changed after its first call: captured graphs replay it. Those of earlier runs,
// whose memory is gone, are dropped in time.
class TensorRTModule : public GpuEngine {
 public:
  // More than one run's lanes, batch sizes and experts' own rows come to.
  static constexpr size_t kMostContexts = 48;

  // `entry.blob` is not needed any more. Throws Error(ErrorKind::engine) when the engine has other
  // tensors or profiles than its manifest, or `source` asks for tensors that it has not.
  TensorRTModule(EngineReport report, const TensorRTEntry& entry, const EngineSource& source,
                 std::unique_ptr<TensorRTEngine> engine, std::shared_ptr<Gpu> gpu);
  ~TensorRTModule() override;

  const EngineReport& report() const override { return report_; }
  const std::vector<TensorInfo>& inputs() const override { return inputs_; }
  const std::vector<TensorInfo>& outputs() const override { return outputs_; }
  const std::vector<ExpertType>& input_types() const override { return input_types_; }
  const std::vector<ExpertType>& output_types() const override { return output_types_; }
  // The largest power of two up to which it has a profile for each.
  int largest_batch() const;
  int64_t scratch_bytes(int batch) const override { return engine_->scratch_bytes(profile(batch)); }
  void enqueue(int batch, const std::vector<const void*>& inputs, const std::vector<void*>& outputs,
               void* scratch, GpuStream stream) override;

 private:
  // The batch, the scratch memory, the inputs and the outputs.
  using Key = std::pair<int, std::vector<const void*>>;
  struct Kept {
    Key key;
    std::unique_ptr<TensorRTContext> context;
  };

  int profile(int batch) const;
  TensorRTContext& context(int batch, const std::vector<const void*>& inputs,
                           const std::vector<void*>& outputs, void* scratch, GpuStream stream);

  const EngineReport report_;
  const std::vector<int> batches_;
  const std::shared_ptr<Gpu> gpu_;
  std::unique_ptr<TensorRTEngine> engine_;
  std::vector<TensorInfo> inputs_, outputs_;
  std::vector<ExpertType> input_types_, output_types_;
  std::list<Kept> contexts_;  // the last used first
};

}  // namespace mdr
