import Testing
import Toeplitz
import ToeplitzTestSupport

/// Every golden case of every layer: output, indices, folded weight and buffers against PyTorch.
@Suite struct LayerGoldenTests {
  private static let golden = Result { try GoldenFile("layers/layers") }

  private static let kinds: [String] = {
    let cases = (try? golden.get().cases) ?? []
    return Array(Set(cases.compactMap { $0["layer"].string })).sorted()
  }()

  @Test func allCasesAreThere() throws {
    #expect(try Self.golden.get().cases.count == 598)
    #expect(Self.kinds.count == 71)
  }

  @Test(arguments: kinds)
  func matchesPyTorch(kind: String) throws {
    let golden = try Self.golden.get()
    for item in golden.cases where item["layer"].string == kind {
      let isFloat = item["inputDType"].string == "float32" || kind == "Embedding"
      try check(item, golden, isFloat ? .float32 : .int64)
      if isFloat { try check(item, golden, .float64) }
    }
  }

  /// Half precision gives the float32 result rounded: the computation in between is float32's.
  @Test(arguments: kinds, [DType.float16, .bfloat16])
  func halvesAreCloseToPyTorch(kind: String, dtype: DType) throws {
    let golden = try Self.golden.get()
    for item in golden.cases where item["layer"].string == kind && item["name"].string == "random" {
      let id = try #require(item["id"].string)
      let layer = try makeLayer(item, golden, .float32, id).layer
      let input = try golden.tensor("\(id).input")
      let x = kind == "Embedding" ? input : try input.cast(to: dtype)
      try layer.to(dtype)
      let y = try layer(x)
      #expect(y.dtype == dtype, "\(id)")
      #expect(y.shape.dimensions == item["outputShape"].ints, "\(id)")
      let distance = try y.cast(to: .float64).distance(to: golden.tensor("\(id).output").cast(to: .float64))
      #expect(
        distance.absolute <= (dtype == .float16 ? 0.01 : 0.08) * max(1, distance.scale), "\(id) \(distance)")
    }
  }

  /// A view with other strides and an offset, whose elements are those of `x`.
  private func strided(_ x: Tensor) throws -> Tensor {
    let order = Array((0..<x.rank).reversed())
    let wide = try Tensor.concatenate([x.permuted(order), x.permuted(order)], axis: 0)
    return try wide.slice(axis: 0, x.shape[x.rank - 1]..<(2 * x.shape[x.rank - 1])).permuted(order)
  }

  @Test(arguments: kinds)
  func viewsGiveTheSame(kind: String) throws {
    let golden = try Self.golden.get()
    for item in golden.cases where item["layer"].string == kind && item["inputDType"].string == "float32" {
      let id = try #require(item["id"].string)
      let x = try golden.tensor("\(id).input")
      guard x.rank > 0 else { continue }
      let y = try makeLayer(item, golden, .float32, id).layer(x)
      let fromView = try makeLayer(item, golden, .float32, id).layer(strided(x))
      #expect(try y.sameBits(as: fromView), "\(id)")
    }
  }

  private func makeLayer(
    _ item: GoldenValue, _ golden: GoldenFile, _ dtype: DType, _ id: String
  ) throws -> (layer: any UnaryLayer, state: [String: Tensor]) {
    let kind = try #require(item["layer"].string)
    let layer = try LayerFactory.layer(kind, item["options"], dtype: dtype == .int64 ? .int64 : .float32)
    if !item["weightNorm"].isNull {
      try #require(layer as? any WeightedLayer).weightNorm(dim: item["weightNorm"]["dim"].int)
    }
    if dtype == .float64 { try layer.to(.float64) }
    var state: [String: Tensor] = [:]
    for (name, tensor) in golden.tensors where name.hasPrefix("\(id).param.") {
      state[String(name.dropFirst("\(id).param.".count))] = tensor
    }
    try layer.load(state)
    layer.train(item["mode"].string == "train")
    return (layer, state)
  }

  private func check(_ item: GoldenValue, _ golden: GoldenFile, _ dtype: DType) throws {
    let id = try #require(item["id"].string)
    let (layer, state) = try makeLayer(item, golden, dtype, id)
    let tolerance = dtype == .float64 ? 1e-6 : 2e-5
    let stored = try golden.tensor("\(id).input")
    let x = stored.dtype == .float32 ? try stored.cast(to: dtype) : stored
    if item["weightNorm"].isNull {
      #expect(Set(layer.stateDictionary().keys) == Set(state.keys), "\(id)")
    } else {
      let weight = try #require(layer as? any WeightedLayer).weight.value
      let difference = try GoldenFile.difference(weight, golden.tensor("\(id).weight"), tolerance: tolerance)
      #expect(difference == nil, "\(id) \(dtype) weight: \(difference ?? "")")
    }
    let y: Tensor
    if let size = item["outputSize"].ints {
      let sized = try #require(layer as? any SizedLayer)
      y = try sized.callAsFunction(x, outputSize: size)
    } else {
      y = try layer(x)
    }
    let expected = try golden.tensor("\(id).output")
    let difference = try GoldenFile.difference(y, expected, tolerance: tolerance)
    #expect(difference == nil, "\(id) \(dtype) \(item["name"].string ?? ""): \(difference ?? "")")
    #expect(y.dtype == (x.dtype == .int64 && dtype != .int64 ? dtype : x.dtype), "\(id) \(dtype)")
    if let indices = golden.tensors["\(id).indices"] {
      let both = try #require(layer as? any IndexPool).withIndices(x)
      #expect(try both.indices.scalars(Int64.self) == indices.scalars(Int64.self), "\(id) indices")
      #expect(try both.values.sameBits(as: y), "\(id) values with indices")
    }
    let after = layer.stateDictionary()
    for (name, tensor) in golden.tensors where name.hasPrefix("\(id).after.") {
      let key = String(name.dropFirst("\(id).after.".count))
      let buffer = try #require(after[key], "\(id) \(key)")
      let difference = try GoldenFile.difference(buffer, tensor, tolerance: tolerance)
      #expect(difference == nil, "\(id) \(dtype) after \(key): \(difference ?? "")")
    }
    for (name, tensor) in state where item["mode"].string == "eval" && item["weightNorm"].isNull {
      let kept = try #require(after[name])
      #expect(try GoldenFile.difference(kept, tensor, tolerance: 0) == nil, "\(id) changed \(name)")
    }
  }
}
