#include <cmath>
#include <vector>

#include "claim.h"
#include "ops/start_latent.h"

using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

constexpr LatentShape kShape{5, 3, 37};
constexpr StartScalars kScalars{0.7f, 0.6f, 11};
constexpr int kSize = 5 * 3 * 37;

const Claim noised("the start is the low-field latent and the noise of index 0, by the element",
                   [] {
                     std::vector<float> z(kSize);
                     for (int i = 0; i < kSize; ++i) z[i] = static_cast<float>(std::sin(0.1 * i));
                     const std::vector<float> z_low = z;
                     start_latent_cpu(kShape, kScalars, {1, 2, 3}, z.data(), z.data());
                     for (int i = 0; i < kSize; ++i) {
                       const int c = i / 111, y = i % 111 / 37, x = i % 37;
                       const float noise = normal_of(normal4(11, 0, 1 + x, 2 + y, 3, c), c);
                       equal(z[i], start_value(z_low[i], noise, kScalars));
                       equal(start_value(z_low[i], noise, kScalars),
                             0.7f * z_low[i] + 0.6f * noise);
                     }
                   });

const Claim noise("without a low-field latent the start is the noise itself", [] {
  std::vector<float> z(kSize), normals(kSize);
  start_latent_cpu(kShape, kScalars, {1, 2, 3}, nullptr, z.data());
  normal_cpu(11, 0, {1, 2, 3}, 5, 3, 37, normals.data());
  for (int i = 0; i < kSize; ++i) equal(z[i], normals[i]);
});

}  // namespace
