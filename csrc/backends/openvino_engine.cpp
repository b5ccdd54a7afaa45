#include "backends/openvino_engine.h"

#include <algorithm>
#include <utility>

#include "backends/openvino_error.h"
#include "core/error.h"

namespace mdr {
namespace {

using Ports = std::vector<ov::Output<const ov::Node>>;

// The ports named in `order` first, in that order.
Ports ordered(Ports ports, const std::vector<std::string>& order) {
  const auto place = [&](const ov::Output<const ov::Node>& port) {
    const auto named = [&](const std::string& name) { return port.get_names().count(name) > 0; };
    return std::find_if(order.begin(), order.end(), named) - order.begin();
  };
  std::stable_sort(ports.begin(), ports.end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return ports;
}

std::vector<TensorInfo> describe(const Ports& ports, const std::vector<std::string>& order,
                                 const std::string& module) {
  std::vector<TensorInfo> out;
  for (const auto& port : ports) {
    if (port.get_element_type() != ov::element::f32 || port.get_partial_shape().is_dynamic() ||
        port.get_partial_shape().size() == 0) {
      fail(ErrorKind::bundle,
           "engine: expected float32 tensors of fixed size, the batch first, in ", module,
           ", found ", port.get_element_type(), " ", port.get_partial_shape(), " for ",
           port.get_any_name(),
           "; the module was probably exported another way; export the bundle again");
    }
    const bool named = out.size() < order.size() && port.get_names().count(order[out.size()]);
    TensorInfo info{named ? order[out.size()] : port.get_any_name(), {}};
    for (const size_t dim : port.get_shape()) info.dims.push_back(static_cast<int64_t>(dim));
    info.dims.erase(info.dims.begin());
    out.push_back(std::move(info));
  }
  return out;
}

ov::Shape shape_of(int batch, const TensorInfo& info) {
  ov::Shape shape{static_cast<size_t>(batch)};
  shape.insert(shape.end(), info.dims.begin(), info.dims.end());
  return shape;
}

}  // namespace

OpenvinoEngine::OpenvinoEngine(ov::CompiledModel model, const EngineSource& source,
                               EngineReport report)
    : model_(std::move(model)),
      report_(std::move(report)),
      input_ports_(ordered(model_.inputs(), source.inputs)),
      output_ports_(ordered(model_.outputs(), source.outputs)),
      inputs_(describe(input_ports_, source.inputs, report_.module)),
      outputs_(describe(output_ports_, source.outputs, report_.module)) {}

OpenvinoEngine::~OpenvinoEngine() {
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [&] {
    return std::none_of(slots_.begin(), slots_.end(), [](const auto& slot) { return slot->busy; });
  });
}

OpenvinoEngine::Slot& OpenvinoEngine::take(const void* owner) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& slot : slots_) {
    if (!slot->busy) {
      slot->busy = true;
      slot->owner = owner;
      return *slot;
    }
  }
  auto slot = std::make_unique<Slot>();
  try {
    slot->request = model_.create_infer_request();
  } catch (const std::exception& error) {
    throw failure(error);
  }
  slot->request.set_callback(
      [this, at = slot.get()](std::exception_ptr error) { finish(*at, std::move(error)); });
  slot->busy = true;
  slot->owner = owner;
  slots_.push_back(std::move(slot));
  return *slots_.back();
}

Error OpenvinoEngine::failure(const std::exception& error) const {
  return openvino_error(ErrorKind::engine, text("engine: expected ", report_.module, " to run"),
                        error,
                        "the engine is probably damaged; build the engines again with force");
}

void OpenvinoEngine::finish(Slot& slot, std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const ov::Cancelled&) {
  } catch (const std::exception& reason) {
    try {
      error = std::make_exception_ptr(failure(reason));
    } catch (...) {  // no memory for words: the error as it came
    }
  } catch (...) {  // none that has words: as it came
  }
  const Done done = std::exchange(slot.done, nullptr);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    slot.busy = false;
    idle_.notify_all();
  }
  done(std::move(error));
}

void OpenvinoEngine::submit(const void* owner, int batch, const std::vector<const float*>& inputs,
                            const std::vector<float*>& outputs, Done done) {
  Slot& slot = take(owner);
  try {
    // A request is only free for reuse once its last callback has returned, which wait() awaits.
    try {
      slot.request.wait();
    } catch (const ov::Exception&) {  // the failure of the last use was handed to its `done`
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      slot.request.set_tensor(
          input_ports_[i],
          ov::Tensor(ov::element::f32, shape_of(batch, inputs_[i]), const_cast<float*>(inputs[i])));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      slot.request.set_tensor(
          output_ports_[i], ov::Tensor(ov::element::f32, shape_of(batch, outputs_[i]), outputs[i]));
    }
    slot.done = std::move(done);
    slot.request.start_async();
  } catch (const std::exception& error) {
    slot.done = nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    slot.busy = false;
    throw failure(error);
  }
}

void OpenvinoEngine::cancel(const void* owner) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& slot : slots_) {
    if (slot->busy && slot->owner == owner) slot->request.cancel();
  }
}

}  // namespace mdr
