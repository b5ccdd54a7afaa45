#include "claim.h"
#include "core/json.h"

using claims::check;
using claims::Claim;
using claims::equal;
using claims::throws;
using mdr::Json;
using mdr::JsonError;

namespace {

void refused(const std::string& text, const std::string& words) {
  throws<JsonError>(words, [&] { Json::parse(text); });
}

const Claim reads_every_type("a document of every type reads back", [] {
  const Json json = Json::parse(
      " {\"s\": \"a\", \"n\": -1.5e2, \"t\": true, \"f\": false, \"z\": null, "
      "\"a\": [1, [], {}]}\n");
  equal(*json.find("s")->string(), "a");
  equal(*json.find("n")->number(), -150.0);
  equal(*json.find("t")->boolean(), true);
  equal(*json.find("f")->boolean(), false);
  equal(std::string(json.find("z")->type_name()), "null");
  equal(json.find("a")->array()->size(), 3u);
  check(json.find("none") == nullptr, "found a member that is not there");
  check(json.find("s")->find("x") == nullptr, "a string has no members");
});

const Claim reads_escapes("escapes and surrogate pairs become UTF-8", [] {
  equal(*Json::parse(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83e\udde0")").string(),
        "\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA7\xA0");
});

const Claim quotes("a quoted string reads back", [] {
  const std::string value = "a\"b\\c\n\x01\xC3\xA9";
  equal(*Json::parse(mdr::json_quote(value)).string(), value);
});

const Claim keeps_doubles("a float64 keeps all its bits", [] {
  equal(*Json::parse("0.1").number(), 0.1);
  equal(*Json::parse("4.9406564584124654e-324").number(), 4.9406564584124654e-324);
});

const Claim refuses_text("text that is not JSON is refused with its place", [] {
  refused("", "unexpected end at line 1, column 1");
  refused("{\n  \"a\": x}", "line 2, column 8");
  refused("{} {}", "after the end");
  for (const char* text : {"[1,]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "[1 2]", "tru", "+1", "01",
                           "1.", ".5", "1e", "-", "NaN", "Infinity", "0x1", "'a'", "// c\n1"}) {
    refused(text, "at line");
  }
});

const Claim refuses_strings("bad strings are refused", [] {
  refused("\"a", "without end");
  refused("\"a\nb\"", "control character");
  refused("\"\\x\"", "unknown escape");
  refused("\"\\u12\"", "\\u escape");
  refused("\"\\u12g4\"", "\\u escape");
  refused("\"\\ud800\"", "surrogate");
  refused("\"\\udc00\"", "surrogate");
  refused("\"\\ud800\\u0041\"", "surrogate");
});

const Claim refuses_ambiguity("a key given twice and a number out of range are refused", [] {
  refused("{\"a\": 1, \"a\": 2}", "given twice");
  refused("1e999", "out of range");
});

const Claim bounds_depth("nesting is bounded", [] {
  const auto nested = [](int depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  Json::parse(nested(Json::kMaxDepth));
  refused(nested(Json::kMaxDepth + 1), "nested too deeply");
  refused(std::string(1000000, '['), "nested too deeply");
});

const Claim survives_truncation("every truncated document is refused", [] {
  const std::string whole = R"({"a": [1.5, "x\u0041", true, null], "b": {"c": -2e3}})";
  for (size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size), "at line");
});

}  // namespace
