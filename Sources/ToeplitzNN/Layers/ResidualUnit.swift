import ToeplitzOps
import ToeplitzTensor

extension ConvolutionLayer {
  /// `scale × (x + second(leaky(self(leaky(x, inputSlope)), middleSlope)) + extra)`, in one pass where that pays (see
  /// `ResidualUnit`).
  package func residualUnit(
    _ x: Tensor, _ second: ConvolutionLayer, inputSlope: Double, middleSlope: Double, adding extra: Tensor? = nil,
    scale: Double = 1
  ) throws -> Tensor {
    let extras = extra.map { [$0] } ?? []
    // One layer hears of the unit as its own output, so that must have the shape of what it gives by itself.
    guard fusesWhatFollows, second.fusesWhatFollows, layout == .channelsFirst, second.layout == .channelsFirst,
      geometry.rank == 1, second.geometry.rank == 1, geometry.inChannels == geometry.outChannels,
      [2, 3].contains(x.rank), try geometry.outputSize([x.shape[x.rank - 1]]) == [x.shape[x.rank - 1]]
    else {
      let middle = try self(x, epilogue: Epilogue(inputSlope: inputSlope))
      return try second(
        middle, epilogue: Epilogue(inputSlope: middleSlope, outputScale: scale), adding: [x] + extras)
    }
    var unit = ResidualUnit(
      geometry, second.geometry, hasBias: (bias != nil, second.bias != nil), inputSlope: inputSlope,
      middleSlope: middleSlope)
    unit.hasExtra = extra != nil
    unit.stages.first.operation.weightStorage = weightStorage
    unit.stages.second.operation.weightStorage = second.weightStorage
    unit.stages.second.operation.epilogue.outputScale = scale
    let y = try observed(x) {
      let operands = try [weight.value(), bias?.value, second.weight.value(), second.bias?.value].compactMap { $0 }
      return try applyAll(unit, [x] + operands + extras)[0]
    }
    second.heard(y, y)
    return y
  }
}
