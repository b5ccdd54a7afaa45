#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/gpu.h"
#include "core/error.h"
#include "fake_device.h"

// A GPU acted out on the host, as late and in as odd an order as one may: what is queued runs only
// when the host waits, and of the streams that may go on a random one does. Whatever lacks an event
// gives another result for some order. Memory starts as NaN; pointers are checked to be of the kind
// that a call expects; captures have the rules of CUDA's.
class HostGpu : public mdr::Gpu {
 public:
  explicit HostGpu(uint32_t order) : random_(order) {}
  ~HostGpu() override = default;

  int live() const { return live_; }  // memory, streams, events and graphs not given back
  int captured() const { return captured_; }
  int launched() const { return launched_; }
  bool capturing() const { return capture_ != nullptr; }
  // Something was given back with work under way, or on a thread whose GPU it is not.
  bool spoiled() const { return spoiled_; }
  static bool in_use() { return current_ == kNumber; }  // whether it is the calling thread's GPU
  int64_t most_memory() const { return most_memory_; }

  int use() override { return std::exchange(current_, kNumber); }
  void leave(int before) noexcept override { current_ = before; }
  int64_t free_memory() override { return int64_t{1} << 30; }
  void* allocate(int64_t bytes) override {
    memory_ += bytes;
    most_memory_ = std::max(most_memory_, memory_);
    return allocate_in(device_, bytes);
  }
  void* allocate_pinned(int64_t bytes) override { return allocate_in(pinned_, bytes); }
  void free(void* memory) noexcept override {
    memory_ -= device_.at(static_cast<char*>(memory));
    free_in(device_, memory);
  }
  void free_pinned(void* memory) noexcept override { free_in(pinned_, memory); }

  mdr::GpuStream make_stream(bool) override {
    take();
    streams_.push_back(std::make_unique<Stream>());
    return streams_.back().get();
  }
  mdr::GpuEvent make_event() override {
    take();
    return new Event();
  }
  void destroy_stream(mdr::GpuStream stream) noexcept override {
    give_back();
    spoiled_ |= !static_cast<Stream*>(stream)->ops.empty();
    streams_.erase(std::find_if(streams_.begin(), streams_.end(),
                                [=](const auto& held) { return held.get() == stream; }));
  }
  void destroy_event(mdr::GpuEvent event) noexcept override {
    give_back();
    delete static_cast<Event*>(event);
  }

  void record(mdr::GpuEvent handle, mdr::GpuStream stream) override {
    auto* event = static_cast<Event*>(handle);
    if (in_capture(stream)) {
      const int version = ++capture_->recorded[event];
      capture_->graph->push(stream, {Op::Kind::record, event, version, {}});
    } else {
      queue(stream, {Op::Kind::record, event, ++event->recorded, {}});
    }
  }
  void wait(mdr::GpuStream stream, mdr::GpuEvent handle) override {
    auto* event = static_cast<Event*>(handle);
    if (capture_ && capture_->recorded.count(event)) {
      capture_->streams.insert(stream);
      const int version = capture_->recorded[event];
      capture_->graph->push(stream, {Op::Kind::wait, event, version, {}});
      return;
    }
    if (in_capture(stream)) fail("a captured stream waits for what is not captured");
    queue(stream, {Op::Kind::wait, event, event->recorded, {}});
  }
  void synchronize(mdr::GpuEvent handle) override {
    if (capture_) fail("the host waits while it captures");
    auto* event = static_cast<Event*>(handle);
    while (event->done < event->recorded) {
      if (!run_one(queues(), nullptr)) fail("what the host waits for never comes");
    }
  }
  void drain(mdr::GpuStream stream) noexcept override {
    while (!static_cast<Stream*>(stream)->ops.empty() && run_one(queues(), nullptr)) {
    }
  }

  void begin_capture(mdr::GpuStream stream) override {
    if (capture_) fail("two captures at once");
    capture_ = std::make_unique<Capture>();
    capture_->origin = stream;
    capture_->streams.insert(stream);
  }
  mdr::GpuGraph end_capture(mdr::GpuStream stream) override {
    const std::unique_ptr<Capture> capture = std::move(capture_);
    if (!capture || capture->origin != stream) fail("no capture to end");
    for (const auto& [joined, ops] : capture->graph->ops) {
      if (joined == stream) continue;
      const Op& last = ops.back();
      const auto& main = capture->graph->ops[stream];
      const bool awaited = std::any_of(main.begin(), main.end(), [&](const Op& op) {
        return op.kind == Op::Kind::wait && op.event == last.event && op.version == last.version;
      });
      if (last.kind != Op::Kind::record || !awaited) fail("a captured stream was not joined");
    }
    ++captured_;
    take();
    return capture->graph.release();
  }
  void launch(mdr::GpuGraph handle, mdr::GpuStream stream) override {
    ++launched_;
    auto* graph = static_cast<Graph*>(handle);
    work(stream, [this, graph] {
      std::map<void*, std::deque<Op>> ops = graph->ops;
      std::vector<std::deque<Op>*> queues;
      for (auto& [unused, list] : ops) queues.push_back(&list);
      std::map<Event*, int> done;
      while (run_one(queues, &done)) {
      }
    });
  }
  void destroy_graph(mdr::GpuGraph graph) noexcept override {
    give_back();
    delete static_cast<Graph*>(graph);
  }

