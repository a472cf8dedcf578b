import Testing
import ToeplitzGraph
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzONNX

/// Nodes that break the signature of their operator; `Scripts/onnx-schema-cases.py` makes one of each kind for every operator.
@Suite struct SignatureTests {
  private func refuse(_ node: Message, opset: UInt64 = 17, tensors: [Message] = [], _ words: String...) {
    let error = #expect(throws: ToeplitzError.self) {
      try Executable(onnx: TestModel.bytes([node], tensors: tensors, opset: opset))
    }
    for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
    #expect(error?.description.contains("\n") == false)
  }

  @Test func numbersOfInputsAreThoseOfTheOperator() {
    refuse(TestModel.node("Conv", [], ["y"]), "Conv with 2 to 3 inputs", "got 0")
    refuse(TestModel.node("Conv", ["x"], ["y"]), "2 to 3 inputs", "got 1")
    refuse(TestModel.node("Conv", ["x", "x", "x", "x"], ["y"]), "2 to 3 inputs", "got 4")
    refuse(TestModel.node("Conv", ["", "x"], ["y"]), "an input number 1")
    refuse(TestModel.node("Concat", [], ["y"]), "at least 1 inputs")
    refuse(TestModel.node("Relu", ["x"], ["y", "z"]), "at most 1 outputs")
  }

  @Test func attributesAreThoseOfTheOperator() {
    let relu = TestModel.node("Relu", ["x"], ["y"])
    refuse(relu.with(5, TestModel.attribute("alpha", Float(1))), "no attributes", "'alpha'")
    let softmax = TestModel.node("Softmax", ["x"], ["y"])
    refuse(softmax.with(5, TestModel.attribute("axes", 1)), "attributes of axis", "'axes'")
    refuse(softmax.with(5, TestModel.attribute("axis", Float(1))), "attribute axis as a whole number", "got a number")
    refuse(
      softmax.with(5, TestModel.attribute("axis", 0)).with(5, TestModel.attribute("axis", 0)),
      "one attribute of each name")
    refuse(TestModel.node("Concat", ["x", "x"], ["y"]), "an attribute axis")
  }

  /// What an operator takes depends on the version that the model imports.
  @Test func versionsDiffer() throws {
    let clip = TestModel.node("Clip", ["x"], ["y"]).with(5, TestModel.attribute("max", Float(1)))
    _ = try Executable(onnx: TestModel.bytes([clip], opset: 7))
    refuse(clip, opset: 11, "no attributes", "'max'")
    refuse(TestModel.node("Clip", ["x", "x"], ["y"]), opset: 7, "1 inputs")
  }

  @Test func boundsOfAnotherTypeAreRefused() throws {
    let half = Message().with(2, 10).with(5, 0x3C00).with(8, "low")
    let model = try Executable(onnx: TestModel.bytes([TestModel.node("Clip", ["x", "low"], ["y"])], tensors: [half]))
    let error = #expect(throws: ToeplitzError.self) { try model.run(["x": Tensor([1, 2])]) }
    #expect(error?.kind == .dtype && error?.description.contains("float16") == true)
  }

  @Test func outputPaddingIsSmallerThanStrideOrDilation() throws {
    func model(_ padding: Int, stride: Int, dilation: Int) throws -> Executable {
      let node = TestModel.node("ConvTranspose", ["x", "w"], ["y"])
        .with(5, TestModel.attribute("output_padding", [padding])).with(5, TestModel.attribute("strides", [stride]))
        .with(5, TestModel.attribute("dilations", [dilation]))
      let ones = [Float(1), 1].reduce(Message().with(8, "w").with(1, 1).with(1, 1).with(1, 2).with(2, 1)) {
        $0.with(4, float: $1)
      }
      return try Executable(onnx: TestModel.bytes([node], tensors: [ones]))
    }
    let x = try Tensor.ones([1, 1, 3])
    #expect(try model(1, stride: 2, dilation: 1).run(["x": x])[0].shape == [1, 1, 7])
    #expect(try model(1, stride: 1, dilation: 2).run(["x": x])[0].shape == [1, 1, 6])
    for (padding, stride, dilation) in [(2, 2, 1), (1, 1, 1), (3, 2, 3)] {
      #expect(throws: ToeplitzError.self) { try model(padding, stride: stride, dilation: dilation).run(["x": x]) }
    }
  }

  /// Every line of the table is read.
  @Test func theTableIsWellFormed() {
    var domain = ""
    for line in OperatorSchema.table.split(separator: "\n") {
      if line.first == "@" {
        domain = String(line.dropFirst())
        continue
      }
      let name = String(line.prefix { $0 != " " })
      for version in line.dropFirst(name.count).split(separator: "|") {
        let parts = version.split(separator: " ")
        #expect(parts.count >= 3 && Int(parts[0]) != nil, "\(line)")
        #expect(OperatorSchema.find(domain, name, version: Int(parts[0]) ?? 0) != nil, "\(line)")
      }
    }
  }
}
