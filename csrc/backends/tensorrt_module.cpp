#include "backends/tensorrt_module.h"

#include <algorithm>
#include <set>

#include "core/error.h"

namespace mdr {
namespace {

[[noreturn]] void disagree(const EngineReport& report, const std::string& expected,
                           const std::string& found) {
  fail(ErrorKind::engine, "engine: expected ", expected, " in the engine of ", report.module,
       ", found ", found, "; it was probably built for another bundle; build it again with ",
       "moediff-rt build-engines --force");
}

const TensorRTTensor& find(const std::vector<TensorRTTensor>& tensors, const std::string& name,
                           const EngineReport& report) {
  for (const TensorRTTensor& tensor : tensors) {
    if (tensor.info.name == name) return tensor;
  }
  disagree(report, "a tensor " + name, "none");
}

void order(const std::vector<TensorRTTensor>& tensors, const std::vector<std::string>& names,
           const EngineReport& report, std::vector<TensorInfo>& infos,
           std::vector<ExpertType>& types) {
  for (const std::string& name : names) {
    const TensorRTTensor& tensor = find(tensors, name, report);
    infos.push_back(tensor.info);
    types.push_back(tensor.type);
  }
}

std::vector<int64_t> with_batch(int batch, const TensorInfo& info) {
  std::vector<int64_t> shape = {batch};
  shape.insert(shape.end(), info.dims.begin(), info.dims.end());
  return shape;
}

}  // namespace

TensorRTModule::TensorRTModule(EngineReport report, const TensorRTEntry& entry,
                               const EngineSource& source, std::unique_ptr<TensorRTEngine> engine,
                               std::shared_ptr<Gpu> gpu)
    : report_(std::move(report)),
      batches_(entry.batches),
      gpu_(std::move(gpu)),
      engine_(std::move(engine)) {
  order(entry.inputs, source.inputs, report_, inputs_, input_types_);
  order(entry.outputs, source.outputs, report_, outputs_, output_types_);
  std::set<std::string> listed(source.inputs.begin(), source.inputs.end());
  listed.insert(source.outputs.begin(), source.outputs.end());
  for (const std::string& name : engine_->tensors()) {
    if (listed.erase(name) == 0) disagree(report_, "the bundle's tensors alone", name);
  }
  if (!listed.empty()) disagree(report_, "a tensor " + *listed.begin(), "none");
  const int profiles = static_cast<int>(batches_.size());
  if (engine_->profiles() != profiles) {
    disagree(report_, text(profiles, " batch sizes"), std::to_string(engine_->profiles()));
  }
  if (largest_batch() == 0) disagree(report_, "batches of 1, 2, 4, ... tiles", "none of 1");
}

TensorRTModule::~TensorRTModule() {
  give_back_on(*gpu_, [&] {
    contexts_.clear();
    engine_.reset();
  });
}

int TensorRTModule::largest_batch() const {
  int largest = 0;
  for (int batch = 1; std::count(batches_.begin(), batches_.end(), batch) > 0; batch *= 2) {
    largest = batch;
  }
  return largest;
}

int TensorRTModule::profile(int batch) const {
  const auto at = std::find(batches_.begin(), batches_.end(), batch);
  if (at == batches_.end()) {
    disagree(report_, text("batches of ", batch), text("none; the largest is ", largest_batch()));
  }
  return static_cast<int>(at - batches_.begin());
}

void TensorRTModule::enqueue(int batch, const std::vector<const void*>& inputs,
                             const std::vector<void*>& outputs, void* scratch, GpuStream stream) {
  context(batch, inputs, outputs, scratch, stream).enqueue(stream);
}

TensorRTContext& TensorRTModule::context(int batch, const std::vector<const void*>& inputs,
                                         const std::vector<void*>& outputs, void* scratch,
                                         GpuStream stream) {
  Key key = {batch, {scratch}};
  key.second.insert(key.second.end(), inputs.begin(), inputs.end());
  key.second.insert(key.second.end(), outputs.begin(), outputs.end());
  const auto kept = std::find_if(contexts_.begin(), contexts_.end(),
                                 [&](const Kept& found) { return found.key == key; });
  if (kept != contexts_.end()) {
    contexts_.splice(contexts_.begin(), contexts_, kept);
    return *contexts_.front().context;
  }
  TensorRTCall call;
  call.profile = profile(batch);
  for (size_t i = 0; i < inputs.size(); ++i) {
    // The library takes every address as that of memory that it may write; inputs it only reads.
    call.tensors.push_back(
        {inputs_[i].name, with_batch(batch, inputs_[i]), const_cast<void*>(inputs[i]), true});
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    call.tensors.push_back({outputs_[i].name, with_batch(batch, outputs_[i]), outputs[i], false});
  }
  call.scratch = scratch;
  call.scratch_bytes = scratch_bytes(batch);
  contexts_.push_front({std::move(key), engine_->prepare(call, stream)});
  if (contexts_.size() > kMostContexts) contexts_.pop_back();
  return *contexts_.front().context;
}

}  // namespace mdr
