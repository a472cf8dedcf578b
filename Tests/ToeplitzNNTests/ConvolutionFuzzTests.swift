import Testing
import Toeplitz

/// Arguments without sense: every call ends in a result or an error.
@Suite struct ConvolutionFuzzTests {
  /// Draws arguments, of which a share (`heat`) is absurd.
  private struct Source {
    var random: RandomSource
    var heat = 0.0

    static let absurd = [
      Int.min, Int.min + 1, -(1 << 62), -(1 << 32), -2, -1, 0, 1 << 31, 1 << 32, 1 << 40, 1 << 61, 1 << 62,
      Int.max / 4, Int.max / 4 + 1, Int.max / 2, Int.max / 2 + 1, Int.max - 1, Int.max,
    ]

    mutating func isAbsurd() -> Bool { random.nextUnit() < heat }

    mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func size(_ range: ClosedRange<Int>) -> Int {
      isAbsurd() ? Self.absurd[pick(0...(Self.absurd.count - 1))] : pick(range)
    }

    /// A size of which a tensor is made: between the smallest and the absurd ones lie some that a machine can just
    /// about hold, which would take minutes.
    mutating func held(_ range: ClosedRange<Int>) -> Int {
      let value = size(range)
      return value >= 1 << 31 && value < 1 << 40 ? 1 << 40 : value
    }

    mutating func perAxis(_ rank: Int, _ range: ClosedRange<Int>, held isHeld: Bool = false) -> PerAxis {
      if pick(0...2) == 0 { return PerAxis(isHeld ? held(range) : size(range)) }
      let count = isAbsurd() ? pick(0...4) : rank
      return PerAxis((0..<count).map { _ in isHeld ? held(range) : size(range) })
    }

    mutating func padding(_ rank: Int) -> Padding {
      let count = isAbsurd() ? pick(0...4) : rank
      switch pick(0...5) {
      case 0: return .same
      case 1: return .causal
      case 2: return .symmetric((0..<count).map { _ in size(0...3) })
      case 3: return .asymmetric((0..<count).map { _ in (size(0...3), size(0...3)) })
      default: return .uniform(size(0...3))
      }
    }

    mutating func mode() -> PaddingMode { PaddingMode.allCases[pick(0...5) % 4] }
  }

  /// Counts how calls end.
  private struct Tally {
    var results = 0
    var errors = 0

    mutating func note<R>(_ body: () throws -> R) throws -> R? {
      do {
        let result = try body()
        results += 1
        return result
      } catch let error as ToeplitzError {
        #expect(!error.expected.isEmpty && !error.got.isEmpty && !error.operation.isEmpty)
        errors += 1
        return nil
      }
    }
  }

