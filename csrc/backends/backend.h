#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mdr {

struct BackendInfo {
  std::string name;
  bool available = false;
  std::string reason;  // why not available, or not chosen by "auto", and what to do
  std::string version;
  std::vector<std::string> devices;
  std::vector<std::string> precisions;
};

// What the caller asks for; "auto" lets the backend choose. threads 0: all cores of this process.
struct DeviceRequest {
  std::string device = "auto";
  std::string precision = "auto";
  int threads = 0;
  std::string engines_dir;   // empty: engines are not kept on disk
  bool force = false;        // build even where the cache has the engine
  int64_t memory_limit = 0;  // bytes that one run may take on a GPU; 0: nine tenths of what is free
  bool int8_there = false;   // whether the bundle has 8-bit modules, which "auto" may then take
};

struct EngineReport {
  std::string module, backend, device, precision;
  std::string path;  // of the cached engine; empty when it is not kept
  int64_t bytes = 0;
  double seconds = 0;
  bool cached = false;
  std::string reason;  // why it was built, or not kept; empty when it came from the cache
  bool lost = false;   // it was to be kept, and could not
};

// One ONNX file to be made an engine. Tensors have the batch first.
struct EngineSource {
  std::string module;
  std::string onnx_path;
  std::string onnx_sha256;
  std::vector<std::string> inputs, outputs;  // the order in which the engine will be given them
  // Of the inputs, without the batch: what the file leaves free is built for these.
  std::vector<std::vector<int64_t>> input_dims;
  bool int8 = false;  // whether it is the module's 8-bit form
};

struct TensorInfo {
  std::string name;
  std::vector<int64_t> dims;  // without the batch
  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    return count;
  }
};

// A compiled module: a HostEngine, or a GpuEngine (backends/gpu.h).
class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineReport& report() const = 0;
  virtual const std::vector<TensorInfo>& inputs() const = 0;
  virtual const std::vector<TensorInfo>& outputs() const = 0;
};

// Works on float32 tensors in host memory. All members may be called from any thread.
class HostEngine : public Engine {
 public:
  // Null when the request went well.
  using Done = std::function<void(std::exception_ptr)>;

  // Starts a request over host memory, which must stay until `done` is called (from any thread,
  // exactly once). Pointers are in the order of inputs() and outputs(); 1 <= batch <= the device's
  // tiles_per_request(). Throws only if nothing was started. `owner` is a tag for cancel().
  virtual void submit(const void* owner, int batch, const std::vector<const float*>& inputs,
                      const std::vector<float*>& outputs, Done done) = 0;

  // Asks the owner's requests under way to end early; each still calls its `done`.
  virtual void cancel(const void* owner) = 0;
};

// An opened device of a backend: a HostDevice, or a GpuDevice (backends/gpu.h).
class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& backend() const = 0;
  virtual const std::string& name() const = 0;
  virtual const std::string& precision() const = 0;
  // Whether load() wants a module's 8-bit form where the bundle has one.
  virtual bool takes_int8() const { return false; }
  virtual int threads() const = 0;  // of the host
  // Whether load() makes engines for any tile of the bundle, or for the largest alone.
  virtual bool any_tile_size() const = 0;
  virtual std::shared_ptr<Engine> load(const EngineSource& source) = 0;
  // How many threads may call load() at once, and are worth it.
  virtual int loads_at_once() const { return 1; }
};

// Its load() gives HostEngines.
class HostDevice : public Device {
 public:
  // How many requests, over all engines, are worth having under way at once.
  virtual int requests_in_flight() const = 0;
  // The largest batch of one request.
  virtual int tiles_per_request() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  // Whether "auto" may choose it where it is available.
  virtual bool automatic() const { return true; }
  // May start the backend to find out.
  virtual BackendInfo info() const = 0;
  // Throws Error(ErrorKind::backend) when the device or precision is not there.
  virtual std::shared_ptr<Device> open(const DeviceRequest& request) const = 0;
};

}  // namespace mdr
