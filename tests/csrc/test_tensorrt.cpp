#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/cpu_threads.h"
#include "core/files.h"
#include "core/gpu_resources.h"
#include "core/sha256.h"
#include "native_tensorrt.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

const Claim same_bits("engines run by the library give the bits of the CPU, whatever runs first",
                      [] {
                        for (const Product& product : {kFull, kRtx}) {
                          for (const bool bfloat16 : {false, true}) {
                            FakeSettings settings;
                            settings.bfloat16 = bfloat16;
                            const Model cpu(fake_bundle(), std::make_shared<FakeDevice>(settings),
                                            {});
                            const std::vector<float> expected = enhanced(cpu);
                            for (uint32_t order = 0; order < 5; ++order) {
                              HostGpuSettings gpu;
                              gpu.order = order;
                              gpu.bfloat16 = bfloat16;
                              NativeComputer computer(product, gpu);
                              const Model model = computer.load();
                              check(enhanced(model) == expected, product.backend, " differs");
                              check(computer.gpu().launched() > 0, "no loop was replayed");
                              equal(computer.library().changed_after_use, 0);
                              equal(computer.gpu().live(), 0);
                            }
                          }
                        }
                      });

const Claim reports(
    "a model says which library runs it, from where, and what it was checked on", [] {
      NativeComputer computer(kRtx);
      const ModuleFile gate = computer.file("gate");
      computer.store(computer.key(gate),
                     computer.details(FakeModule("gate"), "[1, 2, 4, 8]", R"({"gpu": "A GPU"})"));
      const Model model = computer.load();
      equal(model.device().backend(), "tensorrt-rtx");
      equal(model.device().name(), "A GPU");
      equal(model.device().precision(), "fp16");
      for (const EngineReport& report : model.reports()) {
        equal(report.device, "sm86+sm89");
        check(report.cached && read_file(report.path).size() > 0, "no engine at ", report.path);
        equal(report.reason.find("not compared") != std::string::npos, report.module != "gate");
      }
    });

const Claim settings(
    "contexts work in the scheduler's memory, and RTX captures nothing itself", [] {
      NativeComputer full(kFull);
      enhanced(full.load());
      check(full.library().settings == std::set<std::string>{"user managed"}, "other settings");
      NativeComputer rtx(kRtx);
      enhanced(rtx.load());
      check(rtx.library().settings ==
                std::set<std::string>{"user managed", "eager", "no graphs", "cache"},
            "other settings");
    });

const Claim kernels("RTX takes up the kernels that it compiled before, once, for all engines", [] {
  NativeComputer computer(kRtx);
  const std::string digest = sha256_hex(std::string(kVersion) + " sm86+sm89").substr(0, 8);
  write_atomically(computer.folder() / ("tensorrt-rtx-" + digest + ".kernels"), "kept kernels");
  enhanced(computer.load());
  check(computer.library().kernels == std::set<std::string>{"kept kernels"}, "other kernels");
  equal(computer.library().made_caches, 1);
});

const Claim lifetimes("nothing of the library goes before what was made with it, and all goes", [] {
  for (const Product& product : {kFull, kRtx}) {
    NativeComputer computer(product);
    {
      const Model model = computer.load();
      enhanced(model);
      check(computer.library().contexts > 0, "no context");
    }
    const FakeNvState& left = computer.library();
    equal(left.contexts + left.engines + left.caches + left.runtimes, 0);
    equal(left.orphans, 0);
    equal(left.elsewhere, 0);
    check(!HostGpu::in_use(), "the thread is left on the GPU");
  }
});

const Claim contexts(
    "each batch and set of places has a context; of those long unused none is kept", [] {
      NativeComputer computer(kFull);
      const auto device = computer.open();
      const ModuleFile& file = computer.file("gate");
      const auto gate = std::static_pointer_cast<GpuEngine>(
          device->load({"gate", "", file.sha256, {"tokens"}, {"gates"}, {}}));
      HostGpu& gpu = computer.gpu();
      const GpuUse use(gpu);
      const GpuMemory memory(gpu, gpu.allocate(100 * 256));
      const GpuStreamHandle stream(gpu, gpu.make_stream(false));
      const auto call = [&](int batch, int tokens, int gates, int scratch) {
        const auto at = [&](int place) { return static_cast<char*>(memory.get()) + place * 256; };
        gate->enqueue(batch, {at(tokens)}, {at(gates)}, at(scratch), stream.get());
        return computer.library().made_contexts;
      };
      equal(call(1, 0, 1, 2), 1);
      equal(call(1, 0, 1, 2), 1);
      equal(call(2, 0, 1, 2), 2);
      equal(call(1, 3, 1, 2), 3);
      equal(call(1, 0, 3, 2), 4);
      equal(call(1, 0, 1, 3), 5);
      for (int place = 4; place < 90; ++place) {
        call(1, place, 1, 2);
        equal(call(1, 0, 1, 2), place + 2);  // used all the while, so it stays
      }
      equal(computer.library().contexts, 48);
      equal(call(2, 0, 1, 2), 92);
      gpu.drain(stream.get());
    });

