#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mdr {

// The whole file; throws std::runtime_error with the system's reason.
std::string read_file(const std::filesystem::path& path);

// SHA-256 of a file, read in pieces; throws std::runtime_error with the system's reason.
std::string sha256_of_file(const std::filesystem::path& path);

// Temporary file beside `path`, fsync, rename; throws std::runtime_error and leaves nothing behind.
void write_atomically(const std::filesystem::path& path, std::string_view data);

}  // namespace mdr
