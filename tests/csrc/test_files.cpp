#include "claim.h"
#include "core/files.h"
#include "core/sha256.h"
#include "scratch_folder.h"

using claims::Claim;
using claims::equal;
using claims::throws;

namespace fs = std::filesystem;

namespace {

int count(const fs::path& folder) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) files += entry.exists();
  return files;
}

const Claim round_trip("what is written reads back, and replaces what was there", [] {
  const ScratchFolder folder;
  const fs::path path = folder.path() / "a";
  const std::string large(3 << 20, 'x');
  for (const std::string& data : {std::string("one"), large, std::string()}) {
    mdr::write_atomically(path, data);
    equal(mdr::read_file(path) == data, true);
    equal(mdr::sha256_of_file(path), mdr::sha256_hex(data));
    equal(count(folder.path()), 1);
  }
});

const Claim failure("a failed write says why and leaves nothing", [] {
  const ScratchFolder folder;
  throws<std::runtime_error>("No such file",
                             [&] { mdr::write_atomically(folder.path() / "no" / "a", "x"); });
  fs::create_directory(folder.path() / "taken");
  throws<std::runtime_error>("Is a directory",
                             [&] { mdr::write_atomically(folder.path() / "taken", "x"); });
  equal(count(folder.path()), 1);
});

const Claim missing("a missing file says so", [] {
  throws<std::runtime_error>("No such file", [] { mdr::read_file("/no/such/file"); });
});

}  // namespace