const Claim many_steps("a run of many steps has no more contexts than one of a few", [] {
  EnhanceOptions options;
  int few = 0;
  for (const int steps : {2, 20}) {
    options.steps = steps;
    NativeComputer computer(kFull);
    const Model model = computer.load();
    enhanced(model, options);
    check(computer.gpu().launched() > 0, "no loop was replayed");
    equal(computer.library().orphans, 0);
    if (few == 0) few = computer.library().made_contexts;
    equal(computer.library().made_contexts, few);
  }
});

const Claim refusals(
    "what the library does not do is an error with its own words, and not zeros", [] {
      for (const char* function :
           {"createInferRuntime", "deserializeCudaEngine", "createExecutionContext",
            "setOptimizationProfileAsync", "setInputShape", "setTensorAddress", "enqueueV3"}) {
        for (const Product& product : {kFull, kRtx}) {
          NativeComputer computer(product);
          computer.library().failing = function;
          throws<Error>(text("found: ", function, " was told to fail; "),
                        [&] { enhanced(computer.load()); });
          equal(computer.library().runtimes, 0);
        }
      }
      NativeComputer computer(kRtx);
      computer.library().failing = "createRuntimeConfig";
      throws<Error>("make a context of encoder", [&] { enhanced(computer.load()); });
    });

const Claim useless_kernels("kernels that do not fit are compiled anew", [] {
  NativeComputer computer(kRtx);
  const std::string digest = sha256_hex(std::string(kVersion) + " sm86+sm89").substr(0, 8);
  write_atomically(computer.folder() / ("tensorrt-rtx-" + digest + ".kernels"), "of another GPU");
  computer.library().failing = "deserialize";
  enhanced(computer.load());
});

const Claim batches(
    "a batch takes the profile of its size; sizes that any engine lacks are not used", [] {
      NativeComputer computer(kFull);
      equal(dynamic_cast<const GpuDevice&>(computer.load().device()).largest_batch(), 8);
      const ModuleFile gate = computer.file("gate");
      const auto with = [&](const char* sizes) {
        computer.store(computer.key(gate), computer.details(FakeModule("gate"), sizes));
      };
      with("[1, 2, 8, 16]");
      const Model model = computer.load();
      equal(dynamic_cast<const GpuDevice&>(model.device()).largest_batch(), 2);
      enhanced(model);
      with("[2, 4, 8, 16]");
      throws<Error>("expected batches of 1, 2, 4", [&] { computer.load(); });
      with("[1, 2, 4]");
      throws<Error>("expected 3 batch sizes in the engine of gate, found 4",
                    [&] { computer.load(); });
    });

const Claim tensors("an engine with other tensors than its manifest or bundle is refused", [] {
  NativeComputer computer(kFull);
  computer.library().tensors["decoder"].push_back("mask");
  throws<Error>("the bundle's tensors alone in the engine of decoder, found mask",
                [&] { computer.load(); });
  computer.library().tensors["decoder"] = {"z0", "slices"};
  throws<Error>("a tensor image in the engine of decoder", [&] { computer.load(); });
});

const Claim missing(
    "an engine that is not there says what is, and the command that builds one", [] {
      for (const Product& product : {kFull, kRtx}) {
        NativeComputer computer(product);
        computer.drop("expert_1");
        const std::string command =
            "moediff-rt build-engines --backend " + product.backend + " --precision fp16";
        throws<Error>("found none; it was probably not built yet; build it with " + command,
                      [&] { computer.load(); });
        EngineKey other = computer.key(computer.file("expert_1"));
        other.backend_version = "7.0";
        computer.store(other, computer.details(FakeModule("expert_1")));
        throws<Error>("found one by release 7.0;", [&] { computer.load(); });
        other = computer.key(computer.file("expert_1"));
        other.device_name = "B GPU (sm90)";
        computer.store(other, computer.details(FakeModule("expert_1")));
        throws<Error>("one for B GPU (sm90)", [&] { computer.load(); });
        other = computer.key(computer.file("expert_1"));
        other.profile = "b1-2-4-8-g0";
        computer.store(other, computer.details(FakeModule("expert_1")));
        throws<Error>("one of another graph (b1-2-4-8-g0)", [&] { computer.load(); });
      }
    });

const Claim three_numbers("an engine of a package that says three of four numbers is used", [] {
  for (const auto& [said, is_used] :
       {std::pair("7.1.2", true), {"7.1", false}, {"7.1.20", false}}) {
    NativeComputer computer(kFull);
    computer.drop("expert_1");
    EngineKey key = computer.key(computer.file("expert_1"));
    key.backend_version = said;
    computer.store(key, computer.details(FakeModule("expert_1")));
    if (is_used) {
      enhanced(computer.load());
    } else {
      throws<Error>("by release " + key.backend_version, [&] { computer.load(); });
    }
  }
});

