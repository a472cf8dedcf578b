import ToeplitzCheckpoint
import ToeplitzTensor

/// What a JPEG file says of its picture, and what was decoded of it so far (T.81, B.2.2).
struct JPEGFrame {
  /// A colour component.
  struct Component {
    var identifier: UInt8
    /// How many blocks of a unit lie side by side, and below one another.
    var across: Int
    var down: Int
    var table: Int
    /// Samples that belong to the picture.
    var columns = 0
    var rows = 0
    /// Whole blocks, those that only fill the last units among them.
    var blocksAcross = 0
    var blocksDown = 0
    /// Samples of whole blocks, `stride` a row.
    var samples: [UInt8] = []
    var stride: Int { 8 * blocksAcross }
    /// The coefficients of progressive files, 64 a block.
    var coefficients: [Int16] = []
    /// What coefficients are multiplied by, in the order of the block; nil before its first scan.
    var quantizer: [Int]?
    /// How many binary places of each coefficient are still to come; −1 before its first scan.
    var missingPlaces = [Int](repeating: -1, count: 64)
  }

  let width: Int
  let height: Int
  let isProgressive: Bool
  var components: [Component] = []
  let mostAcross: Int
  let mostDown: Int
  var unitsAcross: Int { (width + 8 * mostAcross - 1) / (8 * mostAcross) }
  var unitsDown: Int { (height + 8 * mostDown - 1) / (8 * mostDown) }

  /// Reads a frame header.
  ///
  /// - Parameter remaining: the bytes of the file behind it.
  init(_ segment: ByteReader, isProgressive: Bool, remaining: Int, _ place: FilePlace) throws {
    var body = segment
    let precision = try body.integer(UInt8.self, "precision")
    guard precision == 8 else {
      throw ToeplitzError(.unsupported, place.file, expected: "a JPEG of 8 bits", got: "one of \(precision) bits")
    }
    height = Int(try body.integer(UInt16.self, "height").byteSwapped)
    width = Int(try body.integer(UInt16.self, "width").byteSwapped)
    let count = Int(try body.integer(UInt8.self, "components"))
    guard height > 0 else {
      throw ToeplitzError(.unsupported, place.file, expected: "a JPEG that begins with its height", got: "height 0")
    }
    guard [1, 3, 4].contains(count) else {
      throw ToeplitzError(.unsupported, place.file, expected: "a JPEG of 1, 3 or 4 components", got: "\(count)")
    }
    self.isProgressive = isProgressive
    // Samples and colours, and the coefficients of progressive files.
    try Picture.admit(width, height, bytesPerPixel: 3 + count + (isProgressive ? 2 * count : 0), place)
    // Each block of the mean coefficients takes a bit at least; what a header alone claims is not allocated.
    guard width * height / 1024 <= remaining else {
      throw place.malformed("data for \(width) x \(height) pixels", got: "\(remaining) bytes")
    }
    for _ in 0..<count {
      let identifier = try body.integer(UInt8.self, "a component")
      let sampling = try body.integer(UInt8.self, "sampling")
      let table = Int(try body.integer(UInt8.self, "a table"))
      let (across, down) = (Int(sampling >> 4), Int(sampling & 15))
      guard (1...4).contains(across), (1...4).contains(down), table < 4 else {
        throw place.malformed("sampling factors of 1 to 4", got: "\(across) and \(down)")
      }
      guard !components.contains(where: { $0.identifier == identifier }) else {
        throw place.malformed("components of different names", got: "\(identifier) twice")
      }
      components.append(Component(identifier: identifier, across: across, down: down, table: table))
    }
    // A single component is not interleaved: its factors mean nothing.
    if count == 1 { (components[0].across, components[0].down) = (1, 1) }
    mostAcross = components.map(\.across).max() ?? 1
    mostDown = components.map(\.down).max() ?? 1
    for index in components.indices {
      let (across, down) = (components[index].across, components[index].down)
      components[index].columns = (width * across + mostAcross - 1) / mostAcross
      components[index].rows = (height * down + mostDown - 1) / mostDown
      components[index].blocksAcross = unitsAcross * across
      components[index].blocksDown = unitsDown * down
      let samples = 64 * components[index].blocksAcross * components[index].blocksDown
      components[index].samples = [UInt8](repeating: 0, count: isProgressive ? 0 : samples)
      components[index].coefficients = [Int16](repeating: 0, count: isProgressive ? samples : 0)
    }
  }

  /// Decodes all blocks of a scan.
  ///
  /// - Parameter restartInterval: after how many units a restart marker stands; 0 for none.
  mutating func decode(
    _ header: JPEGScanHeader, _ decoder: inout JPEGScanDecoder, restartInterval: Int
  ) throws {
    // A single component comes block by block, those of the picture only.
    let isAlone = header.parts.count == 1
    let first = components[header.parts[0].index]
    let columns = isAlone ? (first.columns + 7) / 8 : unitsAcross
    let rows = isAlone ? (first.rows + 7) / 8 : unitsDown
    var coefficients = [Int16](repeating: 0, count: 64)
    var work = [Int](repeating: 0, count: 64)
    for unit in 0..<(columns * rows) {
      if restartInterval > 0, unit > 0, unit % restartInterval == 0 {
        try decoder.restart((unit / restartInterval - 1) % 8)
      }
      for (number, part) in header.parts.enumerated() {
        let (across, down) = isAlone ? (1, 1) : (components[part.index].across, components[part.index].down)
        for row in 0..<down {
          for column in 0..<across {
            let block = (unit / columns * down + row, unit % columns * across + column)
            if isProgressive {
              let at = 64 * (block.0 * components[part.index].blocksAcross + block.1)
              try components[part.index].coefficients.withUnsafeMutableBufferPointer {
                try decoder.decode(number, UnsafeMutableBufferPointer(rebasing: $0[at..<(at + 64)]))
              }
            } else {
              try coefficients.withUnsafeMutableBufferPointer {
                $0.update(repeating: 0)
                try decoder.decode(number, $0)
              }
              coefficients.withUnsafeBufferPointer { components[part.index].transform($0, to: block, &work) }
            }
          }
        }
      }
    }
  }

  /// Turns the coefficients of progressive files into samples.
  mutating func finish() {
    guard isProgressive else { return }
    var work = [Int](repeating: 0, count: 64)
    for index in components.indices {
      let coefficients = components[index].coefficients
      components[index].coefficients = []
      components[index].samples = [UInt8](repeating: 0, count: coefficients.count)
      coefficients.withUnsafeBufferPointer { coefficients in
        for row in 0..<components[index].blocksDown {
          for column in 0..<components[index].blocksAcross {
            let at = 64 * (row * components[index].blocksAcross + column)
            let block = UnsafeBufferPointer(rebasing: coefficients[at..<(at + 64)])
            components[index].transform(block, to: (row, column), &work)
          }
        }
      }
    }
  }
}

extension JPEGFrame.Component {
  /// Computes the samples of the block in the given row and column of blocks.
  mutating func transform(_ coefficients: UnsafeBufferPointer<Int16>, to block: (Int, Int), _ work: inout [Int]) {
    let stride = stride
    guard let quantizer else { return }
    samples.withUnsafeMutableBufferPointer { samples in
      guard let base = samples.baseAddress else { return }
      JPEGTransform.inverse(
        coefficients, quantizer, &work, base + 8 * (block.0 * stride + block.1), stride: stride)
    }
  }
}
