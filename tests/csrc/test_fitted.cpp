// A model for tiles of other sizes.
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "claim.h"
#include "core/enhance.h"
#include "core/load_model.h"
#include "fake_device.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

constexpr int kModules = 7;

// Counts the modules that its device loads.
struct Counted {
  std::shared_ptr<std::atomic<int>> loads = std::make_shared<std::atomic<int>>(0);
  // Called as a module is loaded, with the number of those before.
  std::shared_ptr<std::function<void(int)>> hook =
      std::make_shared<std::function<void(int)>>([](int) {});
  std::shared_ptr<Model> model;

  explicit Counted(bool any_tile_size = true, TileSize largest = {40, 40},
                   int tiles_per_request = 1) {
    FakeSettings settings;
    settings.any_tile_size = any_tile_size;
    settings.tiles_per_request = tiles_per_request;
    settings.on_load = [loads = loads, hook = hook] { (*hook)((*loads)++); };
    Bundle bundle = fake_bundle().with_tile(largest);
    model = std::make_shared<Model>(std::move(bundle), std::make_shared<FakeDevice>(settings),
                                    Model::OnEngine());
    *loads = 0;
  }
};

const Claim own("a model fits its own tile without loading anything", [] {
  const Counted counted;
  check(counted.model->fitted({40, 40}).get() == counted.model.get(), "another model");
  equal(counted.loads->load(), 0);
});

const Claim sizes("a fitted model has the sizes of its tile", [] {
  const Counted counted;
  const auto fitted = counted.model->fitted({16, 24});
  const Bundle& bundle = fitted->bundle();
  check(bundle.tile() == TileSize{16, 24}, "another tile");
  equal(bundle.latent_height, 4);
  equal(bundle.latent_width, 6);
  equal(bundle.gate_height, 2);
  equal(bundle.gate_width, 3);
  equal(bundle.align_x(), counted.model->bundle().align_x());
  equal(fitted->token_elements(), int64_t{6});
});

const Claim kept("the sizes last asked for stay loaded, the others are loaded again", [] {
  const Counted counted;
  constexpr int kKept = kMostPlanes * kMostTileSizes;
  const auto ask = [&](int i) { counted.model->fitted({8 * (1 + i / 4), 8 * (1 + i % 4)}); };
  for (int i = 0; i < kKept; ++i) ask(i);
  for (const int i : {0, 2, 0}) ask(i);
  equal(counted.loads->load(), kKept * kModules);
  ask(kKept);  // 1 is the one unused for longest
  for (int i = 0; i <= kKept; ++i) {
    if (i != 1) ask(i);
  }
  equal(counted.loads->load(), (kKept + 1) * kModules);
  ask(1);
  equal(counted.loads->load(), (kKept + 2) * kModules);
});

const Claim observed("what on_engine throws ends the build, and nothing is kept", [] {
  const Counted counted;
  int told = 0;
  const auto stop = [&](const EngineReport&) {
    if (++told == 3) throw std::runtime_error("asked to stop");
  };
  throws<std::runtime_error>("asked to stop", [&] { counted.model->fitted({16, 16}, stop); });
  join_left_loads();
  equal(counted.loads->load(), 3);
  counted.model->fitted({16, 16});
  equal(counted.loads->load(), 3 + kModules);
});

void asks_to_stop() { throw std::runtime_error("asked to stop"); }

// A build whose first module waits until it is released.
struct SlowBuild {
  std::promise<void> begin, end;

  explicit SlowBuild(const Counted& counted, std::function<void()> then = [] {}) {
    const int first = *counted.loads;
    *counted.hook = [this, first, then, ended = end.get_future().share()](int before) {
      if (before != first) return;
      begin.set_value();
      ended.wait();
      then();
    };
  }
};

const Claim polled("what poll throws comes back while an engine is still being built", [] {
  const Counted counted;
  SlowBuild slow(counted);
  throws<std::runtime_error>("asked to stop",
                             [&] { counted.model->fitted({16, 16}, {}, asks_to_stop); });
  slow.end.set_value();
  join_left_loads();
  counted.model->fitted({16, 16});
  equal(counted.loads->load(), 1 + kModules);
});

const Claim apart("while a size is built others are had, and who waits for it is polled", [] {
  const Counted counted;
  const auto ask = [&](int size) { return counted.model->fitted({size, size}); };
  const auto kept = ask(8);
  SlowBuild slow(counted);
  auto builder = std::async(std::launch::async, ask, 16);
  slow.begin.get_future().wait();
  check(ask(8) == kept, "built again");
  const auto waits = [&] { counted.model->fitted({16, 16}, {}, asks_to_stop); };
  throws<std::runtime_error>("asked to stop", waits);
  slow.end.set_value();
  check(builder.get() == ask(16), "built again");
  equal(counted.loads->load(), 2 * kModules);
});