  void fill_zero(void* device, int64_t bytes, mdr::GpuStream stream) override {
    check(device_, device, bytes);
    work(stream, [=] { std::memset(device, 0, bytes); });
  }
  void upload(void* device, const void* pinned, int64_t bytes, mdr::GpuStream stream) override {
    check(device_, device, bytes);
    check(pinned_, pinned, bytes);
    work(stream, [=] { std::memcpy(device, pinned, bytes); });
  }
  void download(void* pinned, const void* device, int64_t bytes, mdr::GpuStream stream) override {
    check(device_, device, bytes);
    check(pinned_, pinned, bytes);
    work(stream, [=] { std::memcpy(pinned, device, bytes); });
  }
  void copy_rows(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes,
                 int rows, mdr::GpuStream stream) override {
    check(device_, to, to_stride * (rows - 1) + bytes);
    check(device_, from, from_stride * (rows - 1) + bytes);
    work(stream, [=] {
      for (int row = 0; row < rows; ++row) {
        std::memcpy(static_cast<char*>(to) + row * to_stride,
                    static_cast<const char*>(from) + row * from_stride, bytes);
      }
    });
  }

  void start_latent(const mdr::LatentShape& shape, const mdr::StartScalars& scalars,
                    const mdr::StartLatentDeviceBatch& batch, mdr::GpuStream stream) override {
    const int64_t size = int64_t{shape.channels} * shape.height * shape.width;
    check(device_, batch.z, batch.tiles * size * 4);
    work(stream, [=] {
      for (int b = 0; b < batch.tiles; ++b) {
        float* z = batch.z + b * size;
        mdr::start_latent_cpu(shape, scalars, batch.origins[b],
                              batch.z_low ? batch.z_low + b * size : nullptr, z);
        put_rows(b, batch.experts, batch.slots, batch.type, size, z, batch.expert_z);
      }
    });
  }
  void gather_rows(const mdr::GatherRowsDeviceBatch& batch, mdr::GpuStream stream) override {
    work(stream, [=] {
      const int64_t bytes = batch.row * mdr::bytes_of(batch.type);
      for (int b = 0; b < batch.tiles; ++b) {
        for (int i = 0; i < batch.experts; ++i) {
          const int slot = batch.slots[b * batch.experts + i];
          if (slot < 0 || !batch.to[i]) continue;
          std::memcpy(static_cast<char*>(batch.to[i]) + slot * bytes,
                      static_cast<const char*>(batch.from) + b * bytes, bytes);
        }
      }
    });
  }
  void gated_step(const mdr::GatedStepShape& shape, const mdr::GatedStepScalars& scalars,
                  const mdr::GatedStepDeviceBatch& batch, mdr::GpuStream stream) override {
    const int64_t size = int64_t{shape.channels} * shape.height * shape.width;
    const int64_t map = int64_t{shape.gate_height} * shape.gate_width;
    check(device_, batch.z_s, batch.tiles * size * 4);
    work(stream, [=] {
      for (int b = 0; b < batch.tiles; ++b) {
        mdr::GatedStepShape active = shape;
        active.experts = 0;
        std::vector<std::vector<float>> rows;
        const float* gates[mdr::kMaxExperts];
        for (int i = 0; i < shape.experts; ++i) {
          const int slot = batch.slots[b * shape.experts + i];
          if (slot < 0) continue;
          gates[active.experts++] = batch.gates + (int64_t{b} * shape.experts + i) * map;
          rows.push_back(read(batch.type, batch.experts[i], slot * size, size));
        }
        const float* experts[mdr::kMaxExperts];
        for (size_t i = 0; i < rows.size(); ++i) experts[i] = rows[i].data();
        if (rows.empty()) continue;  // a tile that pads the batch
        float* z_s = batch.z_s + b * size;
        mdr::gated_step_cpu(active, scalars, batch.origins[b], batch.z_t + b * size, experts, gates,
                            batch.z0_prev ? batch.z0_prev + b * size : nullptr, z_s,
                            batch.z0 + b * size);
        put_rows(b, shape.experts, batch.slots, batch.type, size, z_s, batch.expert_z);
      }
    });
  }

  // Engines want their tensors on this boundary of device memory.
  void check_aligned(const void* memory) const {
    const char* at = static_cast<const char*>(memory);
    const auto after = device_.upper_bound(const_cast<char*>(at));
    if (after == device_.begin() || (at - std::prev(after)->first) % 256 != 0) {
      fail("a tensor that is not on a 256-byte boundary");
    }
  }

