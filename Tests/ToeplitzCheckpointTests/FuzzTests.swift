import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint

/// Seeded mutations of good files: every result is a value or a ``ToeplitzError``, never a crash or a hang.
@Suite struct FuzzTests {
  private static let rounds = 4000

  private static func seeds(_ parser: Parser) throws -> [[UInt8]] {
    switch parser {
    case .safetensors:
      return [try readFile(fixture("reference.safetensors")), try readFile(fixture("bfloat16.safetensors"))]
    case .index:
      return [
        Array(
          #"{"metadata":{"total_size":12.5e0,"a":[true,null]},"weight_map":{"a":"m-1.safetensors","b\u00e9":"m"}}"#
            .utf8)
      ]
    case .npy:
      return try ["fortran", "little-f4", "big-i2", "little-b1", "version2", "scalar"].map {
        try readFile(fixture("\($0).npy"))
      }
    case .npz:
      return try ["stored", "compressed", "streamed"].map { try readFile(fixture("\($0).npz")) } + [
        largeArchive()
      ]
    case .torch:
      // Archives have checksums, which most mutations break; bare pickles and the old format have none.
      return try ["legacy_state.pt", "legacy_python2.pt", "legacy_module.pt", "arrays0.pkl", "arrays5.pkl", "keys.pt"]
        .map { try readFile(Fixtures.path("torch/kinds/\($0)")) } + picklesOfArchives()
    }
  }

  /// The pickles of archives, which are read as bare ones; their storages are missed only at the end.
  private static func picklesOfArchives() throws -> [[UInt8]] {
    try ["objects.pt", "quantized.pt", "sparse.pt", "script.jit", "numpy.pt"].map { name in
      let file = try MappedFile(path: Fixtures.path("torch/kinds/\(name)"))
      let archive = try ZipArchive(file.bytes, FilePlace(file: name))
      let pickle = try #require(archive.entries.first { $0.name.hasSuffix("data.pkl") })
      return [UInt8](try archive.contents(of: pickle).bytes)
    }
  }

  /// An archive with Zip64 fields.
  private static func largeArchive() throws -> [UInt8] {
    try withDirectory { directory in
      let path = directory + "/large.npz"
      let tensor = try Tensor.sample(.float32)
      let header = try NumPyHeader.bytes(for: tensor, FilePlace(file: path))
      try AtomicFile.write(to: path) { file in
        var archive = ZipWriter(FilePlace(file: path), large: 100)
        try header.withUnsafeBytes { header in
          try tensor.withBytes { try archive.add("t.npy", [header, $0], to: file) }
        }
        try archive.finish(file)
      }
      return try readFile(path)
    }
  }

  private static func mutate(_ bytes: [UInt8], _ random: inout RandomSource) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
      let at = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, at + Int.random(in: 1...16, using: &random))
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(at..<end)
      case 3: bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &random))
      case 4: bytes.removeSubrange(at...)
      case 5:
        for index in at..<end { bytes[index] = [0, 0xFF, 0x7F, 0x80].randomElement(using: &random) ?? 0 }
      case 6: bytes[at] = Array("0123456789-,:{}[]()'\"\\. ".utf8).randomElement(using: &random) ?? 0
      default:
        // Headers are where the rules are, and mutations of data rarely break one.
        bytes[at % min(bytes.count, 64)] = UInt8.random(in: 0...255, using: &random)
      }
    }
    return bytes
  }

  @Test(arguments: Parser.allCases, [1, 2] as [UInt64])
  func mutatedFilesNeverCrash(_ parser: Parser, _ seed: UInt64) throws {
    let seeds = try Self.seeds(parser)
    for bytes in seeds where parser != .torch { try parser.parse(bytes) }
    var random = RandomSource(seed: seed)
    var refused = 0
    for round in 0..<Self.rounds {
      do {
        try parser.parse(Self.mutate(seeds[round % seeds.count], &random))
      } catch let error as ToeplitzError {
        refused += 1
        #expect(!error.description.contains("\n"))
      }
    }
    #expect(refused > Self.rounds / 10)
  }

  @Test func mutatedStreamsNeverCrash() throws {
    // Checksums would catch most damage before or after the decompressor, so it is tested by itself.
    let file = try MappedFile(path: fixture("compressed.npz"))
    let archive = try ZipArchive(file.bytes, FilePlace(file: "test"))
    var random = RandomSource(seed: 3)
    for round in 0..<6000 {
      let entry = archive.entries[round % archive.entries.count]
      let stream = Self.mutate([UInt8](file.bytes[entry.data]), &random)
      var output = [UInt8](repeating: 0, count: entry.size)
      do {
        try stream.withUnsafeBytes { stream in
          try output.withUnsafeMutableBytes {
            try Inflate.decompress(stream, into: $0, FilePlace(file: "test"))
          }
        }
      } catch is ToeplitzError {}
    }
  }

  @Test func randomStreamsNeverCrash() throws {
    var random = RandomSource(seed: 4)
    for _ in 0..<6000 {
      var stream = (0..<Int.random(in: 0...200, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      // Mostly dynamic blocks, which have the most rules.
      if !stream.isEmpty, Bool.random(using: &random) { stream[0] = stream[0] & 0xF8 | 0x05 }
      var output = [UInt8](repeating: 0, count: 300)
      do {
        try stream.withUnsafeBytes { stream in
          try output.withUnsafeMutableBytes {
            try Inflate.decompress(stream, into: $0, FilePlace(file: "test"))
          }
        }
      } catch is ToeplitzError {}
    }
  }
}
