#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/sha256.h"

namespace mdr {
namespace {

[[noreturn]] void stop(const std::filesystem::path& path) {
  throw std::runtime_error(path.string() + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

void read_in_pieces(const std::filesystem::path& path,
                    const std::function<void(const char*, size_t)>& piece) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) stop(path);
  std::vector<char> buffer(1 << 20);
  while (true) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got == 0) return;
    if (got > 0) {
      piece(buffer.data(), static_cast<size_t>(got));
    } else if (errno != EINTR) {
      stop(path);
    }
  }
}

void write_whole(int fd, std::string_view data, const std::filesystem::path& path) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd, data.data(), data.size());
    if (put >= 0) {
      data.remove_prefix(static_cast<size_t>(put));
    } else if (errno != EINTR) {
      stop(path);
    }
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  std::string data;
  read_in_pieces(path, [&](const char* bytes, size_t count) { data.append(bytes, count); });
  return data;
}

std::string sha256_of_file(const std::filesystem::path& path) {
  Sha256 hash;
  read_in_pieces(path, [&](const char* bytes, size_t count) { hash.update(bytes, count); });
  return hash.hex();
}

void write_atomically(const std::filesystem::path& path, std::string_view data) {
  std::string temporary = path.string() + ".XXXXXX";
  Descriptor file(::mkstemp(temporary.data()));
  if (file.get() < 0) stop(path);
  try {
    write_whole(file.get(), data, path);
    if (::fchmod(file.get(), 0644) != 0 || ::fsync(file.get()) != 0 || !file.close()) stop(path);
    if (::rename(temporary.c_str(), path.c_str()) != 0) stop(path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

}  // namespace mdr
