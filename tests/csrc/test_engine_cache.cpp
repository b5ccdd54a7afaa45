#include "backends/engine_cache.h"
#include "claim.h"
#include "core/files.h"
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

const Claim names("the file's name holds no character that a file system may refuse", [] {
  equal(EngineCache("/c").blob_path(key()).string(),
        "/c/gate-aaaaaaaaaaaaaaaa-openvino-GPU_0-fp32-b1.blob");
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

const Claim collision("models whose hashes share 16 digits never share an engine", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1);
  EngineKey other = key();
  other.onnx_sha256.back() = 'b';
  equal(cache.blob_path(other), cache.blob_path(key()));
  check(!cache.find(other).blob, "another model's engine was returned");
});

const Claim damaged("a damaged engine is not returned", [] {
  const ScratchFolder folder;
  const EngineCache cache(folder.path());
  cache.store(key(), "blob", 1);
  write_atomically(cache.blob_path(key()), "blub");
  equal(cache.find(key()).reason, "damaged: its SHA-256 differs from its manifest's");
  write_atomically(cache.blob_path(key()), "blo");
  equal(cache.find(key()).reason, "damaged: 3 bytes, not 4");
});

const Claim unwritable("a folder that cannot be made is a reason, not a failure", [] {
  const ScratchFolder folder;
  write_atomically(folder.path() / "file", "");
  const EngineCache cache(folder.path() / "file" / "engines");
  check(cache.store(key(), "blob", 1).rfind("not kept: ", 0) == 0, "no reason");
});

}  // namespace
