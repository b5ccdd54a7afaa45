#include "backends/engine_cache.h"

#include <thread>

#include "claim.h"
#include "core/files.h"
#include "core/json.h"
#include "scratch_folder.h"

using claims::check;
using claims::Claim;
using claims::equal;
using namespace mdr;

namespace {

EngineKey key() {
  return {"gate", std::string(64, 'a'), "openvino", "2026.4", "GPU.0", "A GPU (x)", "fp32", "b1"};
}

const Claim round_trip("a stored engine is found again", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path() / "deep" / "engines");
  equal(cache.find(key()).reason, "not in the cache");
  equal(cache.store(key(), "blob", 1.5), "");
  equal(cache.find(key()).blob.value(), "blob");
  equal(cache.find(key()).reason, "");
});

const Claim manifest("what else the manifest shall say comes back with the engine", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1, R"({"targets": ["sm86"]})");
  const Json found = Json::parse(cache.find(key()).manifest);
  equal(*found.find("module")->string(), "gate");
  check(found.find("details")->find("targets") != nullptr, "no details");
  EngineKey other = key();
  other.precision = "fp16";
  equal(cache.find(other).manifest, "");
});

const Claim names("the file's name holds no character that a file system may refuse", [] {
  const std::string name = EngineCache("/c").path(key()).string();
  const std::string stem = "/c/gate-aaaaaaaaaaaaaaaa-openvino-GPU_0-fp32-b1-";
  equal(name.substr(0, stem.size()), stem);
  equal(name.find_first_not_of("0123456789abcdef", stem.size()), name.find(".engine"));
  equal(name.size(), stem.size() + 8 + 7);
});

const Claim kept("what is kept of a module is told whatever the device name, release and profile",
                 [] {
                   const ScratchFolder folder;
                   const EngineCache cache(folder.path());
                   std::vector<EngineKey> stored(6, key());
                   stored[1].device_name = "B";
                   stored[2].backend_version = "2026.5";
                   stored[3].profile = "b2";
                   stored[4].precision = "fp16";
                   stored[5].onnx_sha256[20] =
                       'b';  // file names have the first 16 characters alone
                   stored[5].device_name = "C";
                   for (const EngineKey& one : stored) cache.store(one, "blob", 1);
                   write_atomically(
                       folder.path() / "gate-aaaaaaaaaaaaaaaa-openvino-GPU_0-fp32-b1-x.engine",
                       "{");
                   const std::vector<EngineKey> found = cache.kept(key());
                   equal(found.size(), size_t{4});
                   for (const EngineKey& one : found)
                     check(cache.find(one).blob.has_value(), "not found again");
                 });

const Claim stale("every difference is named, old before new", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1);
  EngineKey wanted = key();
  wanted.backend_version = "2026.5";
  wanted.device_name = "B";
  const auto found = cache.find(wanted);
  equal(found.reason, "openvino 2026.4 -> 2026.5, device A GPU (x) -> B");
  check(!found.blob, "a stale engine was returned");
});

const Claim shared("computers that share a folder each keep an engine of their own", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  EngineKey other = key();
  other.device_name = "B";
  cache.store(key(), "one", 1);
  cache.store(other, "two", 1);
  equal(cache.find(key()).blob.value(), "one");
  equal(cache.find(other).blob.value(), "two");
});

const Claim together("whoever reads while two write finds a whole engine, never parts of both", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  const std::string blobs[] = {std::string(100000, 'a'), std::string(200000, '\n')};
  cache.store(key(), blobs[0], 1);
  std::thread writers[2];
  for (int i = 0; i < 2; ++i) {
    writers[i] = std::thread([&, i] {
      for (int n = 0; n < 10; ++n) cache.store(key(), blobs[i], 1);
    });
  }
  bool whole = true;
  for (int n = 0; n < 50; ++n) {
    const auto found = cache.find(key());
    whole = whole && (found.blob == blobs[0] || found.blob == blobs[1]);
  }
  for (std::thread& writer : writers) writer.join();
  check(whole, "a damaged engine was found");
});

const Claim collision("models whose hashes share 16 digits never share an engine", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1);
  EngineKey other = key();
  other.onnx_sha256.back() = 'b';
  equal(cache.path(other), cache.path(key()));
  check(!cache.find(other).blob, "another model's engine was returned");
});

const Claim damaged("a damaged engine is not returned", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1);
  const std::string entry = read_file(cache.path(key()));
  const std::string manifest = entry.substr(0, entry.size() - 4);
  write_atomically(cache.path(key()), manifest + "blub");
  equal(cache.find(key()).reason, "damaged: its SHA-256 differs from its manifest's");
  write_atomically(cache.path(key()), manifest + "blo");
  equal(cache.find(key()).reason, "damaged: 3 bytes, not 4");
  for (size_t size = 0; size < entry.size(); ++size) {
    write_atomically(cache.path(key()), entry.substr(0, size));
    check(!cache.find(key()).blob, "an engine cut at ", size, " was returned");
  }
});

const Claim unwritable("a folder that cannot be made is a reason, not a failure", [] {
  const ScratchFolder folder;
  write_atomically(folder.path() / "file", "");
  const EngineCache cache(folder.path() / "file" / "engines");
  check(cache.store(key(), "blob", 1).rfind("not kept: ", 0) == 0, "no reason");
});

}  // namespace
