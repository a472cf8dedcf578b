import Testing
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

/// Every golden case of every tensor operation against PyTorch.
@Suite struct TensorOperationGoldenTests {
  private static let golden = Result { try GoldenFile("layers/tensor_ops") }

  private static let operations: [String] = {
    let cases = (try? golden.get().cases) ?? []
    return Array(Set(cases.compactMap { $0["op"].string })).sorted()
  }()

  @Test func allCasesAreThere() throws {
    #expect(try Self.golden.get().cases.count == 554)
    #expect(Self.operations.count == 47)
  }

  @Test(arguments: operations)
  func matchesPyTorch(operation: String) throws {
    let golden = try Self.golden.get()
    for item in golden.cases where item["op"].string == operation {
      try check(item, golden, wide: false)
      // A cast is about the float32 value itself.
      if operation != "cast" { try check(item, golden, wide: true) }
    }
  }

  private func check(_ item: GoldenValue, _ golden: GoldenFile, wide: Bool) throws {
    let id = try #require(item["id"].string)
    func type(_ spec: GoldenValue) throws -> DType {
      let dtype = try #require(DType(rawValue: spec["dtype"].string ?? ""))
      return wide && dtype == .float32 ? .float64 : dtype
    }
    let specs = try #require(item["inputs"].array)
    let inputs = try specs.enumerated().map { try golden.tensor("\(id).input\($0)", type($1)) }
    guard !wide || inputs.contains(where: { $0.dtype == .float64 }) else { return }
    let y = try compute(try #require(item["op"].string), inputs, item["options"])
    let expected = try golden.tensor("\(id).output", type(item["output"]))
    #expect(y.dtype == expected.dtype, "\(id)")
    #expect(y.shape.dimensions == item["output"]["shape"].ints, "\(id)")
    // Results beyond float32's range are stored as infinities and zeros.
    let got = wide && y.dtype == .float64 ? try y.cast(to: .float32) : y
    let wanted = wide && y.dtype == .float64 ? try expected.cast(to: .float32) : expected
    let isExact = !y.dtype.isFloatingPoint || item["op"].string == "cast"
    let difference = try GoldenFile.difference(got, wanted, tolerance: isExact ? 0 : wide ? 1e-6 : 2e-5)
    #expect(
      difference == nil, "\(id) \(item["name"].string ?? "")\(wide ? " float64" : ""): \(difference ?? "")")
    if isExact, y.dtype.isFloatingPoint, item["name"].string != "nan" {
      #expect(try got.sameBits(as: wanted), "\(id): signs of zeros")
    }
  }

  private func compute(_ operation: String, _ t: [Tensor], _ o: GoldenValue) throws -> Tensor {
    if let result = try unary(operation, t[0]) { return result }
    if t.count == 2, let result = try binary(operation, t[0], t[1]) { return result }
    if let result = try reduction(operation, t[0], o) { return result }
    return try rearrangement(operation, t, o)
  }

  private func unary(_ operation: String, _ x: Tensor) throws -> Tensor? {
    switch operation {
    case "exp": try x.exp()
    case "log": try x.log()
    case "sqrt": try x.sqrt()
    case "abs": try x.abs()
    case "neg": try x.negated()
    case "sin": try x.sin()
    case "cos": try x.cos()
    case "tanh": try x.tanh()
    case "erf": try x.erf()
    case "floor": try x.floor()
    case "ceil": try x.ceil()
    case "round": try x.round()
    case "sign": try x.sign()
    case "reciprocal": try x.reciprocal()
    default: nil
    }
  }

  private func binary(_ operation: String, _ a: Tensor, _ b: Tensor) throws -> Tensor? {
    switch operation {
    case "add": try a + b
    case "sub": try a - b
    case "mul": try a * b
    case "div": try a / b
    case "intDiv": a.dtype.isFloatingPoint ? try (a / b).trunc() : try a / b
    case "pow": try a.pow(b)
    case "minimum": try a.minimum(b)
    case "maximum": try a.maximum(b)
    case "eq": try a.equal(b)
    case "ne": try a.notEqual(b)
    case "lt": try a.less(b)
    case "le": try a.lessOrEqual(b)
    case "gt": try a.greater(b)
    case "ge": try a.greaterOrEqual(b)
    case "matmul": try a.matmul(b)
    default: nil
    }
  }

  private func reduction(_ operation: String, _ x: Tensor, _ o: GoldenValue) throws -> Tensor? {
    let (axes, keeps) = (o["axes"].ints, o["keepDims"].bool ?? false)
    switch operation {
    case "sum": return try x.sum(axes, keepsAxes: keeps)
    case "mean": return try x.mean(axes, keepsAxes: keeps)
    case "max": return try x.max(axes, keepsAxes: keeps)
    case "min": return try x.min(axes, keepsAxes: keeps)
    case "prod": return try x.product(axes, keepsAxes: keeps)
    case "var": return try x.variance(axes, correction: o["correction"].double ?? 1, keepsAxes: keeps)
    case "argmax": return try x.argmax(axis: o["axis"].int, keepsAxis: keeps)
    case "argmin": return try x.argmin(axis: o["axis"].int, keepsAxis: keeps)
    case "cumsum": return try x.cumsum(axis: o["axis"].int ?? 99)
    default: return nil
    }
  }

  private func rearrangement(_ operation: String, _ t: [Tensor], _ o: GoldenValue) throws -> Tensor {
    switch operation {
    case "where": return try Tensor.where(t[0], t[1], t[2])
    case "cat": return try Tensor.concatenate(t, axis: o["axis"].int ?? 99)
    case "stack": return try Tensor.stack(t, axis: o["axis"].int ?? 99)
    case "pad": return try pad(t[0], o)
    case "slice": return try slice(t[0], o["slices"].array ?? [])
    case "flip": return try t[0].flipped(o["axes"].ints ?? [])
    case "permute": return try t[0].permuted(o["axes"].ints ?? [])
    case "expand": return try t[0].expanded(to: TensorShape(o["shape"].ints ?? []))
    case "cast": return try t[0].cast(to: DType(rawValue: o["dtype"].string ?? "") ?? .float64)
    default: throw ToeplitzError(.argument, "golden test", expected: "a known operation", got: operation)
    }
  }

  /// PyTorch names two amounts for each axis, the last axis first.
  private func pad(_ x: Tensor, _ o: GoldenValue) throws -> Tensor {
    let amounts = o["padding"].ints ?? []
    let pads = stride(from: 0, to: amounts.count, by: 2).map {
      (axis: x.rank - 1 - $0 / 2, low: amounts[$0], high: amounts[$0 + 1])
    }
    let mode = o["mode"].string == "constant" ? .zeros : PaddingMode(rawValue: o["mode"].string ?? "")
    return try x.padded(pads, mode: #require(mode), value: o["value"].double ?? 0)
  }

  /// Python's slices: ends may be missing, negative or beyond the axis.
  private func slice(_ x: Tensor, _ slices: [GoldenValue]) throws -> Tensor {
    try slices.enumerated().reduce(x) { x, entry in
      let (axis, slice) = entry
      let size = x.shape[axis]
      func place(_ value: Int?, or missing: Int) -> Int {
        min(max(value.map { $0 < 0 ? $0 + size : $0 } ?? missing, 0), size)
      }
      let start = place(slice["start"].int, or: 0)
      let end = max(start, place(slice["end"].int, or: size))
      return try x.slice(axis: axis, start..<end, step: slice["step"].int ?? 1)
    }
  }
}
