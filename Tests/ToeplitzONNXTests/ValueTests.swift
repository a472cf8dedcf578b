import Testing
import ToeplitzGraph
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzONNX

/// Sequences, optional values and strings.
@Suite struct ValueTests {
  private func numbers(_ value: ModelValue?) throws -> [Float] { try value?.tensor?.scalars(Float.self) ?? [] }

  private func int64(_ name: String, _ value: Int) -> Message {
    Message().with(2, 7).with(7, UInt64(bitPattern: Int64(value))).with(8, name)
  }

  @Test(arguments: [true, false]) func sequencesPassThroughBranches(isPositive: Bool) throws {
    // if sum(x) > 0 { [x, -x] } else { [x] }, of which the last is taken; its length follows from the elements.
    func branch(_ nodes: [Message], _ name: String) -> Message {
      TestModel.graph(nodes, inputs: [], outputs: [(name, .sequence(1))])
    }
    let two = branch(
      [TestModel.node("Neg", ["x"], ["n"]), TestModel.node("SequenceConstruct", ["x", "n"], ["a"])], "a")
    let one = branch([TestModel.node("SequenceConstruct", ["x"], ["b"])], "b")
    let model = try Executable(
      onnx: TestModel.bytes(
        [
          TestModel.node("ReduceSum", ["x"], ["t"]).with(5, TestModel.attribute("keepdims", 0)),
          TestModel.node("Greater", ["t", "zero"], ["c"]),
          TestModel.node("If", ["c"], ["s"]).with(5, TestModel.attribute("then_branch", graph: two))
            .with(5, TestModel.attribute("else_branch", graph: one)),
          TestModel.node("SequenceAt", ["s", "last"], ["y"]), TestModel.node("SequenceLength", ["s"], ["n"]),
        ], outputs: [("y", .tensor(1)), ("n", .tensor(7)), ("s", .sequence(1))],
        tensors: [Message().with(2, 1).with(4, float: 0).with(8, "zero"), int64("last", -1)]))
    let x = try Tensor([Float(isPositive ? 3 : -3), 1])
    for _ in 0..<2 {
      let results = try model.run(values: ["x": .tensor(x)])
      #expect(try numbers(results[0]) == (isPositive ? [-3, -1] : [-3, 1]))
      #expect(try results[1].tensor?.item(Int64.self) == (isPositive ? 2 : 1))
      guard case .sequence(let list) = results[2] else {
        Issue.record("\(results[2].description)")
        return
      }
      #expect(list.count == (isPositive ? 2 : 1))
    }
    #expect(throws: ToeplitzError.self) { try model.run(["x": x]) }
  }

