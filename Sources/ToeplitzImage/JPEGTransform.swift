/// The inverse cosine transform of blocks of 8 × 8 numbers.
///
/// C. Loeffler, A. Ligtenberg, G. Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, in
/// integers: constants have 13 binary places, and columns are kept with 2 until rows are done. So do the decoders whose
/// pictures networks are trained on, and a pixel may hang on how a half was rounded.
enum JPEGTransform {
  /// Where the coefficients stand in the block, in the order of the file.
  static let order = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55, 62, 63,
  ]

  private static let places = 13
  private static let columnPlaces = 2

  private static func constant(_ value: Double) -> Int { Int((value * Double(1 << places)).rounded()) }

  // Sums and differences of √2 cos(kπ/16), which rotate pairs with three multiplications each.
  private static let k0298 = constant(0.298631336)
  private static let k0390 = constant(0.390180644)
  private static let k0541 = constant(0.541196100)
  private static let k0765 = constant(0.765366865)
  private static let k0899 = constant(0.899976223)
  private static let k1175 = constant(1.175875602)
  private static let k1501 = constant(1.501321110)
  private static let k1847 = constant(1.847759065)
  private static let k1961 = constant(1.961570560)
  private static let k2053 = constant(2.053119869)
  private static let k2562 = constant(2.562915447)
  private static let k3072 = constant(3.072711026)

  /// Eight samples of eight coefficients, √8 times too large and with `places` more binary places, not rounded.
  private static func line(
    _ k: (Int, Int, Int, Int, Int, Int, Int, Int)
  ) -> (Int, Int, Int, Int, Int, Int, Int, Int) {
    // Even coefficients.
    let turned = (k.2 &+ k.6) &* k0541
    let (even2, even3) = (turned &- k.6 &* k1847, turned &+ k.2 &* k0765)
    let (even0, even1) = ((k.0 &+ k.4) << places, (k.0 &- k.4) << places)
    let (e0, e3) = (even0 &+ even3, even0 &- even3)
    let (e1, e2) = (even1 &+ even2, even1 &- even2)
    // Odd coefficients.
    let all = (k.7 &+ k.3 &+ k.5 &+ k.1) &* k1175
    let outer = (k.7 &+ k.1) &* -k0899
    let inner = (k.5 &+ k.3) &* -k2562
    let left = (k.7 &+ k.3) &* -k1961 &+ all
    let right = (k.5 &+ k.1) &* -k0390 &+ all
    let o3 = k.7 &* k0298 &+ outer &+ left
    let o2 = k.5 &* k2053 &+ inner &+ right
    let o1 = k.3 &* k3072 &+ inner &+ left
    let o0 = k.1 &* k1501 &+ outer &+ right
    return (e0 &+ o0, e1 &+ o1, e2 &+ o2, e3 &+ o3, e3 &- o3, e2 &- o2, e1 &- o1, e0 &- o0)
  }

  private static func rounded(_ value: Int, _ shift: Int) -> Int { (value &+ 1 << (shift - 1)) >> shift }

  /// Transforms the coefficients of a block into samples.
  ///
  /// - Parameters:
  ///   - block: 64 coefficients, rows of rising horizontal frequency.
  ///   - quantizer: what they are multiplied by, in the same order.
  ///   - work: room for 64 numbers.
  ///   - samples: where the first of eight rows of eight samples goes.
  ///   - stride: from one row of samples to the next.
  static func inverse(
    _ block: UnsafeBufferPointer<Int16>, _ quantizer: [Int], _ work: inout [Int],
    _ samples: UnsafeMutablePointer<UInt8>, stride: Int
  ) {
    func coefficient(_ index: Int) -> Int { Int(block[index]) &* quantizer[index] }
    for c in 0..<8 {
      let isFlat = (1..<8).allSatisfy { block[8 &* $0 &+ c] == 0 }
      if isFlat {
        let level = coefficient(c) << columnPlaces
        for row in 0..<8 { work[8 &* row &+ c] = level }
        continue
      }
      let s = line(
        (
          coefficient(c), coefficient(c &+ 8), coefficient(c &+ 16), coefficient(c &+ 24), coefficient(c &+ 32),
          coefficient(c &+ 40), coefficient(c &+ 48), coefficient(c &+ 56)
        ))
      let shift = places - columnPlaces
      work[c] = rounded(s.0, shift)
      work[c &+ 8] = rounded(s.1, shift)
      work[c &+ 16] = rounded(s.2, shift)
      work[c &+ 24] = rounded(s.3, shift)
      work[c &+ 32] = rounded(s.4, shift)
      work[c &+ 40] = rounded(s.5, shift)
      work[c &+ 48] = rounded(s.6, shift)
      work[c &+ 56] = rounded(s.7, shift)
    }
    for row in 0..<8 {
      let r = 8 &* row
      let s = line(
        (
          work[r], work[r &+ 1], work[r &+ 2], work[r &+ 3], work[r &+ 4], work[r &+ 5], work[r &+ 6], work[r &+ 7]
        ))
      let target = samples + row &* stride
      // The transform of rows and that of columns are each √8 too large.
      func level(_ value: Int) -> UInt8 { UInt8(clamping: rounded(value, places + columnPlaces + 3) &+ 128) }
      target[0] = level(s.0)
      target[1] = level(s.1)
      target[2] = level(s.2)
      target[3] = level(s.3)
      target[4] = level(s.4)
      target[5] = level(s.5)
      target[6] = level(s.6)
      target[7] = level(s.7)
    }
  }
}
