import Foundation
import ToeplitzCheckpoint
import ToeplitzTensor

/// A file of numbers that TensorBoard shows.
///
/// Records of TensorFlow's format (length, its checksum, bytes, their checksum) with `Event` messages of protocol buffers. A run that
/// goes on begins another file in the same folder, whose first event tells TensorBoard to forget later steps.
struct EventFile {
  private let path: String

  /// Begins a file in a folder, for events after `step`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written.
  init(folder: String, after step: Int) throws {
    let time = Date().timeIntervalSince1970
    let files = FileManager.default
    var number = 0
    var path: String
    repeat {
      let name = "events.out.tfevents.\(Int(time)).toeplitz.\(number)"
      path = URL(fileURLWithPath: folder).appending(path: name).path
      number += 1
    } while files.fileExists(atPath: path)
    self.path = path
    guard files.createFile(atPath: path, contents: nil) else {
      throw ToeplitzError(.file, path, expected: "a file that can be written", got: "none")
    }
    var version = ProtobufWriter()
    version.write(1, time)
    version.write(3, "brain.Event:2")
    var start = ProtobufWriter()
    start.write(1, time)
    start.write(2, step)
    // SessionLog.START.
    start.write(7) { $0.write(1, 1) }
    try write([version] + (step > 0 ? [start] : []))
  }

  /// Adds numbers of a step.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if they cannot be written.
  func add(step: Int, _ numbers: [String: Double]) throws {
    var event = ProtobufWriter()
    event.write(1, Date().timeIntervalSince1970)
    event.write(2, step)
    event.write(5) { summary in
      for (name, number) in numbers.sorted(by: { $0.key < $1.key }) {
        summary.write(1) { value in
          value.write(1, name)
          value.write(2, Float(number))
        }
      }
    }
    try write([event])
  }

  private func write(_ messages: [ProtobufWriter]) throws {
    var record: [UInt8] = []
    for message in messages {
      var length: [UInt8] = []
      length.append(littleEndian: UInt64(message.bytes.count))
      for part in [length, message.bytes] {
        record += part
        record.append(littleEndian: Self.masked(CRC32C.checksum(part)))
      }
    }
    do {
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
      defer { try? handle.close() }
      try handle.seekToEnd()
      try handle.write(contentsOf: Data(record))
    } catch {
      throw ToeplitzError(.file, path, expected: "a file that can be written", got: error.localizedDescription)
    }
  }

  /// Checksums of bytes that hold checksums are weak, so they are stored changed.
  private static func masked(_ checksum: UInt32) -> UInt32 { (checksum >> 15 | checksum << 17) &+ 0xA282_EAD8 }
}

/// The checksum of TensorFlow's records: CRC-32 with the reversed Castagnoli polynomial 0x82F63B78.
enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0x82F6_3B78 ^ value >> 1 : value >> 1 }
  }

  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(UInt32.max) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
  }
}
