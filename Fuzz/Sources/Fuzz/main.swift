// Feeds mutated bytes to one of the parsers under libFuzzer and the address sanitizer; see run.sh.

import Foundation
import Toeplitz

@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
  _ count: UnsafeMutablePointer<Int32>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private let parser = try Parser(ProcessInfo.processInfo.environment["PARSER"] ?? "onnx")

/// Parses one input; typed errors are what bad input should give.
nonisolated private func one(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  do {
    try parser.parse([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
  } catch is ToeplitzError {
    return 0
  } catch {
    fatalError("an error of another type: \(error)")
  }
  return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(withUnsafeMutablePointer(to: &arguments) { runDriver(&count, $0, { one($0, $1) }) })
