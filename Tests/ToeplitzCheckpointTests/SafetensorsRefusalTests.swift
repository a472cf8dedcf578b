import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

/// Malformed safetensors files: each breaks one rule and is refused for it.
@Suite struct SafetensorsRefusalTests {
  private func refuse(
    _ header: String, data: Int = 0, _ text: String, location: SourceLocation = #_sourceLocation
  ) {
    let bytes = safetensors(header, [UInt8](repeating: 0, count: data))
    Parser.safetensors.expectRefusal(bytes, text, location: location)
  }

  private func entry(_ dtype: String, _ shape: String, _ offsets: String) -> String {
    #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(offsets)}"#
  }

  @Test func lengths() {
    let parser = Parser.safetensors
    parser.expectRefusal([], "8 bytes of the header's length")
    parser.expectRefusal([1, 2, 3], "8 bytes")
    parser.expectRefusal([0, 0, 0, 0, 0, 0, 0, 0], "starts with '{'")
    parser.expectRefusal([200, 0, 0, 0, 0, 0, 0, 0, 0x7B], "200 bytes of the header")
    // A header of 2^60 and of 2^64 - 1 bytes, and one beyond the limit.
    parser.expectRefusal([0, 0, 0, 0, 0, 0, 0, 0x10, 0x7B], "at most 100000000 bytes")
    parser.expectRefusal([UInt8](repeating: 0xFF, count: 16), "at most 100000000 bytes")
    parser.expectRefusal([1, 0xE1, 0xF5, 5, 0, 0, 0, 0, 0x7B], "at most 100000000 bytes")
  }

  @Test func json() {
    refuse("", "starts with '{'")
    refuse(" {}", "starts with '{'")
    refuse("[]", "starts with '{'")
    refuse("{", "'\"', got the end")
    refuse("{}x", "the end of the text")
    refuse("{} \u{0}", "the end of the text")
    refuse("{\"x\"}", "':'")
    refuse("{\"x\":1}", "'{'")
    refuse("{\"x\":null}", "'{'")
    refuse("{x:1}", "'\"'")
    refuse("{\"x", "the end of a string")
    refuse("{\"x\\", "the end of a string")
    refuse("{\"\\q\":1}", "behind a backslash")
    refuse("{\"\\u12g4\":1}", "four hexadecimal digits")
    refuse("{\"\\ud800\":1}", "a whole surrogate pair")
    refuse("{\"\\ud800\\u0041\":1}", "the second half")
    refuse("{\"\\udc00\":1}", "a whole surrogate pair")
    refuse("{\"a\nb\":1}", "without control characters")
    refuse("{,}", "'\"'")
    let one = entry("U8", "[1]", "[0,1]")
    refuse("{\"x\":\(one),}", data: 1, "'\"'")
    refuse("{\"x\":\(one) \"y\":\(one)}", data: 1, "',' or '}'")
    let deep = String(repeating: "[", count: 100_000)
    refuse("{\"x\":{\"more\":\(deep)", "nested at most")
    refuse("{\"x\":{\"more\":\(String(repeating: "{\"a\":", count: 100_000))", "nested at most")
    refuse("{\"x\":{\"more\":01}}", "leading zeros")
    refuse("{\"x\":{\"more\":1.}}", "a value")
    refuse("{\"x\":{\"more\":-}}", "a value")
    refuse("{\"x\":{\"more\":tru}}", "a value")
    refuse("{\"x\":{\"more\":NaN}}", "a value")
  }

  @Test func invalidUTF8() {
    let bytes = safetensors("{\"??\":1}").map { $0 == UInt8(ascii: "?") ? 0xC3 : $0 }
    Parser.safetensors.expectRefusal(bytes, "strings in UTF-8")
  }