  // For engines: `body` runs when the stream comes to it.
  void work(mdr::GpuStream stream, std::function<void()> body) {
    Op op{Op::Kind::work, nullptr, 0, std::move(body)};
    if (in_capture(stream)) {
      capture_->graph->push(stream, std::move(op));
    } else {
      queue(stream, std::move(op));
    }
  }
  bool in_capture(mdr::GpuStream stream) const {
    return capture_ && capture_->streams.count(stream) > 0;
  }

  // `count` elements from `first` on of a device tensor as float32, and back.
  static std::vector<float> read(mdr::ExpertType type, const void* from, int64_t first,
                                 int64_t count) {
    std::vector<float> out(count);
    for (int64_t i = 0; i < count; ++i) {
      if (type == mdr::ExpertType::float32) {
        out[i] = static_cast<const float*>(from)[first + i];
      } else {
        const uint32_t bits = uint32_t{static_cast<const uint16_t*>(from)[first + i]} << 16;
        std::memcpy(&out[i], &bits, sizeof bits);
      }
    }
    return out;
  }
  static void write(mdr::ExpertType type, const float* from, void* to, int64_t first,
                    int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (type == mdr::ExpertType::float32) {
        static_cast<float*>(to)[first + i] = from[i];
      } else {
        const float rounded = to_bfloat16(from[i]);
        uint32_t bits;
        std::memcpy(&bits, &rounded, sizeof bits);
        static_cast<uint16_t*>(to)[first + i] = static_cast<uint16_t>(bits >> 16);
      }
    }
  }

 private:
  struct Event {
    int recorded = 0, done = 0;
  };
  struct Op {
    enum class Kind { work, record, wait };
    Kind kind;
    Event* event;
    int version;
    std::function<void()> body;
  };
  struct Stream {
    std::deque<Op> ops;
  };
  struct Graph {
    std::map<void*, std::deque<Op>> ops;  // by the stream captured from
    void push(void* stream, Op op) { ops[stream].push_back(std::move(op)); }
  };
  struct Capture {
    void* origin = nullptr;
    std::set<void*> streams;
    std::map<Event*, int> recorded;
    std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  };
  using Blocks = std::map<char*, int64_t>;

  [[noreturn]] static void fail(const std::string& what) {
    throw mdr::Error(mdr::ErrorKind::backend, "host gpu: " + what);
  }

  void take() {
    if (!in_use()) fail("something is asked for on a thread whose GPU it is not");
    ++live_;
  }
  void give_back() noexcept {
    spoiled_ |= !in_use();
    --live_;
  }
  void* allocate_in(Blocks& blocks, int64_t bytes) {
    take();
    auto* memory = static_cast<char*>(::operator new(bytes + 1));
    std::memset(memory, 0xFF, bytes);
    blocks[memory] = bytes;
    return memory;
  }
  void free_in(Blocks& blocks, void* memory) noexcept {
    give_back();
    blocks.erase(static_cast<char*>(memory));
    ::operator delete(memory);
  }
  static void check(const Blocks& blocks, const void* memory, int64_t bytes) {
    const char* at = static_cast<const char*>(memory);
    for (const auto& [begin, size] : blocks) {
      if (at >= begin && at + bytes <= begin + size) return;
    }
    fail("a pointer to another kind of memory, or past its end");
  }

  static void queue(mdr::GpuStream stream, Op op) {
    static_cast<Stream*>(stream)->ops.push_back(std::move(op));
  }
  std::vector<std::deque<Op>*> queues() {
    std::vector<std::deque<Op>*> out;
    for (const auto& stream : streams_) out.push_back(&stream->ops);
    return out;
  }
  // Runs the first of a random stream that may go on; false when none may. `done`: the events of a
  // graph; null for those outside.
  bool run_one(const std::vector<std::deque<Op>*>& queues, std::map<Event*, int>* done) {
    std::vector<std::deque<Op>*> ready;
    for (std::deque<Op>* ops : queues) {
      if (ops->empty()) continue;
      const Op& op = ops->front();
      const bool waits =
          op.kind == Op::Kind::wait && (done ? (*done)[op.event] : op.event->done) < op.version;
      if (!waits) ready.push_back(ops);
    }
    if (ready.empty()) return false;
    std::deque<Op>* ops = ready[random_() % ready.size()];
    const Op op = std::move(ops->front());
    ops->pop_front();
    if (op.kind == Op::Kind::work) op.body();
    if (op.kind == Op::Kind::record) (done ? (*done)[op.event] : op.event->done) = op.version;
    return true;
  }

  static void put_rows(int b, int experts, const int* slots, mdr::ExpertType type, int64_t size,
                       const float* z, void* const* to) {
    for (int i = 0; i < experts; ++i) {
      const int slot = slots[b * experts + i];
      if (slot >= 0 && to[i]) write(type, z, to[i], slot * size, size);
    }
  }

  static constexpr int kNumber = 1;  // a thread's GPU is number 0 at first
  static inline thread_local int current_ = 0;
  std::mt19937 random_;
  Blocks device_, pinned_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::unique_ptr<Capture> capture_;
  bool spoiled_ = false;
  int live_ = 0, captured_ = 0, launched_ = 0;
  int64_t memory_ = 0, most_memory_ = 0;
};
