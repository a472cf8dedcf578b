import Testing

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

@Suite struct InstructionSetTests {
  @Test func variablesTakeWhatThereIs() throws {
    #expect(EnvironmentVariable.instructionSet.words == InstructionSet.allCases.map(\.rawValue))
    #expect(EnvironmentVariable.numerics.words == Numerics.allCases.map(\.rawValue))
    for good in ["1", "17"] { #expect(EnvironmentVariable.threads.accepts(good)) }
    for bad in ["0", "-1", "1.5", "all", " 2", "99999999999999999999"] {
      #expect(!EnvironmentVariable.threads.accepts(bad))
    }
    // Those of this process are right, or nothing here would be computed.
    try EnvironmentVariable.check()
  }

  @Test func overrideReachesTheKernels() throws {
    // (1 + 2⁻¹²)² − (1 + 2⁻¹¹) is 2⁻²⁴ if product and sum are rounded once, and 0 if each is rounded: only the 128-bit
    // path of x86-64 has no fused multiply-add.
    let g = try ConvolutionGeometry(rank: 1, inChannels: 2, outChannels: 1, kernelSize: 1)
    let x = try Tensor([-1, 1 + 0x1p-12], shape: [1, 2, 1])
    let w = try Tensor([1 + 0x1p-11, 1 + 0x1p-12], shape: [1, 2, 1])
    for isa in InstructionSet.available {
      let value = try InstructionSet.$override.withValue(isa) {
        #expect(InstructionSet.current == isa)
        return try apply(ConvolutionOperation(g), x, w).item(Float.self)
      }
      #if arch(x86_64)
        #expect(value == (isa == .baseline ? 0 : 0x1p-24))
      #else
        #expect(value == 0x1p-24)
      #endif
    }
  }

  @Test func theListOfPathsIsPrinted() {
    print(
      "instruction sets tested on this machine: \(InstructionSet.available.map(\.rawValue).joined(separator: ", "))")
    #expect(InstructionSet.available.first == .baseline)
  }
}
