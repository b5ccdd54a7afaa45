// A model for tiles of other sizes.
#include <memory>
#include <stdexcept>
#include <vector>

#include "claim.h"
#include "core/enhance.h"
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
  std::shared_ptr<int> loads = std::make_shared<int>(0);
  std::shared_ptr<Model> model;

  explicit Counted(bool any_tile_size = true, TileSize largest = {40, 40}) {
    FakeSettings settings;
    settings.any_tile_size = any_tile_size;
    settings.on_load = [loads = loads] { ++*loads; };
    Bundle bundle = fake_bundle().with_tile(largest);
    model = std::make_shared<Model>(std::move(bundle), std::make_shared<FakeDevice>(settings),
                                    Model::OnEngine());
    *loads = 0;
  }
};

const Claim own("a model fits its own tile without loading anything", [] {
  const Counted counted;
  check(counted.model->fitted({40, 40}, {}).get() == counted.model.get(), "another model");
  equal(*counted.loads, 0);
});

const Claim sizes("a fitted model has the sizes of its tile", [] {
  const Counted counted;
  const auto fitted = counted.model->fitted({16, 24}, {});
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
  const auto ask = [&](int height) { counted.model->fitted({height, 8}, {}); };
  for (const int height : {8, 16, 8, 16, 8}) ask(height);
  equal(*counted.loads, 2 * kModules);
  ask(24);  // 16 is the one unused for longest
  for (const int height : {8, 24, 8}) ask(height);
  equal(*counted.loads, 3 * kModules);
  ask(16);
  equal(*counted.loads, 4 * kModules);
});

const Claim polled("what poll throws while engines are loaded comes back, and nothing is kept", [] {
  const Counted counted;
  int polls = 0;
  const auto stop = [&] {
    if (++polls == 3) throw std::runtime_error("asked to stop");
  };
  throws<std::runtime_error>("asked to stop", [&] { counted.model->fitted({16, 16}, stop); });
  equal(*counted.loads, 3);
  counted.model->fitted({16, 16}, {});
  equal(*counted.loads, 3 + kModules);
});

TileSize tile_used(const Model& model) {
  const std::vector<float> from = fake_volume();
  std::vector<float> out(from.size());
  const std::vector<Box> boxes(kFakeShape.nz, {8, 22, 4, 27});
  return enhance(model, from.data(), kFakeShape, boxes, {}, out.data(), nullptr, {}).tile;
}

const Claim used("enhance() fits the tiles where the device takes any size, else not", [] {
  check(tile_used(*Counted(true).model) == TileSize{16, 24}, "not the size of the boxes");
  check(tile_used(*Counted(false).model) == TileSize{40, 40}, "not the largest");
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
  equal(*counted.loads, 0);
});

}  // namespace
