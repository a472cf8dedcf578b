import Foundation
import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
import ToeplitzGraph
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// What is true of all operations: each must stand in the catalogue, and each sample is checked.
@Suite struct OperationCatalogTests {
  private func types() throws -> Set<String> {
    Set(try OperationCatalog.samples().map { String("\(type(of: $0.operation))".prefix { $0 != "<" }) })
  }

  /// The sources say which types are operations.
  @Test func noOperationIsForgotten() throws {
    let folder = URL(filePath: #filePath).appending(path: "../../../Sources/ToeplitzOps").standardized
    var declared: Set<String> = []
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      let declaration = /struct (\w+)(?:<[^>]*>)?: (?:Unary|Tensor)Operation\b/
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: declaration) {
        declared.insert(String(match.output.1))
      }
    }
    #expect(declared.count > 60)
    #expect(try declared.subtracting(types()).isEmpty)
  }

  @Test func inferredSpecificationsAreThoseOfResults() throws {
    for sample in try OperationCatalog.samples() {
      let results = try applyAll(sample.operation, sample.inputs)
      #expect(try results.map(\.spec) == sample.operation.infer(sample.inputs.map(\.spec)), "\(sample)")
    }
  }

  @Test func equalAttributesMakeEqualOperations() throws {
    let (one, other) = (try OperationCatalog.samples(), try OperationCatalog.samples(seed: 2))
    for (a, b) in zip(one, other) { #expect(AnyHashable(a.operation) == AnyHashable(b.operation), "\(a)") }
    #expect(Set(one.map { AnyHashable($0.operation) }).count > 150)
  }

  // MARK: Gradients

  private func dot(_ a: Tensor, _ b: Tensor) throws -> Double {
    zip(try a.doubles(), try b.doubles()).reduce(0) { $0 + $1.0 * $1.1 }
  }

  @Test func gradientsAgreeWithFiniteDifferences() throws {
    var random = RandomSource(seed: 5)
    var checked = 0
    for sample in try OperationCatalog.samples() {
      let (operation, inputs) = (sample.operation, sample.inputs)
      let outputs = try applyAll(operation, inputs)
      func noise(_ like: Tensor) throws -> Tensor? {
        guard like.dtype.isFloatingPoint else { return nil }
        return try Tensor.randomUniform(like.shape, from: -1, to: 1, dtype: like.dtype, using: &random)
      }
      let cotangents = try outputs.map(noise)
      guard cotangents.contains(where: { $0 != nil }) else { continue }
      // Its slope is what it hides.
      if operation is StopGradient { continue }
      let directions = try inputs.map(noise)
      var slope = 0.0
      switch operation.gradient {
      case .none(let reason):
        #expect(operation is Reinterpret, "\(sample) has no gradient: \(reason)")
        continue
      case .zero: break
      case .vjp(let rule):
        let gradients = try rule(GradientCall(inputs: inputs, outputs: outputs, cotangents: cotangents))
        #expect(gradients.count == inputs.count, "\(sample)")
        for ((input, gradient), direction) in zip(zip(inputs, gradients), directions) {
          #expect((gradient != nil) == input.dtype.isFloatingPoint, "\(sample)")
          guard let gradient, let direction else { continue }
          #expect(gradient.spec == input.spec, "\(sample)")
          slope += try dot(gradient, direction)
        }
        // Rounding has no slope that differences could find.
        if operation is Cast || operation is NarrowCast {
          #expect(try gradients[0]?.distance(to: cotangents[0]!.cast(to: .float64)).absolute == 0)
          continue
        }
      }
      let step = 1e-6
      func value(_ sign: Double) throws -> Double {
        let moved = try zip(inputs, directions).map { try $1.map { [x = $0] in try x + $0 * (sign * step) } ?? $0 }
        return try zip(applyAll(operation, moved), cotangents).reduce(0) { sum, pair in
          try pair.1.map { try sum + dot(pair.0.cast(to: .float64), $0.cast(to: .float64)) } ?? sum
        }
      }
      let difference = try (value(1) - value(-1)) / (2 * step)
      #expect(
        abs(slope - difference) <= 2e-7 * max(1, abs(slope)) + 2e-8 * Double(outputs[0].count),
        "\(sample): \(slope), \(difference)")
      checked += 1
    }
    #expect(checked > 250)
  }

  /// Whether an operation belongs to those whose second derivatives are checked: the convolution family, functions of
  /// elements, reductions, norms and products.
  private func hasSecondDerivatives(_ operation: any TensorOperation) -> Bool {
    switch operation {
    case is ConvolutionOperation, is ConvolutionWeightGradient, is any UnaryOperation, is Binary, is Where,
      is Reduction,
      is GroupMoments, is NormalizeChannels, is LayerNormalize, is MatrixMultiply, is ChannelActivation, is AxisSoftmax,
      is Reshape, is Permute, is Slice, is Expand, is Concatenate, is PadAxis, is Unfold:
      true
    default: false
    }
  }

  @Test func secondDerivativesAgreeWithFiniteDifferences() throws {
    var random = RandomSource(seed: 6)
    var checked = 0
    for sample in try OperationCatalog.samples() where hasSecondDerivatives(sample.operation) {
      guard case .vjp = sample.operation.gradient else { continue }
      func noise(_ like: TensorSpec) throws -> Tensor? {
        guard like.dtype.isFloatingPoint else { return nil }
        return try Tensor.randomUniform(like.shape, from: -1, to: 1, dtype: like.dtype, using: &random)
      }
      let outputs = try sample.operation.infer(sample.inputs.map(\.spec))
      let (weights, directions) = (try outputs.map(noise), try sample.inputs.map { try noise($0.spec) })
      guard weights.contains(where: { $0 != nil }), sample.inputs.allSatisfy({ $0.dtype != .float32 }) else { continue }

      /// The slope of the weighted outputs along the directions, which is recorded, and its own derivatives.
      func slope(_ inputs: [Tensor]) throws -> (value: Double, gradients: [Tensor?]) {
        let trace = Trace()
        let x = inputs.map { trace.input($0.spec, value: $0) }
        return try trace.during {
          let y = try applyAll(sample.operation, x)
          let targets = zip(y, weights).compactMap { output, weight in weight.map { (value: output, cotangent: $0) } }
          let first = try trace.cotangents(of: targets, wrt: x)
          let parts = try zip(first, directions).compactMap { gradient, direction -> Tensor? in
            guard let gradient, let direction else { return nil }
            return try (gradient * direction).sum()
          }
          guard let begin = parts.first else { return (0, x.map { _ in nil }) }
          let sum = try parts.dropFirst().reduce(begin) { try $0 + $1 }
          let second = try trace.cotangents(of: [(value: sum, cotangent: Tensor.ones([], dtype: sum.dtype))], wrt: x)
          return (try sum.item(Double.self), try second.map { try $0?.computed() })
        }
      }
      let gradients = try slope(sample.inputs).gradients
      var expected = 0.0
      let others = try sample.inputs.map { try noise($0.spec) }
      for (gradient, other) in zip(gradients, others) {
        if let gradient, let other { expected += try dot(gradient, other) }
      }
      let step = 1e-6
      func moved(_ sign: Double) throws -> Double {
        try slope(zip(sample.inputs, others).map { x, other in try other.map { try x + $0 * (sign * step) } ?? x })
          .value
      }
      let difference = try (moved(1) - moved(-1)) / (2 * step)
      #expect(
        abs(expected - difference) <= 1e-6 * max(1, abs(expected)) + 1e-7 * Double(outputs[0].shape.reduce(1, *)),
        "\(sample): \(expected), \(difference)")
      checked += 1
    }
    #expect(checked > 150, "\(checked)")
  }

  // MARK: Compilation

  /// Applied to traced tensors and compiled, an operation gives the bits that it gives applied to the tensors.
  @Test func tracedAndCompiledOperationsGiveTheSameBits() throws {
    for sample in try OperationCatalog.samples() {
      let expected = try applyAll(sample.operation, sample.inputs)
      for optimizes in [false, true] {
        nonisolated(unsafe) let source = FunctionSource(
          inputs: sample.inputs.indices.map { PortDescription(name: "\($0)") },
          outputs: expected.indices.map { "y\($0)" }
        ) { operands, _ in try applyAll(sample.operation, operands) }
        let results = try Executable(source, optimizes: optimizes).run(sample.inputs)
        for (result, wanted) in zip(results, expected) {
          #expect(result.spec == wanted.spec, "\(sample)")
          #expect(try result.contiguous().sameBits(as: wanted.contiguous()), "\(sample)")
        }
      }
    }
  }

  // MARK: Time

  /// Other values for one position of an axis; together they show all that depends on it.
  private func probes(_ x: Tensor, axis: Int, position: Int) throws -> [Tensor] {
    let size = x.shape[axis]
    func replaced(_ piece: Tensor) throws -> Tensor {
      try Tensor.concatenate(
        [
          x.slice(axis: axis, 0..<position), piece.expanded(to: x.shape.replacing(axis, by: 1)),
          x.slice(axis: axis, (position + 1)..<size),
        ], axis: axis)
    }
    let old = try x.slice(axis: axis, position..<(position + 1))
    if x.dtype == .bool { return [try replaced(old.logicalNot())] }
    if x.dtype.isInteger { return try [0, 1].map { try replaced(Tensor.full([], $0, dtype: x.dtype)) } }
    return try [.nan, 1e3, -1e3].map { try replaced(Tensor.full([], $0, dtype: x.dtype)) } + [
      replaced(old * 0.7 + 0.03)
    ]
  }

  /// The positions of `axis` where two tensors differ in a bit.
  private func changed(_ a: Tensor, _ b: Tensor, axis: Int) throws -> Set<Int> {
    Set(
      try (0..<a.shape[axis]).filter { at in
        try !a.slice(axis: axis, at..<(at + 1)).copied().sameBits(as: b.slice(axis: axis, at..<(at + 1)).copied())
      })
  }

  private struct Declared {
    var axis: Int
    var positions: (Int) -> Set<Int>
    /// Whether positions outside the input may stand for others.
    var isExact = true
    /// Whether all of them do depend on it.
    var isComplete = true
  }

  private func declared(_ rule: TimeRule, _ length: Int) -> Declared? {
    switch rule {
    case .pointwise(let axis, _): Declared(axis: axis) { [$0] }
    case .blocks(let from, let to, let reach, let axis, _):
      Declared(
        axis: axis,
        positions: { position in
          let groups = (position / from - reach)...(position / from + reach)
          return Set(groups.flatMap { Array($0 * to..<($0 + 1) * to) })
        }, isComplete: reach == 0)
    case .window(let window, let axis, let mode, _, _):
      Declared(
        axis: axis,
        positions: { position in
          Set(
            (0..<(length + 20)).filter { t in
              (0..<window.extent).contains { t * window.stride + $0 * window.dilation - window.low == position }
            })
        }, isExact: mode == .zeros)
    case .overlapAdd(let window, let axis, _):
      Declared(axis: axis) { position in
        Set((0..<window.extent).map { position * window.stride + $0 * window.dilation - window.low })
      }
    case .state(let axis, _, _): Declared(axis: axis) { Set($0..<length) }
    case .whole: nil
    }
  }

  @Test func timeIsAsDeclared() throws {
    var kinds: [String: Int] = [:]
    for sample in try OperationCatalog.samples() {
      let outputs = try applyAll(sample.operation, sample.inputs)
      for (index, input) in sample.inputs.enumerated() {
        for axis in input.shape.indices where input.shape[axis] > 1 {
          var axes = [Int?](repeating: nil, count: sample.inputs.count)
          axes[index] = axis
          let rule = sample.operation.time(
            TimeCall(inputs: sample.inputs.map(\.spec), axes: axes, outputs: outputs.map(\.spec)))
          let length = input.shape[axis]
          kinds["\(rule)".prefix { $0 != "(" }.description, default: 0] += 1
          guard let declared = declared(rule, length) else { continue }
          for position in 0..<length {
            var inputs = sample.inputs
            var found: Set<Int> = []
            for probe in try probes(input, axis: axis, position: position) {
              inputs[index] = probe
              guard let results = try? applyAll(sample.operation, inputs) else { continue }
              // What is carried on has no time.
              let timed = if case .state = rule { 1 } else { results.count }
              for (result, output) in zip(results, outputs).prefix(timed) {
                found.formUnion(try changed(result, output, axis: declared.axis))
              }
            }
            let expected = declared.positions(position).filter { (0..<outputs[0].shape[declared.axis]).contains($0) }
            if declared.isExact {
              #expect(found.isSubset(of: expected), "\(sample) axis \(axis) at \(position): \(found), \(expected)")
            }
            if declared.isComplete, !selects(sample.operation) {
              #expect(expected.isSubset(of: found), "\(sample) axis \(axis) at \(position): \(found), \(expected)")
            }
          }
        }
      }
    }
    #expect(
      kinds["pointwise"]! > 300 && kinds["window"]! > 40 && kinds["overlapAdd"]! > 10 && kinds["state"]! > 1, "\(kinds)"
    )
  }

  /// Whether what an operation gives may not depend on some of the elements that it looks at.
  private func selects(_ operation: any TensorOperation) -> Bool {
    operation is Where || operation is Scatter || operation is Gather || operation is TopElements
      || operation is Logical
      || operation is Bitwise || operation is Classify || operation is EmbeddingLookup || operation is Binary
      || operation is Round || operation is Cast || operation is NarrowCast || operation is Clamp
      || operation is ScaledHardSigmoid
      || operation is Slice || operation is Reduction
  }

  @Test func piecesOfPointwiseTimeAreThoseOfTheWhole() throws {
    var checked = 0
    for sample in try OperationCatalog.samples() {
      let outputs = try applyAll(sample.operation, sample.inputs)
      for axis in sample.inputs[0].shape.indices where sample.inputs[0].shape[axis] > 2 {
        let axes = sample.inputs.indices.map { $0 == 0 ? axis : Int?.none }
        let call = TimeCall(inputs: sample.inputs.map(\.spec), axes: axes, outputs: outputs.map(\.spec))
        guard case .pointwise(let to, let resized) = sample.operation.time(call) else { continue }
        let piece = try [sample.inputs[0].slice(axis: axis, 1..<3)] + sample.inputs.dropFirst()
        let operation = resized?(2) ?? sample.operation
        for (result, whole) in zip(try applyAll(operation, piece), outputs) {
          #expect(try result.copied().sameBits(as: whole.slice(axis: to, 1..<3).copied()), "\(sample) axis \(axis)")
        }
        checked += 1
      }
    }
    #expect(checked > 150)
  }

  @Test func carriedStateContinuesAsTheWhole() throws {
    var checked = 0
    for sample in try OperationCatalog.samples() {
      let outputs = try applyAll(sample.operation, sample.inputs)
      for axis in sample.inputs[0].shape.indices {
        let axes = sample.inputs.indices.map { $0 == 0 ? axis : Int?.none }
        let call = TimeCall(inputs: sample.inputs.map(\.spec), axes: axes, outputs: outputs.map(\.spec))
        guard case .state(let to, let carried, let stepped) = sample.operation.time(call) else { continue }
        var state = try carried.map { try Tensor.zeros($0.shape, dtype: $0.dtype) }
        var pieces: [Tensor] = []
        for position in 0..<sample.inputs[0].shape[axis] {
          let input = try sample.inputs[0].slice(axis: axis, position..<(position + 1))
          let results = try applyAll(stepped, [input] + sample.inputs.dropFirst() + state)
          pieces.append(results[0])
          state = Array(results.dropFirst(results.count - state.count))
        }
        #expect(try Tensor.concatenate(pieces, axis: to).sameBits(as: outputs[0].copied()), "\(sample)")
        checked += 1
      }
    }
    #expect(checked >= 2)
  }

  // MARK: Reasons

  /// docs/architecture.md lists what has no gradient and what needs all of time, with the reasons that users are given.
  @Test func reasonsAreDocumented() throws {
    var reasons: Set<String> = []
    for sample in try OperationCatalog.samples() {
      let outputs = try sample.operation.infer(sample.inputs.map(\.spec))
      if case .none(let reason) = sample.operation.gradient { reasons.insert("no gradient: \(reason)") }
      for axis in sample.inputs[0].shape.indices {
        let axes = sample.inputs.indices.map { $0 == 0 ? axis : Int?.none }
        let call = TimeCall(inputs: sample.inputs.map(\.spec), axes: axes, outputs: outputs)
        if case .whole(let reason) = sample.operation.time(call) { reasons.insert(reason) }
      }
    }
    let path = URL(filePath: #filePath).appending(path: "../../../docs/architecture.md").standardized
    let text = try String(contentsOf: path, encoding: .utf8)
    for reason in reasons.sorted() { #expect(text.contains(reason), "docs/architecture.md does not say: \(reason)") }
  }
}
