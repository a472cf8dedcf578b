import ToeplitzCheckpoint
import ToeplitzTensor

/// What the header of a scan says (T.81, B.2.3).
struct JPEGScanHeader {
  /// A component of the scan, by its place in the frame, with its codes.
  struct Part {
    var index: Int
    var directCode: JPEGCode?
    var otherCode: JPEGCode?
  }
  var parts: [Part]
  /// The coefficients that the scan holds, in the order of the file.
  var band: ClosedRange<Int>
  /// The binary places that earlier scans left out, if there were any, and those that this one leaves out.
  var high: Int
  var low: Int
}

/// Decodes the blocks of one scan (T.81, annexes F and G).
struct JPEGScanDecoder {
  private let header: JPEGScanHeader
  private let isProgressive: Bool
  private let place: FilePlace
  private(set) var bits: JPEGBits
  /// The last mean coefficient of each component, which the next one is a difference to.
  private var last = [0, 0, 0, 0]
  /// How many blocks more have no further coefficient in this band.
  private var emptyBlocks = 0

  init(_ header: JPEGScanHeader, isProgressive: Bool, _ bits: JPEGBits, _ place: FilePlace) {
    self.header = header
    self.isProgressive = isProgressive
    self.bits = bits
    self.place = place
  }

  mutating func restart(_ number: Int) throws {
    last = [0, 0, 0, 0]
    emptyBlocks = 0
    try bits.restart(number)
  }

  /// Adds what the scan says of the next block, of the given part of the scan, to its 64 coefficients.
  mutating func decode(_ part: Int, _ block: UnsafeMutableBufferPointer<Int16>) throws {
    if !isProgressive {
      try decodeMean(part, block)
      try decodeBand(part, block, from: 1)
    } else if header.band.lowerBound == 0 {
      if header.high == 0 {
        try decodeMean(part, block)
      } else if try bits.bit() {
        block[0] |= 1 << Int16(header.low)
      }
    } else if header.high == 0 {
      try decodeBand(part, block, from: header.band.lowerBound)
    } else {
      try refineBand(part, block)
    }
  }

  private func missing(_ part: Int) -> ToeplitzError {
    place.malformed("the Huffman codes of component \(header.parts[part].index + 1)", got: "none")
  }

  private mutating func decodeMean(_ part: Int, _ block: UnsafeMutableBufferPointer<Int16>) throws {
    guard let code = header.parts[part].directCode else { throw missing(part) }
    let size = try bits.symbol(code)
    guard size <= 11 else { throw place.malformed("a difference of at most 11 bits", got: "\(size)") }
    last[part] = Int(Int16(truncatingIfNeeded: last[part] + (try bits.number(size))))
    block[0] = Int16(truncatingIfNeeded: last[part] << header.low)
  }

  private mutating func decodeBand(
    _ part: Int, _ block: UnsafeMutableBufferPointer<Int16>, from first: Int
  ) throws {
    guard emptyBlocks == 0 else {
      emptyBlocks -= 1
      return
    }
    guard let code = header.parts[part].otherCode else { throw missing(part) }
    var k = first
    while k <= header.band.upperBound {
      let symbol = try bits.symbol(code)
      let (zeros, size) = (symbol >> 4, symbol & 15)
      if size == 0 {
        guard zeros == 15 else {
          // In sequential files only this block ends.
          if isProgressive { emptyBlocks = 1 << zeros + (try bits.bits(zeros)) - 1 }
          return
        }
        k += 16
        continue
      }
      k += zeros
      guard k <= header.band.upperBound else { throw tooMany }
      block[JPEGTransform.order[k]] = Int16(truncatingIfNeeded: (try bits.number(size)) << header.low)
      k += 1
    }
  }

  private var tooMany: ToeplitzError {
    place.malformed("coefficients up to number \(header.band.upperBound)", got: "more")
  }

  /// One more binary place of the coefficients of a band (T.81, G.1.2.3).
  private mutating func refineBand(_ part: Int, _ block: UnsafeMutableBufferPointer<Int16>) throws {
    guard let code = header.parts[part].otherCode else { throw missing(part) }
    let step = Int16(1) << Int16(header.low)
    var k = header.band.lowerBound
    if emptyBlocks == 0 {
      while k <= header.band.upperBound {
        let symbol = try bits.symbol(code)
        var zeros = symbol >> 4
        var fresh: Int16 = 0
        switch symbol & 15 {
        case 0:
          if zeros < 15 { emptyBlocks = 1 << zeros + (try bits.bits(zeros)) }
        case 1: fresh = try bits.bit() ? step : -step
        default: throw place.malformed("new coefficients of 1 bit", got: "\(symbol & 15)")
        }
        if emptyBlocks > 0 { break }
        // Passes over as many coefficients that are still zero, and refines those between them.
        while k <= header.band.upperBound {
          let at = JPEGTransform.order[k]
          if block[at] != 0 {
            try refine(&block[at], step)
          } else {
            if zeros == 0 { break }
            zeros -= 1
          }
          k += 1
        }
        if fresh != 0 {
          guard k <= header.band.upperBound else { throw tooMany }
          block[JPEGTransform.order[k]] = fresh
        }
        k += 1
      }
    }
    guard emptyBlocks > 0 else { return }
    while k <= header.band.upperBound {
      let at = JPEGTransform.order[k]
      if block[at] != 0 { try refine(&block[at], step) }
      k += 1
    }
    emptyBlocks -= 1
  }

  private mutating func refine(_ coefficient: inout Int16, _ step: Int16) throws {
    guard try bits.bit(), coefficient & step == 0 else { return }
    coefficient = coefficient >= 0 ? coefficient &+ step : coefficient &- step
  }
}
