#include "core/json.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace mdr {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ < text_.size()) stop("unexpected text after the end");
    return value;
  }

 private:
  [[noreturn]] void stop(const std::string& why) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      line += text_[i] == '\n';
    }
    throw JsonError(why + " at line " + std::to_string(line) + ", column " +
                    std::to_string(column));
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }

  char peek() {
    skip_space();
    if (at_ >= text_.size()) stop("unexpected end");
    return text_[at_];
  }

  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }

  void take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) stop("unexpected text");
    at_ += word.size();
  }

  Json parse_value(int depth) {
    if (depth > Json::kMaxDepth) stop("nested too deeply");
    switch (peek()) {
      case '{':
        return parse_object(depth);
      case '[':
        return parse_array(depth);
      case '"':
        return Json(parse_string());
      case 't':
        take_word("true");
        return Json(true);
      case 'f':
        take_word("false");
        return Json(false);
      case 'n':
        take_word("null");
        return Json();
      default:
        return Json(parse_number());
    }
  }

  Json parse_object(int depth) {
    Json::Object members;
    ++at_;
    if (take('}')) return Json(std::move(members));
    do {
      if (peek() != '"') stop("expected a key in quotes");
      std::string key = parse_string();
      for (const auto& member : members) {
        if (member.first == key) stop("key " + json_quote(key) + " given twice");
      }
      if (!take(':')) stop("expected ':'");
      members.emplace_back(std::move(key), parse_value(depth + 1));
    } while (take(','));
    if (!take('}')) stop("expected ',' or '}'");
    return Json(std::move(members));
  }

  Json parse_array(int depth) {
    Json::Array items;
    ++at_;
    if (take(']')) return Json(std::move(items));
    do {
      items.push_back(parse_value(depth + 1));
    } while (take(','));
    if (!take(']')) stop("expected ',' or ']'");
    return Json(std::move(items));
  }

  bool digit_at(size_t i) const { return i < text_.size() && text_[i] >= '0' && text_[i] <= '9'; }

  double parse_number() {
    size_t end = at_;
    const auto digits = [&] {
      if (!digit_at(end)) stop("unexpected text");
      while (digit_at(end)) ++end;
    };
    if (end < text_.size() && text_[end] == '-') ++end;
    if (end < text_.size() && text_[end] == '0') {
      ++end;
    } else {
      digits();
    }
    if (end < text_.size() && text_[end] == '.') {
      ++end;
      digits();
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      ++end;
      if (end < text_.size() && (text_[end] == '+' || text_[end] == '-')) ++end;
      digits();
    }
    double value = 0;
    const auto result = std::from_chars(text_.data() + at_, text_.data() + end, value);
    if (result.ec != std::errc() || !std::isfinite(value)) stop("number out of range");
    at_ = end;
    return value;
  }

  unsigned parse_hex4() {
    unsigned code = 0;
    if (at_ + 4 > text_.size()) stop("bad \\u escape");
    const auto result = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (result.ptr != text_.data() + at_ + 4) stop("bad \\u escape");
    at_ += 4;
    return code;
  }

  void append_escape(std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    if (at_ >= text_.size()) stop("unexpected end");
    const char name = text_[at_++];
    if (const size_t i = kNames.find(name); i != kNames.npos) {
      out += kValues[i];
      return;
    }
    if (name != 'u') stop("unknown escape");
    unsigned code = parse_hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (text_.substr(at_, 2) != "\\u") stop("half a surrogate pair");
      at_ += 2;
      const unsigned low = parse_hex4();
      if (low < 0xDC00 || low > 0xDFFF) stop("half a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      stop("half a surrogate pair");
    }
    append_utf8(out, code);
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int tail = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[tail] | (code >> (6 * tail)));
    for (int i = tail - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }

  std::string parse_string() {
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) stop("string without end");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) stop("control character in a string");
      ++at_;
      if (c == '"') return out;
      if (c == '\\') {
        append_escape(out);
      } else {
        out += c;
      }
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).document(); }

const Json* Json::find(std::string_view key) const {
  if (const Object* members = object()) {
    for (const auto& member : *members) {
      if (member.first == key) return &member.second;
    }
  }
  return nullptr;
}

const char* Json::type_name() const {
  static constexpr const char* kNames[] = {"null",     "a boolean", "a number",
                                           "a string", "an array",  "an object"};
  return kNames[value_.index()];
}

std::string json_quote(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace mdr