const Claim anew("who waits for a build that fails builds anew", [] {
  const Counted counted;
  SlowBuild slow(counted, [] { throw std::runtime_error("no device"); });
  auto builder = std::async(std::launch::async, [&] { counted.model->fitted({16, 16}); });
  slow.begin.get_future().wait();
  std::promise<void> waiting;
  bool told = false;
  const auto tell = [&] {
    if (!told) waiting.set_value();
    told = true;
  };
  auto waiter =
      std::async(std::launch::async, [&] { return counted.model->fitted({16, 16}, {}, tell); });
  waiting.get_future().wait();
  slow.end.set_value();
  throws<std::runtime_error>("no device", [&] { builder.get(); });
  check(waiter.get()->bundle().tile() == TileSize{16, 16}, "another tile");
  equal(counted.loads->load(), 1 + kModules);
});

std::vector<TileSize> sizes_used(const Model& model) {
  const std::vector<float> from = fake_volume();
  std::vector<float> out(from.size());
  const std::vector<Box> boxes(kFakeShape.nz, {8, 22, 4, 27});
  return enhance(model, from.data(), kFakeShape, boxes, {}, out.data(), nullptr, {}).tile_sizes;
}

const Claim used("enhance() fits the tiles where the device takes any size, else not", [] {
  using Sizes = std::vector<TileSize>;
  check(sizes_used(*Counted(true).model) == Sizes{{16, 24}}, "not the size of the boxes");
  check(sizes_used(*Counted(false).model) == Sizes{{40, 40}}, "not the largest");
});

const Claim mixed("slices with tiles of their own sizes come out as each size alone has them", [] {
  const VolumeShape shape{90, 40, 40};
  std::vector<float> volume(shape.voxels());
  for (size_t i = 0; i < volume.size(); ++i) volume[i] = std::sin(0.37f * i) + 0.001f * (i % 977);
  std::vector<Box> wide(shape.nz), narrow(shape.nz), all(shape.nz);
  for (int z = 0; z < shape.nz; ++z) {
    (z % 3 ? narrow : wide)[z] = all[z] = z % 3 ? Box{9, 15, 18, 24} : Box{0, 40, 0, 40};
  }
  const auto enhanced = [&](const std::vector<Box>& boxes, int batch, int tiles_per_request = 1) {
    const Counted counted(true, {40, 40}, tiles_per_request);
    std::vector<float> out(shape.voxels());
    EnhanceOptions options;
    options.batch = batch;
    const EnhanceReport report =
        enhance(*counted.model, volume.data(), shape, boxes, options, out.data(), nullptr, {});
    return std::pair(out, report);
  };
  const auto [found, report] = enhanced(all, 0);
  check(report.tile_sizes == std::vector<TileSize>{{40, 40}, {8, 8}}, "other sizes");
  equal(report.tiles, shape.nz);
  const std::vector<float> alone[] = {enhanced(wide, 0).first, enhanced(narrow, 0).first};
  for (int64_t i = 0; i < shape.voxels(); ++i) {
    equal(found[i], alone[i / shape.slice() % 3 ? 1 : 0][i]);
  }
  for (const int batch : {1, 3, 100}) {
    for (const int tiles : {1, 2, 4}) {
      check(enhanced(all, batch, tiles).first == found, batch, " a batch, ", tiles, " a request");
    }
  }
  const Counted counted;
  enhance(*counted.model, volume.data(), shape, all, {}, volume.data(), nullptr, {});
  check(volume == found, "in its place");
});

const Claim told("enhance() tells of the engines that it had to build, and of no others", [] {
  const Counted counted;
  const std::vector<float> from = fake_volume();
  std::vector<float> out(from.size());
  std::vector<std::string> modules;
  EnhanceObserver observer;
  observer.on_engine = [&](const EngineReport& report) { modules.push_back(report.module); };
  for (int time = 0; time < 2; ++time) {
    const std::vector<Box> boxes(kFakeShape.nz, {8, 22, 4, 27});
    enhance(*counted.model, from.data(), kFakeShape, boxes, {}, out.data(), nullptr, observer);
    equal(modules.size(), size_t{kModules});
  }
  equal(modules.front(), "encoder");
});

const Claim nothing("a volume of background loads no other size", [] {
  const Counted counted;
  const std::vector<float> from = fake_volume();
  std::vector<float> out(from.size());
  const EnhanceReport report =
      enhance(*counted.model, from.data(), kFakeShape, std::vector<Box>(kFakeShape.nz), {},
              out.data(), nullptr, {});
  check(out == from, "background changed");
  equal(report.tiles, 0);
  equal(counted.loads->load(), 0);
});

}  // namespace
