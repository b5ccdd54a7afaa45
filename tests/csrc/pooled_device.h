#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "core/error.h"
#include "fake_device.h"

// A few threads that do what all engines of a device are asked for, in order.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadPool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void add(std::function<void()> job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return over_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

// The fake bundle's modules on a pool of threads that all sessions of an engine share, as OpenVINO
// runs them, in code that the sanitizers see.
class PooledEngine : public mdr::HostEngine {
 public:
  PooledEngine(std::string module, std::string failing, std::shared_ptr<ThreadPool> pool)
      : module_(std::move(module)), failing_(std::move(failing)), pool_(std::move(pool)) {
    report_.module = module_.name;
    report_.backend = report_.device = report_.precision = "pooled";
  }
  const mdr::EngineReport& report() const override { return report_; }
  const std::vector<mdr::TensorInfo>& inputs() const override { return module_.inputs; }
  const std::vector<mdr::TensorInfo>& outputs() const override { return module_.outputs; }
  void submit(const void*, int, const std::vector<const float*>& inputs,
              const std::vector<float*>& outputs, Done done) override {
    pool_->add([this, inputs, outputs, done = std::move(done)] {
      module_.run(inputs, outputs);
      const bool fails = module_.name == failing_;
      done(fails ? std::make_exception_ptr(mdr::Error(mdr::ErrorKind::engine, "broken")) : nullptr);
    });
  }
  void cancel(const void*) override {}

 private:
  const FakeModule module_;
  const std::string failing_;
  std::shared_ptr<ThreadPool> pool_;
  mdr::EngineReport report_;
};

class PooledDevice : public mdr::HostDevice {
 public:
  explicit PooledDevice(std::string failing_module = "") : failing_(std::move(failing_module)) {}
  const std::string& backend() const override { return word_; }
  const std::string& name() const override { return word_; }
  const std::string& precision() const override { return word_; }
  int threads() const override { return kThreads; }
  bool any_tile_size() const override { return false; }
  int requests_in_flight() const override { return kThreads + 1; }
  int tiles_per_request() const override { return 1; }
  std::shared_ptr<mdr::Engine> load(const mdr::EngineSource& source) override {
    return std::make_shared<PooledEngine>(source.module, failing_, pool_);
  }

 private:
  static constexpr int kThreads = 3;
  const std::string failing_, word_ = "pooled";
  std::shared_ptr<ThreadPool> pool_ = std::make_shared<ThreadPool>(kThreads);
};
