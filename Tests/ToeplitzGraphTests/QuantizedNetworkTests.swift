import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Networks between quantisations are computed with whole numbers: the exact sums, rounded once.
@Suite struct QuantizedNetworkTests {
  private struct Layer {
    var geometry: ConvolutionGeometry
    var isLinear = false
    var x: Tensor
    var weight: Tensor
    var bias: Tensor?
    var scales: [Float]
    var inputScale: Float = 0.05
    var outputScale: Float = 0.4
    var inputZero: Tensor
    var outputZero: Tensor
    var rectifies = false

    /// What the definition gives, in float64 and whole numbers.
    func expected() throws -> [Double] {
      let codes = try x.cast(to: .float64) - inputZero.cast(to: .float64)
      let wide = try weight.cast(to: .float64)
      let sums =
        try isLinear
        ? codes.matmul(wide.transposed(0, 1)) : codes.convolved(geometry, weight: wide, bias: nil)
      let channels = scales.count
      let inner = isLinear ? 1 : sums.shape.dimensions[2...].reduce(1, *)
      let zero = try outputZero.cast(to: .float64).item(Double.self)
      let (low, high) = outputZero.dtype == .uint8 ? (0.0, 255.0) : (-128, 127)
      let biases = try bias?.scalars(Int32.self)
      return try sums.contiguous().scalars(Double.self).enumerated().map { index, sum in
        let channel = index / inner % channels
        let total = Float(sum + Double(biases?[channel] ?? 0))
        let rounded = (total * (inputScale * scales[channel] / outputScale)).rounded(.toNearestOrEven)
        return min(high, max(rectifies ? zero : low, Double(rounded) + zero))
      }
    }

    func executable() -> Executable {
      let layer = self
      let source = FunctionSource(inputs: [PortDescription(name: "x")], outputs: ["y"]) { operands, trace in
        [try layer.traced(operands[0], trace)]
      }
      // Every test uses its executable alone.
      nonisolated(unsafe) let sent = source
      return Executable(sent)
    }

    /// The layer as a network that is quantised operator by operator spells it.
    func traced(_ input: Tensor, _ trace: Trace) throws -> Tensor {
      let layer = self
      func constant(_ tensor: Tensor) -> Tensor { trace.weight(tensor, name: "constant") }
      func number(_ value: Float) throws -> Tensor { try constant(Tensor(scalar: value)) }
      let x = try input.dequantized(scale: number(layer.inputScale), zeroPoint: constant(layer.inputZero))
      let axes = Array(repeating: 1, count: layer.weight.rank - 1)
      let scales = try Tensor(layer.scales, shape: TensorShape([layer.scales.count] + axes), device: .cpu)
      let weight = try constant(layer.weight).dequantized(
        scale: constant(scales), zeroPoint: constant(try Tensor(scalar: Int8(0))))
      let bias = try layer.bias.map {
        try constant($0).dequantized(
          scale: constant(Tensor(layer.scales.map { $0 * layer.inputScale }, shape: nil, device: .cpu)),
          zeroPoint: constant(Tensor(scalar: Int32(0))))
      }
      var y =
        try layer.isLinear
        ? x.matmul(weight.transposed(0, 1)) : x.convolved(layer.geometry, weight: weight, bias: bias)
      if layer.isLinear, let bias { y = try y + bias }
      if layer.rectifies { y = try y.relu() }
      return try y.quantized(scale: number(layer.outputScale), zeroPoint: constant(layer.outputZero))
    }
  }

  private func codes(_ shape: TensorShape, _ dtype: DType, _ random: inout RandomSource) throws -> Tensor {
    let range = dtype == .uint8 ? 0.0...255 : -127...127
    return try Tensor.randomUniform(
      shape, from: range.lowerBound, to: range.upperBound, dtype: .float32, using: &random
    )
    .round().cast(to: dtype)
  }

