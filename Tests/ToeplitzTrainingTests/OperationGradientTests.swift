import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzGraph
@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// The gradient of every operation in all ways in which it can be computed.
///
/// The catalogue holds every operation that the sources declare (`OperationCatalogTests.noOperationIsForgotten`) and checks each
/// gradient against differences; here the ways are compared.
@Suite struct OperationGradientTests {
  @Test func allWaysGiveTheSameBits() throws {
    var checked = 0
    for sample in try OperationCatalog.samples() {
      guard case .vjp(let rule) = sample.operation.gradient else { continue }
      let outputs = try applyAll(sample.operation, sample.inputs)
      var random = RandomSource(seed: 8)
      let cotangents = try outputs.map { output -> Tensor? in
        guard output.dtype.isFloatingPoint else { return nil }
        return try Tensor.randomUniform(output.shape, from: -1, to: 1, dtype: output.dtype, using: &random)
      }
      guard cotangents.contains(where: { $0 != nil }) else { continue }
      let eager = try rule(GradientCall(inputs: sample.inputs, outputs: outputs, cotangents: cotangents))
      let places = sample.inputs.indices.filter { sample.inputs[$0].dtype.isFloatingPoint }

      func gradients(optimizes: Bool, checkpoints: Bool) throws -> [Tensor?] {
        let trace = Trace()
        let x = sample.inputs.map { trace.input($0.spec, value: $0) }
        let found = try trace.during {
          let y = try checkpoints ? checkpointed { try applyAll(sample.operation, x) } : applyAll(sample.operation, x)
          let targets = zip(y, cotangents).compactMap { output, cotangent in
            cotangent.map { (value: output, cotangent: $0) }
          }
          return try trace.cotangents(of: targets, wrt: places.map { x[$0] })
        }
        let known = found.compactMap { $0 }
        let ports = try known.map { Graph.Port(name: "", value: try trace.id(of: $0)) }
        var results = try lower(
          Graph(trace.close(), outputs: ports), FoldedConstants(), optimizes ? .fused : .nodeByNode
        )
        .run(sample.inputs.map { try $0.aligned() }, observe: nil)[...]
        return found.map { $0 == nil ? nil : results.removeFirst() }
      }

      for (optimizes, checkpoints) in [(false, false), (true, false), (true, true)] {
        let way = optimizes ? checkpoints ? "computed again" : "compiled" : "recorded"
        let found = try gradients(optimizes: optimizes, checkpoints: checkpoints)
        for (place, gradient) in zip(places, found) {
          guard let gradient, let wanted = eager[place] else {
            // A path that the recording leaves out has a gradient of zeros.
            #expect(
              try eager[place]?.cast(to: .float64).scalars(Double.self).allSatisfy { $0 == 0 } ?? true,
              "\(sample) \(way)")
            continue
          }
          #expect(try gradient.contiguous().sameBits(as: wanted.contiguous()), "\(sample) operand \(place) \(way)")
        }
      }
      checked += 1
    }
    #expect(checked > 250, "\(checked)")
  }
}
