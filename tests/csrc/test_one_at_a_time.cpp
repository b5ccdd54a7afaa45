// Waiting for what one thread at a time may use.
#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include "claim.h"
#include "core/one_at_a_time.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using namespace mdr;

namespace {

const Claim alone("one thread at a time has it", [] {
  OneAtATime shared;
  std::atomic<int> inside{0};
  std::atomic<bool> met{false};
  std::vector<std::future<void>> threads;
  for (int i = 0; i < 4; ++i) {
    threads.push_back(std::async(std::launch::async, [&] {
      for (int turn = 0; turn < 50; ++turn) {
        const OneAtATime::Use use(shared, {});
        if (++inside > 1) met = true;
        std::this_thread::yield();
        --inside;
      }
    }));
  }
  for (auto& thread : threads) thread.get();
  check(!met, "two had it at once");
});

const Claim patient("who waits is asked, and may give up; the next one gets it", [] {
  OneAtATime shared;
  int asked = 0;
  {
    const OneAtATime::Use use(shared, {});
    std::async(std::launch::async, [&] {
      throws<std::runtime_error>("enough", [&] {
        const OneAtATime::Use waiting(shared, [&] {
          if (++asked == 2) throw std::runtime_error("enough");
        });
      });
    }).get();
  }
  equal(asked, 2);
  const OneAtATime::Use again(shared, [] { throw std::runtime_error("nobody has it"); });
});

}  // namespace