  @Test(arguments: InstructionSet.available)
  func convolutionsHaveTheBitsOfTheirDefinition(isa: InstructionSet) throws {
    var random = RandomSource(seed: 3)
    func pick(_ values: [Int]) -> Int { values[Int.random(in: values.indices, using: &random)] }
    for round in 0..<60 {
      let rank = pick([1, 2, 2])
      let isDepthwise = pick([0, 0, 1]) == 1
      let groups = isDepthwise ? pick([3, 16, 70]) : pick([1, 1, 2])
      let (inputs, outputs) =
        isDepthwise ? (groups, groups) : (groups * pick([1, 3, 8, 37]), groups * pick([1, 5, 32, 50]))
      let kernel = (0..<rank).map { _ in pick([1, 2, 3, 5]) }
      let geometry = try ConvolutionGeometry(
        rank: rank, inChannels: inputs, outChannels: outputs, kernelSize: PerAxis(kernel),
        stride: PerAxis((0..<rank).map { _ in pick([1, 1, 2]) }),
        padding: .asymmetric((0..<rank).map { _ in (low: pick([0, 1, 2]), high: pick([0, 1])) }),
        dilation: PerAxis((0..<rank).map { _ in pick([1, 1, 2]) }), groups: groups)
      let types = [DType.uint8, .int8]
      let (from, to) = (types[pick([0, 1])], types[pick([0, 1])])
      let sizes = (0..<rank).map { _ in pick([9, 12, 17, 30]) }
      var layer = Layer(
        geometry: geometry, x: try codes(TensorShape([pick([1, 2]), inputs] + sizes), from, &random),
        weight: try codes(geometry.weightShape, .int8, &random), bias: nil,
        scales: (0..<outputs).map { _ in Float.random(in: 0.001...0.01, using: &random) },
        inputZero: try Tensor(scalar: Int32(from == .uint8 ? 120 : -7)).cast(to: from),
        outputZero: try Tensor(scalar: Int32(to == .uint8 ? 100 : 3)).cast(to: to), rectifies: pick([0, 1]) == 1)
      if pick([0, 1]) == 1 {
        layer.bias = try Tensor(
          (0..<outputs).map { _ in Int32.random(in: -5000...5000, using: &random) }, shape: nil, device: .cpu)
      }
      // Also with channels that lie last in memory.
      if pick([0, 1]) == 1 {
        let order = [0] + Array(2..<(rank + 2)) + [1]
        layer.x = try layer.x.permuted(order).contiguous().permuted([0, rank + 1] + Array(1...rank))
      }
      try InstructionSet.$override.withValue(isa) {
        let executable = layer.executable()
        let y = try executable.run([layer.x])[0]
        #expect(try y.contiguous().doubles() == layer.expected(), "\(round) \(geometry) \(from) \(to)")
        let nodes = try executable.loweredGraph(for: [layer.x.spec]).nodes
        #expect(nodes.count == 1 && nodes[0].operation is QuantizedConvolution, "\(nodes.map(\.operation.name))")
      }
    }
  }

  @Test(arguments: InstructionSet.available)
  func linearMapsHaveTheBitsOfTheirDefinition(isa: InstructionSet) throws {
    var random = RandomSource(seed: 4)
    for (rows, inputs, outputs) in [(1, 100, 50), (7, 33, 64), (20, 5, 3)] {
      var layer = Layer(
        geometry: try ConvolutionGeometry(rank: 1, inChannels: inputs, outChannels: outputs, kernelSize: 1),
        isLinear: true,
        x: try codes([rows, inputs], .uint8, &random), weight: try codes([outputs, inputs], .int8, &random), bias: nil,
        scales: (0..<outputs).map { _ in Float.random(in: 0.001...0.01, using: &random) },
        inputZero: try Tensor(scalar: UInt8(128)), outputZero: try Tensor(scalar: UInt8(128)))
      layer.bias = try Tensor((0..<outputs).map { Int32($0 * 100) }, shape: nil, device: .cpu)
      try InstructionSet.$override.withValue(isa) {
        let executable = layer.executable()
        let (got, expected) = (try executable.run([layer.x])[0].doubles(), try layer.expected())
        #expect(got == expected, "\(rows) \(inputs) \(outputs)")
        let nodes = try executable.loweredGraph(for: [layer.x.spec]).nodes
        #expect(nodes.count == 1)
      }
    }
  }

