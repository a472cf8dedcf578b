import Foundation
import ToeplitzTensor

/// The float32 tensors of a safetensors file, read without the library's own reader.
public struct GoldenFile {
  private struct Entry: Decodable {
    var dtype: String
    var shape: [Int]
    // swift-format-ignore: AlwaysUseLowerCamelCase
    var data_offsets: [Int]
  }
  private var tensors: [String: Tensor] = [:]

  /// Reads a file under `Tests/Fixtures`.
  public init(fixture: String) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path(fixture)))
    let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try JSONDecoder().decode([String: Entry].self, from: data[8..<(8 + length)])
    for (name, entry) in header {
      precondition(entry.dtype == "F32", "only float32 is read here")
      let bytes = [UInt8](data[(8 + length + entry.data_offsets[0])..<(8 + length + entry.data_offsets[1])])
      let values = bytes.withUnsafeBytes { raw in
        (0..<(bytes.count / 4)).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
      }
      tensors[name] = try Tensor(values, shape: Shape(entry.shape))
    }
  }

  /// The tensor of that name, if there is one.
  public subscript(name: String) -> Tensor? { tensors[name] }
}
