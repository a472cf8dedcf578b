/// A counter-based generator of random numbers: number i of a stream is a function of key, stream and i.
///
/// Philox4×32-10 of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as 1, 2, 3", 2011). The lower half of the counter
/// counts blocks of four numbers of 32 bits, the upper half is the stream. The same key gives the same numbers on every machine.
package struct Philox: Sendable {
  private let key: (UInt32, UInt32)
  private let stream: UInt64
  private var counter: UInt64 = 0
  private var block: SIMD4<UInt32> = .zero
  private var used = 4
  private var spare: Double?

  /// The numbers of a stream from the first on.
  package init(key: UInt64, stream: UInt64 = 0) {
    self.key = (UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32))
    self.stream = stream
  }

  /// Ten rounds on a counter.
  package static func block(_ counter: SIMD4<UInt32>, key: (UInt32, UInt32)) -> SIMD4<UInt32> {
    var (c, k) = (counter, key)
    for round in 0..<10 {
      if round > 0 { k = (k.0 &+ 0x9E37_79B9, k.1 &+ 0xBB67_AE85) }
      let (first, second) = (UInt64(0xD251_1F53) &* UInt64(c[0]), UInt64(0xCD9E_8D57) &* UInt64(c[2]))
      c = SIMD4(
        UInt32(truncatingIfNeeded: second >> 32) ^ c[1] ^ k.0, UInt32(truncatingIfNeeded: second),
        UInt32(truncatingIfNeeded: first >> 32) ^ c[3] ^ k.1, UInt32(truncatingIfNeeded: first))
    }
    return c
  }

  /// The next 32 random bits.
  package mutating func next() -> UInt32 {
    if used == 4 {
      let words = [counter, stream].flatMap { [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)] }
      block = Self.block(SIMD4(words), key: key)
      counter &+= 1
      used = 0
    }
    defer { used += 1 }
    return block[used]
  }

  /// A number in `0..<1`, all 53 bits random.
  package mutating func nextUnit() -> Double {
    let (high, low) = (UInt64(next()), UInt64(next()))
    return Double((high << 32 | low) >> 11) * 0x1p-53
  }

  /// A number of the standard normal distribution (Box and Muller, 1958); two at a time.
  package mutating func nextNormal() -> Double {
    if let spare {
      self.spare = nil
      return spare
    }
    let radius = (-2 * (1 - nextUnit()).logarithm()).squareRoot()
    let angle = 2 * .pi * nextUnit()
    spare = radius * angle.sine()
    return radius * angle.cosine()
  }
}