  /// Bytes less a zero point that is computed, times a constant matrix: ONNX's MatMulInteger after dynamic quantisation.
  @Test(arguments: InstructionSet.available)
  func productsOfBytesAreExact(isa: InstructionSet) throws {
    var random = RandomSource(seed: 6)
    for (rows, inner, columns) in [(1, 40, 33), (17, 7, 70), (30, 128, 32)] {
      for dtype in [DType.uint8, .int8] {
        let weight = try codes([inner, columns], .int8, &random).cast(to: .int32)
        let source = FunctionSource(
          inputs: [PortDescription(name: "x"), PortDescription(name: "zero")], outputs: ["y"]
        ) { operands, trace in
          let wide = try operands[0].cast(to: .int32) - operands[1].cast(to: .int32)
          return [try wide.matmul(trace.weight(weight, name: "weight"))]
        }
        nonisolated(unsafe) let sent = source
        let x = try codes([2, rows, inner], dtype, &random)
        let zero = try Tensor(scalar: Int32(dtype == .uint8 ? 131 : -9)).cast(to: dtype)
        let expected = try (x.cast(to: .float64) - zero.cast(to: .float64))
          .matmul(weight.cast(to: .float64)).doubles()
        try InstructionSet.$override.withValue(isa) {
          let executable = Executable(sent)
          let got = try executable.run([x, zero])[0].doubles()
          #expect(got == expected, "\(rows) \(inner) \(columns) \(dtype)")
          let nodes = try executable.loweredGraph(for: [x.spec, zero.spec]).nodes
          #expect(
            nodes.contains { ($0.operation as? QuantizedConvolution)?.givesSums == true },
            "\(nodes.map(\.operation.name))")
        }
      }
    }
  }

  /// Functions of the codes that a convolution gives are tables, which it applies itself.
  @Test(arguments: InstructionSet.available)
  func activationsBetweenCodesAreTablesOfTheConvolution(isa: InstructionSet) throws {
    var random = RandomSource(seed: 8)
    for (groups, inputs, outputs, kernel) in [(1, 3, 70, 3), (130, 130, 130, 5), (2, 6, 10, 1), (1, 20, 33, 1)] {
      let geometry = try ConvolutionGeometry(
        rank: 2, inChannels: inputs, outChannels: outputs, kernelSize: kernel,
        padding: kernel / 2, groups: groups)
      for type in [DType.uint8, .int8] {
        let layer = Layer(
          geometry: geometry, x: try codes([2, inputs, 9, 17], .uint8, &random),
          weight: try codes(geometry.weightShape, .int8, &random), bias: nil,
          scales: (0..<outputs).map { _ in Float.random(in: 0.001...0.01, using: &random) },
          inputZero: try Tensor(scalar: UInt8(120)), outputZero: try Tensor(scalar: Int32(7)).cast(to: type))
        func activated(_ codes: Tensor, _ constant: (Tensor) -> Tensor) throws -> Tensor {
          let numbers = try codes.dequantized(
            scale: constant(Tensor(scalar: layer.outputScale)), zeroPoint: constant(layer.outputZero))
          return try numbers.hardswish().quantized(
            scale: constant(Tensor(scalar: Float(0.21))), zeroPoint: constant(Tensor(scalar: UInt8(9))))
        }
        try InstructionSet.$override.withValue(isa) {
          let alone = layer.executable()
          let source = FunctionSource(inputs: [PortDescription(name: "x")], outputs: ["y"]) { operands, trace in
            let codes = try layer.traced(operands[0], trace)
            return [try activated(codes) { trace.weight($0, name: "constant") }]
          }
          // This test uses its executable alone.
          nonisolated(unsafe) let sent = source
          let executable = Executable(sent)
          let expected = try activated(alone.run([layer.x])[0]) { $0 }
          for _ in 0..<2 {
            let y = try executable.run([layer.x])[0]
            #expect(try y.scalars(UInt8.self) == expected.scalars(UInt8.self), "\(isa) \(geometry) \(type)")
          }
          let nodes = try executable.loweredGraph(for: [layer.x.spec]).nodes
          #expect(nodes.count == 1, "\(nodes.map(\.operation.name))")
        }
      }
    }
  }

  /// What moves or compares codes leaves them codes.
  @Test func codesStayCodesBetweenLayers() throws {
    let source = FunctionSource(inputs: [PortDescription(name: "x")], outputs: ["y"]) { operands, trace in
      let (scale, zero) = (
        try trace.weight(Tensor(scalar: Float(0.1)), name: "s"), try trace.weight(Tensor(scalar: UInt8(9)), name: "z")
      )
      let geometry = try PoolGeometry(
        name: "MaxPool2d", rank: 2, kernelSize: 3, stride: 1, padding: 1, dilation: 1, ceilMode: false)
      func again(_ x: Tensor) throws -> Tensor {
        try x.quantized(scale: scale, zeroPoint: zero).dequantized(scale: scale, zeroPoint: zero)
      }
      let x = try operands[0].dequantized(scale: scale, zeroPoint: zero)
      let pooled = try again(apply(MaxPooling(geometry: geometry), x))
      let joined = try again(Tensor.concatenate([pooled, x], axis: 1))
      return [try joined.reshaped([2, -1]).quantized(scale: scale, zeroPoint: zero)]
    }
    nonisolated(unsafe) let sent = source
    let executable = Executable(sent)
    var random = RandomSource(seed: 2)
    let x = try codes([2, 3, 5, 5], .uint8, &random)
    let nodes = try executable.loweredGraph(for: [x.spec]).nodes
    #expect(nodes.map(\.operation.name).filter { $0.contains("quantize") }.isEmpty, "\(nodes.map(\.operation.name))")
    let pooled = try x.cast(to: .float64).maxPooled(
      PoolGeometry(name: "MaxPool2d", rank: 2, kernelSize: 3, stride: 1, padding: 1, dilation: 1, ceilMode: false))
    let expected = try Tensor.concatenate([pooled, x.cast(to: .float64)], axis: 1).reshaped([2, -1])
    #expect(try executable.run([x])[0].doubles() == expected.doubles())
    // The same of channels that lie last.
    let last = try x.permuted([0, 2, 3, 1]).contiguous().permuted([0, 3, 1, 2])
    #expect(try executable.run([last])[0].doubles() == expected.doubles())
  }
}