const Claim other_models("an engine of another model is none of this one's", [] {
  NativeComputer computer(kFull);
  computer.drop("gate");
  EngineKey other = computer.key(computer.file("gate"));
  // The same first 16 characters, which is what file names have.
  other.onnx_sha256.replace(20, 1, "0");
  computer.store(other, computer.details(FakeModule("gate")));
  throws<Error>("an engine of gate in fp16", [&] { computer.load(); });
});

const Claim damaged("a damaged engine is not loaded, and an older whole one is", [] {
  NativeComputer computer(kFull);
  const EngineKey key = computer.key(computer.file("gate"));
  computer.store(key, R"({"inputs": [], "outputs": 3, "batches": [1]})");
  throws<Error>("one damaged: its manifest has outputs that is no list", [&] { computer.load(); });
  computer.store(key, computer.details(FakeModule("gate")));
  const std::filesystem::path path = EngineCache(computer.folder()).path(key);
  write_atomically(path, read_file(path) + "x");
  throws<Error>("one damaged: 5 bytes, not 4", [&] { computer.load(); });
  EngineKey older = key;
  older.profile = text("b1-2-4-8-more-g", kTensorRTGraphVersion);
  computer.store(older, computer.details(FakeModule("gate")));
  std::filesystem::last_write_time(EngineCache(computer.folder()).path(older),
                                   std::filesystem::file_time_type::min());
  computer.load();
});

const Claim tiles("an engine for tiles of another size is left for an older one", [] {
  NativeComputer computer(kFull);
  EngineKey other = computer.key(computer.file("decoder"));
  other.profile = text("b1-2-4-8-t32x32x3-g", kTensorRTGraphVersion);
  computer.store(other, computer.details(FakeModule("decoder", {32, 32})));
  const EngineCache cache(computer.folder());
  std::filesystem::last_write_time(cache.path(computer.key(computer.file("decoder"))),
                                   std::filesystem::file_time_type::min());
  computer.load();
  computer.drop("decoder");
  throws<Error>("found one for tiles of another size", [&] { computer.load(); });
});

const Claim generations("engines for several generations are for those alone", [] {
  NativeComputer computer(kRtx);
  EngineKey key = computer.key(computer.file("gate"));
  computer.drop("gate");
  key.device_name = "sm8+sm890+sm120";
  computer.store(key, computer.details(FakeModule("gate")));
  throws<Error>("one for sm8+sm890+sm120", [&] { computer.load(); });
});

const Claim requests("what cannot be met is refused by name", [] {
  NativeComputer computer(kFull);
  DeviceRequest request;
  request.precision = "fp8";
  throws<Error>("one of fp32, tf32, fp16, bf16, found fp8", [&] { computer.open(request); });
  request.precision = "bf16";
  throws<Error>("an engine of encoder in bf16", [&] { computer.load(request); });
  request = {};
  request.force = true;
  throws<Error>("use moediff-rt build-engines --backend tensorrt --force",
                [&] { computer.open(request); });
  throws<Error>("expected a folder of engines", [&] {
    make_tensorrt_device("tensorrt", {}, open_tensorrt_runtime(), std::make_unique<HostGpu>(0), {});
  });
});

const Claim unproven("a library that is there has its release told, and auto does not choose it",
                     [] {
                       for (const Product& product : {kFull, kRtx}) {
                         NativeComputer computer(product);
                         const auto backend = make_native_backend(product.backend, product.open);
                         equal(backend->info().name, product.backend);
                         equal(backend->info().version, std::string(kVersion));
                         check(!backend->automatic(), "auto may choose it");
                         computer.library().failing = "createInferRuntime";
                         const BackendInfo info = backend->info();
                         check(!info.available &&
                                   info.reason.find("was told to fail") != std::string::npos,
                               info.reason);
                       }
                     });

const Claim host_side("what the host does has the threads asked for, without a number every core",
                      [] {
                        NativeComputer computer(kFull);
                        DeviceRequest request;
                        request.threads = 3;
                        equal(computer.open(request)->threads(), 3);
                        equal(computer.open()->threads(), usable_cores());
                        request.threads = -1;
                        throws<Error>("expected 0 (all cores) to 1024, found -1",
                                      [&] { computer.open(request); });
                      });

const Claim memory("a memory limit is kept to, and without one a tenth is left to others", [] {
  NativeComputer computer(kFull);
  DeviceRequest request;
  request.memory_limit = 60000;
  const Model small = computer.load(request);
  enhanced(small);
  check(computer.gpu().most_memory() <= 60000, "took ", computer.gpu().most_memory());
  const auto device = computer.open();
  equal(device->memory_limit(), device->gpu().free_memory() / 10 * 9);
});

}  // namespace
