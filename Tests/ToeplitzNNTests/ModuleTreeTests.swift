import Testing
import Toeplitz

/// A block that knows the model around it.
private final class Child: Module, UnaryLayer {
  weak var parent: Module?
  let conv: Conv1d

  init() {
    conv = Conv1d.pointwise()
  }
  func forward(_ x: Tensor) throws -> Tensor { try conv(x) }
}

private final class Owner: Module, UnaryLayer {
  let first = Child()
  let rest = [Child()]

  init() {
    super.init()
    for child in [first] + rest { child.parent = self }
  }
  func forward(_ x: Tensor) throws -> Tensor { try rest.reduce(first(x)) { try $1($0) } }
}

/// Containers inside containers.
private final class Nest: Module {
  let blocks: [[Conv1d]]
  let heads: [String: Conv1d]
  let scales: [Parameter]
  let weights: [LayerWeight]
  let tables: [[String: Parameter?]]
  let maybe: [Conv1d?]
  let sizes = [[1, 2], [3]]
  let window = [Float](repeating: 1, count: 100)

  init() {
    func parameter(_ value: Float) -> Parameter { Parameter(.scalar(value)) }
    blocks = [[.pointwise()], [.pointwise(), .pointwise()]]
    heads = ["right": .pointwise(), "left": .pointwise(), "above": .pointwise()]
    scales = [parameter(1), parameter(2)]
    weights = [LayerWeight(.scalar(3))]
    tables = [["b": parameter(4), "none": nil, "a": parameter(5)]]
    maybe = [nil, .pointwise()]
  }
}

extension Conv1d where Rank == Rank1 {
  /// A convolution of one channel without bias.
  fileprivate static func pointwise() -> Conv1d {
    do {
      return try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, bias: false)
    } catch {
      fatalError("\(error)")
    }
  }
}

extension Tensor {
  fileprivate static func scalar(_ value: Float) -> Tensor {
    do { return try Tensor(scalar: value) } catch { fatalError("\(error)") }
  }
}

/// Walking modules that are held in unusual ways.
@Suite struct ModuleTreeTests {
  @Test func aModuleDoesNotHoldTheOnesAroundIt() throws {
    let model = Owner()
    #expect(model.namedModules().map(\.path) == ["", "first", "first.conv", "rest.0", "rest.0.conv"])
    #expect(model.stateDictionary().keys.sorted() == ["first.conv.weight", "rest.0.conv.weight"])
    #expect(model.parameterCount == 2)
    #expect(!model.eval().rest[0].conv.isTraining)
    let text = model.description
    #expect(text.contains("(rest.0): Child(") && !text.contains("parent"), "\(text)")
    // Seen from the child, the parent is just another module inside.
    #expect(
      model.first.namedModules().map(\.path) == ["", "parent", "parent.rest.0", "parent.rest.0.conv", "conv"])
    #expect(model.first.description.contains("(parent): Owner("))
    #expect(try model(.ones([1, 1, 3])).shape == [1, 1, 3])
  }

  @Test func modulesAndParametersInNestedContainersAreFound() throws {
    let model = Nest()
    let names = [
      "blocks.0.0.weight", "blocks.1.0.weight", "blocks.1.1.weight", "heads.above.weight", "heads.left.weight",
      "heads.right.weight", "maybe.1.weight", "scales.0", "scales.1", "tables.0.a", "tables.0.b", "weights.0",
    ]
    #expect(model.stateDictionary().keys.sorted() == names)
    // The order does not depend on the run.
    #expect(model.children.map(\.key).filter { $0.hasPrefix("heads") } == ["heads.above", "heads.left", "heads.right"])
    let other = Nest()
    try other.load(model.stateDictionary().mapValues { try $0 * 2 })
    #expect(try other.scales[1].value.item(Float.self) == 4)
    #expect(try other.weights[0].value.item(Float.self) == 6)
    #expect(try other.blocks[1][1].weight.value.floats == model.blocks[1][1].weight.value.floats.map { $0 * 2 })
  }

  @Test func aSummaryLeavesTheModeOfEveryModuleAsItWas() throws {
    let (dropped, kept) = (try Dropout(), ReLU())
    let model = Sequential(Sequential(dropped), kept)
    dropped.eval()
    _ = try model.summary(inputShape: [1, 1, 4])
    #expect(!dropped.isTraining && kept.isTraining && model.isTraining)
    model.eval()
    dropped.train()
    _ = try model.summary(inputShape: [1, 1, 4])
    #expect(dropped.isTraining && !kept.isTraining && !model.isTraining)
  }

  @Test func errorsCarryThePathThoughNobodyWalkedTheModel() throws {
    func path(_ body: () throws -> Tensor) -> String? { #expect(throws: ToeplitzError.self) { try body() }?.path }
    let wrong = try Tensor.ones([1, 7, 3])
    let conv = Conv1d.pointwise()
    #expect(path { try Sequential(conv)(wrong) } == "0")
    // The path is that inside the outermost called module, whatever was called or walked before.
    #expect(path { try conv(wrong) } == "")
    _ = Sequential(ReLU(), ReLU(), conv).namedModules()
    #expect(path { try Sequential(ReLU(), conv)(wrong) } == "1")
    let model = Owner()
    #expect(path { try Sequential(ReLU(), model)(wrong) } == "1.first.conv")
    #expect(path { try model(wrong) } == "first.conv")
    #expect(path { try Sequential(ReLU(), Sequential(Linear(inFeatures: 2, outFeatures: 2)))(wrong) } == "1.0")
    // After a failure calls work as before.
    #expect(try model(.ones([1, 1, 3])).shape == [1, 1, 3])
    let summary = #expect(throws: ToeplitzError.self) {
      try Sequential(Owner()).summary(inputShape: [1, 7, 3])
    }
    #expect(summary?.path == "0.first.conv")
  }
}
