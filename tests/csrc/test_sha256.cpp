#include "claim.h"
#include "core/sha256.h"

using claims::Claim;
using claims::equal;
using mdr::Sha256;
using mdr::sha256_hex;

namespace {

const Claim known("FIPS 180-4 examples give the published digests", [] {
  equal(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  equal(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  equal(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  equal(sha256_hex(std::string(1000000, 'a')),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
});

const Claim pieces("the digest does not depend on how the data is cut", [] {
  std::string data;
  for (int i = 0; i < 300; ++i) data += static_cast<char>(i * 7);
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    Sha256 hash;
    hash.update(data.data(), cut);
    hash.update(data.data() + cut, data.size() - cut);
    equal(hash.hex(), sha256_hex(data));
  }
});

}  // namespace