  @Test func names() {
    let one = entry("U8", "[1]", "[0,1]")
    refuse("{\"x\":\(one),\"x\":\(one)}", data: 1, "'x' twice")
    refuse("{\"x\":\(one),\"\\u0078\":\(one)}", data: 1, "'x' twice")
    refuse("{\"__metadata__\":{},\"__metadata__\":{},\"x\":\(one)}", data: 1, "twice")
    refuse("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "'a' twice")
    refuse("{\"__metadata__\":{\"a\":1}}", "'\"'")
    refuse("{\"__metadata__\":\"a\"}", "'{'")
    refuse(
      "{\"x\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", data: 1, "twice")
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", data: 1, "members dtype, shape and data_offsets")
    // A name with line breaks and controls must not break the error's line.
    refuse(
      "{\"a\\nb\\u001b[31m\\u2028\":\(entry("U9", "[1]", "[0,1]"))}", data: 1, "a\\u{a}b\\u{1b}[31m\\u{2028}")
    let long = String(repeating: "x", count: 100_000)
    refuse("{\"\(long)\":\(entry("U9", "[1]", "[0,1]"))}", data: 1, "xxx…")
  }

  @Test func types() {
    refuse("{\"x\":\(entry("F4", "[1]", "[0,2]"))}", data: 2, "test (x): expected dtype F32")
    refuse("{\"x\":\(entry("F8_E3M4", "[1]", "[0,1]"))}", data: 1, "got 'F8_E3M4'")
    refuse("{\"x\":\(entry("f32", "[1]", "[0,4]"))}", data: 4, "got 'f32'")
    refuse("{\"x\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,1]}}", data: 1, "'\"'")
    let bool = safetensors("{\"x\":\(entry("BOOL", "[2]", "[0,2]"))}", [1, 2])
    Parser.safetensors.expectRefusal(bool, "booleans stored as 0 or 1")
  }

  @Test func shapes() {
    refuse("{\"x\":\(entry("U8", "[-1]", "[0,1]"))}", data: 1, "a whole number")
    refuse("{\"x\":\(entry("U8", "[1.0]", "[0,1]"))}", data: 1, "a whole number")
    refuse("{\"x\":\(entry("U8", "[1e0]", "[0,1]"))}", data: 1, "a whole number")
    refuse("{\"x\":\(entry("U8", "[01]", "[0,1]"))}", data: 1, "leading zeros")
    refuse("{\"x\":\(entry("U8", "[99999999999999999999]", "[0,1]"))}", data: 1, "numbers of at most")
    refuse("{\"x\":\(entry("U8", "1", "[0,1]"))}", data: 1, "'['")
    let big = "4611686018427387904"
    refuse("{\"x\":\(entry("F32", "[\(big)]", "[0,4]"))}", data: 4, "a shape of at most")
    refuse("{\"x\":\(entry("U8", "[\(big),\(big)]", "[0,0]"))}", "a shape of at most")
    refuse("{\"x\":\(entry("U8", "[4294967296,4294967296]", "[0,0]"))}", "a shape of at most")
    refuse("{\"x\":\(entry("F32", "[0,\(big)]", "[0,0]"))}", "a shape of at most")
    refuse("{\"x\":\(entry("F32", "[\(big),8,0]", "[0,0]"))}", "a shape of at most")
    let ones = [String](repeating: "1", count: 65).joined(separator: ",")
    refuse("{\"x\":\(entry("U8", "[\(ones)]", "[0,1]"))}", data: 1, "at most 64 dimensions")
    refuse("{\"x\":\(entry("F32", "[3]", "[0,8]"))}", data: 8, "12 bytes for F32[3]")
  }

  @Test func offsets() {
    refuse("{\"x\":\(entry("U8", "[1]", "[1,0]"))}", data: 1, "begin <= end")
    refuse("{\"x\":\(entry("U8", "[1]", "[0]"))}", data: 1, "begin <= end")
    refuse("{\"x\":\(entry("U8", "[1]", "[0,1,1]"))}", data: 1, "at most 2 data_offsets")
    refuse("{\"x\":\(entry("U8", "[1]", "[-1,0]"))}", data: 1, "a whole number")
    refuse("{\"x\":\(entry("U8", "[1]", "[9223372036854775806,9223372036854775807]"))}", data: 1, "a gap")
    refuse(
      "{\"x\":\(entry("U8", "[1]", "[9223372036854775807,9223372036854775808]"))}", data: 1,
      "numbers of at most")
    refuse("{\"x\":\(entry("U8", "[2]", "[0,2]"))}", data: 1, "2 bytes of data")
    refuse("{\"x\":\(entry("U8", "[1]", "[0,1]"))}", data: 2, "1 bytes of data")
    refuse("{}", data: 1, "0 bytes of data")
    refuse("{\"x\":\(entry("U8", "[1]", "[1,2]"))}", data: 2, "a gap")
    let first = entry("U8", "[2]", "[0,2]")
    refuse("{\"x\":\(first),\"y\":\(entry("U8", "[2]", "[1,3]"))}", data: 3, "an overlap")
    refuse("{\"x\":\(first),\"y\":\(entry("U8", "[2]", "[0,2]"))}", data: 2, "an overlap")
    refuse("{\"x\":\(first),\"y\":\(entry("U8", "[0]", "[1,1]"))}", data: 2, "an overlap")
    refuse("{\"x\":\(first),\"y\":\(entry("U8", "[2]", "[3,5]"))}", data: 5, "a gap")
  }

  @Test func unknownMembersAreSkipped() throws {
    let header =
      #"{"x":{"dtype":"U8","new":[{"a":[1,-2.5E+3,true,false,null,"\u00e9\/"]}],"shape":[],"data_offsets":[0,1]}}"#
    try Parser.safetensors.parse(safetensors(header + " \n", [1]))
  }

  @Test func manyEntriesAreReadQuickly() throws {
    let entries = (0..<5000).map { "\"t\($0)\":" + entry("U8", "[1]", "[\($0),\($0 + 1)]") }
    let bytes = safetensors("{\(entries.joined(separator: ","))}", [UInt8](repeating: 0, count: 5000))
    try Parser.safetensors.parse(bytes)
  }

  @Test(arguments: [
    (#"{}"#, "a member weight_map"), (#"[]"#, "'{'"), ("", "'{'"),
    (#"{"weight_map":[]}"#, "'{'"), (#"{"weight_map":{"a":1}}"#, "'\"'"),
    (#"{"weight_map":{"a":"x","a":"y"}}"#, "'a' twice"),
    (#"{"weight_map":{},"weight_map":{}}"#, "twice"),
    (#"{"weight_map":{"a":"../x"}}"#, "without separators"),
    (#"{"weight_map":{"a":"/etc/passwd"}}"#, "without separators"),
    (#"{"weight_map":{"a":"d\\x"}}"#, "without separators"),
    (#"{"weight_map":{"a":".."}}"#, "without separators"),
    (#"{"weight_map":{"a":""}}"#, "without separators"),
    (#"{"weight_map":{"a":"x\u0000.safetensors"}}"#, "without separators"),
    (#"{"weight_map":{"a":"x\n.safetensors"}}"#, "without separators"),
    (#"{"weight_map":{"a":"x\u002f.safetensors"}}"#, "without separators"),
    (#"{"weight_map":{"a":"x"}} x"#, "the end of the text"),
  ])
  func index(_ text: String, _ expected: String) {
    Parser.index.expectRefusal(Array(text.utf8), expected)
  }
}