  /// The body of a loop puts a tensor more into a sequence each round.
  @Test func loopsHandSequencesOn() throws {
    let body = TestModel.graph(
      [
        TestModel.node("SequenceInsert", ["s", "x"], ["t"]), TestModel.node("Identity", ["c"], ["d"]),
      ], inputs: [("i", .tensor(7)), ("c", .tensor(9)), ("s", .sequence(1))],
      outputs: [("d", .tensor(9)), ("t", .sequence(1))])
    let model = try Executable(
      onnx: TestModel.bytes(
        [
          TestModel.node("SequenceEmpty", [], ["e"]),
          TestModel.node("Loop", ["n", "", "e"], ["s"]).with(5, TestModel.attribute("body", graph: body)),
          TestModel.node("ConcatFromSequence", ["s"], ["y"]).with(5, TestModel.attribute("axis", 0)),
        ], inputs: [("x", .tensor(1)), ("n", .tensor(7))]))
    let x = try Tensor([1, 2] as [Float])
    #expect(
      try numbers(model.run(values: ["x": .tensor(x), "n": .tensor(Tensor(scalar: Int64(3)))])[0]) == [
        1, 2, 1, 2, 1, 2,
      ])
    #expect(throws: ToeplitzError.self) {
      try model.run(values: ["x": .tensor(x), "n": .tensor(Tensor(scalar: Int64(0)))])
    }
  }

  @Test func positionsOutsideASequenceAreRefused() throws {
    for (operation, place, isLegal) in [
      ("SequenceAt", 1, true), ("SequenceAt", 2, false), ("SequenceAt", -2, true), ("SequenceAt", -3, false),
      ("SequenceErase", 2, false), ("SequenceErase", -2, true),
    ] {
      let isErase = operation == "SequenceErase"
      let last = isErase ? [TestModel.node("SequenceAt", ["t", "zero"], ["y"])] : []
      let model = try Executable(
        onnx: TestModel.bytes(
          [
            TestModel.node("SequenceConstruct", ["x", "x"], ["s"]),
            TestModel.node(operation, ["s", "p"], [isErase ? "t" : "y"]),
          ] + last, tensors: [int64("p", place), int64("zero", 0)]))
      let works = (try? model.run(["x": Tensor([1, 2])])) != nil
      #expect(works == isLegal, "\(operation) \(place)")
    }
  }

  @Test func optionalValuesMayBeMissing() throws {
    let model = try Executable(
      onnx: TestModel.bytes(
        [TestModel.node("OptionalHasElement", ["x"], ["y"])], inputs: [("x", .optional(1))],
        outputs: [("y", .tensor(9))],
        opset: 18))
    #expect(try model.run(values: ["x": .none])[0].tensor?.item(Bool.self) == false)
    #expect(try model.run(values: ["x": .tensor(Tensor([1, 2]))])[0].tensor?.item(Bool.self) == true)
    let get = try Executable(
      onnx: TestModel.bytes(
        [TestModel.node("OptionalGetElement", ["x"], ["y"])], inputs: [("x", .optional(1))], opset: 18))
    #expect(try numbers(get.run(values: ["x": .tensor(Tensor([1, 2]))])[0]) == [1, 2])
    #expect(throws: ToeplitzError.self) { try get.run(values: ["x": .none]) }
  }

  // MARK: Strings

  private func strings(_ node: Message, _ texts: [String], shape: TensorShape? = nil, output: UInt64 = 8) throws
    -> ModelValue
  {
    let model = try Executable(
      onnx: TestModel.bytes([node], inputs: [("x", .tensor(8))], outputs: [("y", .tensor(output))], opset: 20))
    return try model.run(values: ["x": .strings(StringTensor(texts, shape: shape))])[0]
  }

  @Test func stringsAreMovedSplitAndConverted() throws {
    func elements(_ value: ModelValue) -> [String]? {
      if case .strings(let strings) = value { strings.elements } else { nil }
    }
    let turned = TestModel.node("Transpose", ["x"], ["y"])
    #expect(
      try elements(strings(turned, ["a", "b", "ü", "", "e", "f"], shape: [2, 3])) == ["a", "", "b", "e", "ü", "f"])
    let split = TestModel.node("StringSplit", ["x"], ["y", "counts"]).with(5, TestModel.attribute("delimiter", ","))
    #expect(try elements(strings(split, ["a,b", "c", ",,"])) == ["a", "b", "", "c", "", "", "", "", ""])
    let cast = TestModel.node("Cast", ["x"], ["y"]).with(5, TestModel.attribute("to", 1))
    #expect(try numbers(strings(cast, ["1.5", "-INF", "1e3"], output: 1)) == [1.5, -.infinity, 1000])
    #expect(throws: ToeplitzError.self) { try strings(cast, ["one"], output: 1) }
    #expect(throws: ToeplitzError.self) { try strings(TestModel.node("Relu", ["x"], ["y"]), ["a"]) }
    let lower = TestModel.node("StringNormalizer", ["x"], ["y"])
      .with(5, TestModel.attribute("case_change_action", "UPPER")).with(5, TestModel.attribute("stopwords", ["monday"]))
    #expect(try elements(strings(lower, ["Monday", "tuesday", "ärger"])) == ["TUESDAY", "ÄRGER"])
    #expect(try elements(strings(lower, ["monday"])) == [""])
  }

  @Test func tensorsAreNoStrings() throws {
    let model = try Executable(
      onnx: TestModel.bytes(
        [TestModel.node("Identity", ["x"], ["y"])], inputs: [("x", .tensor(8))], outputs: [("y", .tensor(8))]))
    let error = #expect(throws: ToeplitzError.self) { try model.run(["x": Tensor([1, 2])]) }
    #expect(error?.description.contains("string") == true)
    #expect(throws: ToeplitzError.self) { try model.run(values: ["x": .tensor(Tensor([1, 2]))]) }
    let strings = ModelValue.strings(try StringTensor(["a"]))
    #expect(try model.run(values: ["x": strings])[0].description == "string[1]")
    #expect(throws: ToeplitzError.self) { try model.run(values: [:]) }
  }

  @Test func patternsMatchWholeStrings() throws {
    for (pattern, text, matches) in [
      ("a*b", "aaab", true), ("a*b", "aaabc", false), ("(a|bc)+", "abca", true), ("[^a-c]{2,3}", "xy", true),
      ("[^a-c]{2,3}", "xa", false), ("\\d+(\\.\\d*)?", "12.", true), ("(?i)HeLLo", "hEllO", true), (".", "\n", false),
      ("(?s).", "\n", true), ("^a$", "a", true), ("a\\b.c", "a-c", true), ("a\\b.c", "abc", false), ("", "", true),
      ("[[:alpha:]]+", "aZ", true), ("x{0}", "", true), ("(?P<n>a)(?:b)?", "a", true), ("[]a]", "]", true),
      ("\\x41\\x{e9}", "Aé", true), ("[\\w.-]+@[a-z]+", "a.b@c", true), ("a{,2}", "a{,2}", true), ("é", "é", true),
    ] {
      #expect(try RegularExpression(pattern).matchesWhole(text) == matches, "\(pattern) \(text)")
    }
    for pattern in ["(", ")", "[a", "a**?*", "*a", "\\", "\\q", "[b-a]", "(?<n", "a{1001}", "[[:none:]]", "\\x{zz}"] {
      #expect(throws: RegularExpression.Fault.self, "\(pattern)") { try RegularExpression(pattern) }
    }
  }

  /// What takes others exponential time is bounded by the lengths.
  @Test func patternsTakeBoundedTime() throws {
    let pattern = String(repeating: "a?", count: 200) + String(repeating: "a", count: 200)
    #expect(try RegularExpression(pattern).matchesWhole(String(repeating: "a", count: 200)))
    #expect(try !RegularExpression("(a+)+").matchesWhole(String(repeating: "a", count: 2000) + "b"))
    #expect(throws: RegularExpression.Fault.self) { try RegularExpression("((a{1000}){1000}){1000}") }
    #expect(throws: RegularExpression.Fault.self) { try RegularExpression(String(repeating: "(", count: 5000)) }
  }
}
