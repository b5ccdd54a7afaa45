#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

// A call that the fake library was asked to queue.
struct FakeNvCall {
  std::string module;  // the engine's blob begins with it
  int profile = -1;
  std::map<std::string, std::vector<int64_t>> shapes;
  std::map<std::string, void*> addresses;
  void* scratch = nullptr;
  int64_t scratch_bytes = 0;
};

// What a test tells the fake library, and what the library notes. It has one, fake_nvinfer().
struct FakeNvState {
  std::map<std::string, std::vector<std::string>> tensors;  // of each module
  int profiles = 4;
  std::string failing;  // the function that does not do as asked
  bool (*run)(const FakeNvCall& call, void* stream) = nullptr;
  bool (*on_gpu)() = nullptr;  // whether the GPU is the calling thread's

  int runtimes = 0, engines = 0, contexts = 0, caches = 0;  // alive
  int made_contexts = 0, made_caches = 0;
  int changed_after_use = 0;  // calls that changed a context which had been queued
  int orphans = 0;            // contexts that outlived their cache, or engines their runtime
  int elsewhere = 0;          // engines and contexts made or destroyed on another GPU
  std::set<std::string> settings, kernels;
};

extern "C" FakeNvState* fake_nvinfer() noexcept;