  @Test func geometriesOfAnyNumbersGiveAResultOrAnError() throws {
    var source = Source(random: RandomSource(seed: 71))
    var tally = Tally()
    for index in 0..<20_000 {
      source.heat = [0, 0.05, 0.15, 0.5][index % 4]
      let rank = source.isAbsurd() ? source.size(0...4) : source.pick(1...3)
      let axes = max(0, min(rank, 4))
      let groups = source.size(1...3)
      let factor = source.pick(1...3)
      let geometry = try tally.note {
        try ConvolutionGeometry(
          rank: rank, isTransposed: source.pick(0...1) == 1,
          inChannels: source.isAbsurd() ? source.size(1...9) : groups &* factor,
          outChannels: source.isAbsurd() ? source.size(1...9) : groups &* 2,
          kernelSize: source.perAxis(axes, 1...7), stride: source.perAxis(axes, 1...4),
          padding: source.padding(axes), outputPadding: source.perAxis(axes, 0...1),
          dilation: source.perAxis(axes, 1...3), groups: groups, paddingMode: source.mode())
      }
      guard let geometry else { continue }
      #expect(geometry.weightShape.rank == rank + 2)
      for _ in 0..<3 {
        let count = source.isAbsurd() ? source.pick(0...4) : rank
        let sizes = (0..<count).map { _ in source.size(1...50) }
        let wanted = (0..<count).map { _ in source.size(1...99) }
        let output = try tally.note { try geometry.outputSize(sizes) }
        if let output { #expect(output.allSatisfy { $0 > 0 }) }
        _ = try tally.note { try geometry.multiplyAdds(inputSize: sizes) }
        _ = try tally.note { try geometry.withOutputSize(wanted, inputSize: sizes) }
        let axis = source.isAbsurd() ? source.size(0...2) : source.pick(0...(rank - 1))
        if let first = geometry.inputLengths(for: source.size(1...99), axis: axis).first {
          #expect(first > 0)
        }
      }
    }
    print("fuzzed geometries: \(tally.results) results, \(tally.errors) errors")
    #expect(tally.results > 10_000 && tally.errors > 10_000)
  }

  private func makeLayer<R: SpatialRank>(_ rank: R.Type, _ source: inout Source) throws -> ConvolutionLayer {
    let groups = source.held(1...2)
    let inChannels = source.isAbsurd() ? source.held(1...4) : groups &* source.pick(1...2)
    let outChannels = source.isAbsurd() ? source.held(1...4) : groups &* source.pick(1...2)
    let layout: TensorLayout = source.pick(0...3) == 0 ? .channelsLast : .channelsFirst
    let dtypes = DType.allCases.filter { !$0.isNarrow }
    let dtype = dtypes[source.pick(0...20) % dtypes.count]
    let device: Device = source.isAbsurd() ? .gpu(source.size(0...3)) : .cpu
    if source.pick(0...1) == 0 {
      return try Conv<R>(
        inChannels: inChannels, outChannels: outChannels,
        kernelSize: source.perAxis(R.count, 1...4, held: true),
        stride: source.perAxis(R.count, 1...3), padding: source.padding(R.count),
        dilation: source.perAxis(R.count, 1...3), groups: groups, bias: source.pick(0...1) == 0,
        paddingMode: source.mode(), layout: layout, dtype: dtype, device: device)
    }
    return try ConvTranspose<R>(
      inChannels: inChannels, outChannels: outChannels,
      kernelSize: source.perAxis(R.count, 1...4, held: true),
      stride: source.perAxis(R.count, 1...3), padding: source.padding(R.count),
      outputPadding: source.perAxis(R.count, 0...1), dilation: source.perAxis(R.count, 1...3), groups: groups,
      bias: source.pick(0...1) == 0, paddingMode: source.pick(0...3) == 0 ? .circular : .zeros,
      layout: layout, dtype: dtype, device: device)
  }

  /// Whether the tensor is small enough to compute, or so large that it must be refused.
  private func isClear(_ shape: TensorShape) -> Bool {
    let count = shape.reduce(1.0) { $0 * Double($1) }
    return count < 1e5 || count > 0x1p45
  }

  @Test func layersOfAnyArgumentsGiveAResultOrAnError() throws {
    var source = Source(random: RandomSource(seed: 72))
    var tally = Tally()
    for index in 0..<20_000 {
      source.heat = [0, 0.03, 0.1, 0.4][index % 4]
      let layer = try tally.note {
        switch source.pick(0...2) {
        case 0: try makeLayer(Rank1.self, &source)
        case 1: try makeLayer(Rank2.self, &source)
        default: try makeLayer(Rank3.self, &source)
        }
      }
      guard let layer else { continue }
      let g = layer.geometry
      let spatial = (0..<g.rank).map { _ in source.isAbsurd() ? 0 : source.pick(1...6) }
      let channels = source.isAbsurd() ? source.pick(0...5) : g.inChannels
      var shape = layer.layout == .channelsFirst ? [channels] + spatial : spatial + [channels]
      if source.pick(0...2) > 0 { shape.insert(source.isAbsurd() ? 0 : 1, at: 0) }
      if source.isAbsurd() { shape.removeLast(source.pick(0...shape.count)) }
      let dtype = layer.parameters()[0].value.dtype
      let x = try Tensor.ones(TensorShape(shape), dtype: source.isAbsurd() ? .float64 : dtype)
      if let size = try? g.outputSize(spatial), !isClear(TensorShape([g.outChannels] + size)) { continue }
      _ = try tally.note { try layer(x) }
      guard let transposed = layer as? ConvTranspose<Rank1> else { continue }
      let wanted = (0..<source.pick(1...3)).map { _ in source.size(1...30) }
      if wanted.contains(where: { $0 > 1000 && $0 < 1 << 40 }) { continue }
      _ = try tally.note { try transposed(x, outputSize: wanted) }
    }
    print("fuzzed layers: \(tally.results) results, \(tally.errors) errors")
    #expect(tally.results > 10_000 && tally.errors > 5_000)
  }

  private func numbers(_ padding: Padding) -> [Int] {
    switch padding {
    case .uniform(let value): [value]
    case .symmetric(let values): values
    case .asymmetric(let pairs): pairs.flatMap { [$0.low, $0.high] }
    case .same, .causal: []
    }
  }

  @Test func functionsOfAnyArgumentsGiveAResultOrAnError() throws {
    var source = Source(random: RandomSource(seed: 73))
    var tally = Tally()
    for index in 0..<4_000 {
      source.heat = [0, 0.1, 0.4][index % 3]
      let channels = source.pick(1...4)
      func shape(_ legal: [Int]) -> TensorShape {
        guard source.isAbsurd() else { return TensorShape(legal) }
        return TensorShape((0..<source.pick(0...5)).map { _ in source.pick(0...5) })
      }
      let x = try Tensor.ones(shape([source.pick(0...2), channels, source.pick(1...9)]))
      let w = try Tensor.ones(shape([channels, channels, source.pick(1...3)]))
      let bias = source.pick(0...1) == 0 ? nil : try Tensor.ones(shape([channels]))
      let (stride, dilation) = (source.perAxis(1, 1...3), source.perAxis(1, 1...3))
      let (padding, extra) = (source.padding(1), source.perAxis(1, 0...1))
      // Sizes that a machine can just about hold would take minutes.
      guard
        !(numbers(padding) + stride.values + dilation.values).contains(where: {
          $0 >> 31 == 1 || $0 >> 32 == 1
        })
      else { continue }
      let groups = source.isAbsurd() ? source.size(1...3) : 1
      _ = try tally.note {
        try conv1d(x, w, bias: bias, stride: stride, padding: padding, dilation: dilation, groups: groups)
      }
      _ = try tally.note {
        try convTranspose1d(
          x, w, bias: bias, stride: stride, padding: padding, outputPadding: extra, dilation: dilation,
          groups: groups)
      }
    }
    print("fuzzed functions: \(tally.results) results, \(tally.errors) errors")
    #expect(tally.results > 1000 && tally.errors > 1000)
  }
}
