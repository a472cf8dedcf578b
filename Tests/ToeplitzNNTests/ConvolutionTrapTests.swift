import Testing
import Toeplitz

/// What implementations of convolutions got wrong before, as a list: sizes and options.
///
/// Expected values come from PyTorch 2.15; the expression stands beside them (`F` is `torch.nn.functional`).
@Suite struct ConvolutionTrapTests {
  @Test func trap1SizesFollowTheFormulas() throws {
    for (k, s) in [(1, 1), (3, 1), (3, 2), (4, 3), (2, 5)] {
      for (d, p) in [(1, 0), (2, 1), (3, 4)] {
        let conv = try Conv1d(
          inChannels: 1, outChannels: 1, kernelSize: PerAxis(k), stride: PerAxis(s), padding: .uniform(p),
          dilation: PerAxis(d))
        let up = try ConvTranspose1d(
          inChannels: 1, outChannels: 1, kernelSize: PerAxis(k), stride: PerAxis(s), padding: .uniform(p),
          outputPadding: PerAxis(max(s, d) - 1), dilation: PerAxis(d))
        for length in 1...30 {
          let room = length + 2 * p - d * (k - 1) - 1
          if room >= 0 {
            #expect(try conv.outputLength(for: length) == room / s + 1)
            #expect(try conv(.ones([1, 1, length])).shape == [1, 1, room / s + 1])
          } else {
            #expect(throws: ToeplitzError.self) { try conv.outputLength(for: length) }
          }
          let out = (length - 1) * s - 2 * p + d * (k - 1) + max(s, d)
          if out > 0 {
            #expect(try up.outputLength(for: length) == out)
            #expect(try up(.ones([1, 1, length])).shape == [1, 1, out])
          } else {
            #expect(throws: ToeplitzError.self) { try up.outputLength(for: length) }
          }
        }
      }
    }
  }

  @Test func trap2OutputPaddingIsLegalBelowStrideOrDilationAndRefusedInInit() throws {
    func make(_ extra: Int, stride: Int, dilation: Int) throws -> ConvTranspose1d {
      try ConvTranspose1d(
        inChannels: 1, outChannels: 1, kernelSize: 3, stride: PerAxis(stride), outputPadding: PerAxis(extra),
        dilation: PerAxis(dilation))
    }
    // Legal by the dilation alone: others refuse it.
    #expect(try make(1, stride: 1, dilation: 2).outputLength(for: 4) == 9)
    #expect(try make(2, stride: 3, dilation: 1).outputLength(for: 4) == 14)
    for (extra, stride, dilation) in [(1, 1, 1), (2, 2, 1), (2, 1, 2), (3, 3, 3), (-1, 2, 2)] {
      let text = refusal { _ = try make(extra, stride: stride, dilation: dilation) }
      #expect(text.contains("outputPadding"), "\(text)")
    }
  }

  @Test func trap3OutputPaddingHoldsContributionsWhereTapsReach() throws {
    // F.conv_transpose1d([[[1, 1]]], [[[1]]], [7], stride=3, output_padding=2)
    let sparse = try convTranspose1d(
      signal([1, 1]), signal([1]), bias: Tensor([7]), stride: 3, outputPadding: 2)
    #expect(try sparse.floats == [8, 7, 7, 8, 7, 7])
    // F.conv_transpose1d([[[1, 2]]], [[[1, 10, 100, 1000, 10000]]], [7], stride=2, padding=1, output_padding=1)
    let reached = try convTranspose1d(
      signal([1, 2]), signal([1, 10, 100, 1000, 10000]), bias: Tensor([7]), stride: 2, padding: 1,
      outputPadding: 1)
    #expect(try reached.floats == [17, 109, 1027, 10207, 2007, 20007])
    // F.conv_transpose1d([[[1, 2]]], [[[1, 10]]], [7], dilation=3, output_padding=2, padding=1)
    let dilated = try convTranspose1d(
      signal([1, 2]), signal([1, 10]), bias: Tensor([7]), padding: 1, outputPadding: 2, dilation: 3)
    #expect(try dilated.floats == [9, 7, 17, 27, 7])
  }

  @Test func trap4OutputSizeHasAsManyLegalValuesAsTheStride() throws {
    let layer = try ConvTranspose1d(
      inChannels: 1, outChannels: 1, kernelSize: 3, stride: 2, padding: 1, bias: false)
    try layer.load(["weight": signal([1, 10, 100])])
    let x = try signal([1, 2, 3])
    // ConvTranspose1d(...)(x, output_size=[5]) and [6]
    #expect(try layer(x, outputSize: [5]).floats == [10, 102, 20, 203, 30])
    #expect(try layer(x, outputSize: [6]).floats == [10, 102, 20, 203, 30, 300])
    #expect(try layer(x, outputSize: [1, 1, 6]).floats == [10, 102, 20, 203, 30, 300])
    #expect(try layer(x.select(axis: 0, 0), outputSize: [1, 6]).shape == [1, 6])
    for size in [4, 7, 0, -1, Int.max] {
      let text = refusal { _ = try layer(x, outputSize: [size]) }
      #expect(text.contains("5") && text.contains("6"), "\(text)")
    }
    // A dilation does not widen the range.
    let dilated = try ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 2, dilation: 3)
    #expect(try dilated(x, outputSize: [6]).shape == [1, 1, 6])
    #expect(throws: ToeplitzError.self) { try dilated(x, outputSize: [7]) }
    // Batch and channels of a whole shape are checked.
    for shape in [[2, 1, 6], [1, 2, 6], [1, 1, 1, 6]] {
      _ = refusal("\(shape)") { _ = try layer(x, outputSize: shape) }
    }
  }

  @Test func trap5InputLengthsGiveTheRangeThatAConvolutionMapsToOneLength() throws {
    let layer = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 3, stride: 2)
    #expect(try layer.outputLength(for: 5) == 2 && layer.outputLength(for: 6) == 2)
    #expect(layer.inputLengths(for: 2) == 5..<7)
    let up = try ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 3, stride: 2)
    #expect(up.inputLengths(for: 5) == 2..<3)
    #expect(up.inputLengths(for: 6).isEmpty)
  }

  @Test func trap6PaddingOfATransposedConvolutionCropsTheOutput() throws {
    var random = RandomSource(seed: 6)
    let x = try Tensor.randomNormal([2, 3, 9], using: &random)
    let w = try Tensor.randomNormal([3, 4, 5], using: &random)
    let b = try Tensor.randomNormal([4], using: &random)
    let whole = try convTranspose1d(x, w, bias: b, stride: 2, dilation: 2)
    for pad in 0...12 {
      let cropped = try convTranspose1d(x, w, bias: b, stride: 2, padding: .uniform(pad), dilation: 2)
      let slice = try whole.slice(axis: 2, pad..<(whole.shape[2] - pad))
      #expect(try cropped.floats == slice.floats, "padding \(pad)")
    }
    // More than the extent of the kernel: F.conv_transpose1d([[[1, 2, 3, 4]]], [[[1, 10]]], [5], padding=2)
    #expect(
      try convTranspose1d(signal([1, 2, 3, 4]), signal([1, 10]), bias: Tensor([5]), padding: 2).floats == [28]
    )
  }

  @Test func trap7AnEmptyOutputIsRefused() throws {
    let layer = try ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 2, padding: 2)
    #expect(try layer.outputLength(for: 4) == 1)
    for length in 1...3 {
      let text = refusal { _ = try layer(.ones([1, 1, length])) }
      #expect(text.contains("axis 0") && text.contains("output"), "\(text)")
    }
  }

  @Test func trap8TheKernelsExtentMustFitOnEachAxis() throws {
    let layer = try Conv2d(
      inChannels: 1, outChannels: 1, kernelSize: [3, 2], padding: [1, 0], dilation: [2, 4])
    #expect(try layer(.ones([1, 1, 3, 5])).shape == [1, 1, 1, 1])
    let high = refusal { _ = try layer(.ones([1, 1, 2, 5])) }
    #expect(high.contains("axis 0") && high.contains("5") && high.contains("4"), "\(high)")
    let wide = refusal { _ = try layer(.ones([1, 1, 3, 4])) }
    #expect(wide.contains("axis 1") && wide.contains("5") && wide.contains("4"), "\(wide)")
  }

  @Test func trap9AStrideBeyondTheKernelLeavesBiasInTheGaps() throws {
    // F.conv_transpose1d([[[1, 2]]], [[[1, 10]]], [7], stride=4)
    #expect(
      try convTranspose1d(signal([1, 2]), signal([1, 10]), bias: Tensor([7]), stride: 4).floats
        == [8, 17, 7, 7, 9, 27])
    // F.conv1d(arange(1, 10), [[[1, 10]]], stride=4)
    #expect(try conv1d(counting([1, 1, 9]), signal([1, 10]), stride: 4).floats == [21, 65])
  }

  @Test func trap10OptionsThatAreNotPositiveAreRefusedInInit() throws {
    for value in [0, -1, Int.min] {
      let bad = PerAxis(value)
      let texts = [
        refusal { _ = try Conv1d(inChannels: 2, outChannels: 2, kernelSize: 3, stride: bad) },
        refusal { _ = try ConvTranspose3d(inChannels: 2, outChannels: 2, kernelSize: 3, stride: bad) },
        refusal { _ = try Conv2d(inChannels: 2, outChannels: 2, kernelSize: 3, dilation: bad) },
        refusal { _ = try ConvTranspose1d(inChannels: 2, outChannels: 2, kernelSize: 3, dilation: bad) },
        refusal { _ = try Conv1d(inChannels: 2, outChannels: 2, kernelSize: bad) },
        refusal { _ = try Conv1d(inChannels: 2, outChannels: 2, kernelSize: 3, groups: value) },
        refusal { _ = try ConvTranspose2d(inChannels: 2, outChannels: 2, kernelSize: 3, groups: value) },
      ]
      let names = ["stride", "stride", "dilation", "dilation", "kernelSize", "groups", "groups"]
      for (text, name) in zip(texts, names) { #expect(text.contains("\(name) of at least 1"), "\(text)") }
    }
    #expect(
      refusal {
        _ = try Conv2d(inChannels: 2, outChannels: 2, kernelSize: 3, padding: .asymmetric([(0, 0), (0, -1)]))
      }
      .contains("padding"))
    #expect(refusal { _ = try conv1d(signal([1]), signal([1]), groups: 0) }.contains("groups"))
  }

  @Test func trap11ATransposedWeightHasInputChannelsFirst() throws {
    // F.conv_transpose1d([[[1, 0], [0, 1], [2, 0], [0, 3]]], arange(1, 17).reshape(4, 2, 2),
    //   [100, 200, 300, 400], groups=2, stride=2)
    let y = try convTranspose1d(
      tensor([1, 0, 0, 1, 2, 0, 0, 3], [1, 4, 2]), counting([4, 2, 2]), bias: Tensor([100, 200, 300, 400]),
      stride: 2, groups: 2)
    #expect(y.shape == [1, 4, 4])
    #expect(
      try y.floats
        == [101, 102, 105, 106, 203, 204, 207, 208, 318, 320, 339, 342, 422, 424, 445, 448])
    let layer = try ConvTranspose2d(inChannels: 6, outChannels: 4, kernelSize: [3, 5], groups: 2)
    let values = layer.stateDictionary()
    #expect(values["weight"]?.shape == [6, 2, 3, 5] && values["bias"]?.shape == [4])
  }

  @Test func trap12TheKernelIsNotFlipped() throws {
    // F.conv_transpose1d([[[1, 0, 0]]], [[[1, 2, 3]]]) and F.conv1d([[[0, 0, 1, 0, 0]]], [[[1, 2, 3]]])
    #expect(try convTranspose1d(signal([1, 0, 0]), signal([1, 2, 3])).floats == [1, 2, 3, 0, 0])
    #expect(try conv1d(signal([0, 0, 1, 0, 0]), signal([1, 2, 3])).floats == [3, 2, 1])
    // F.conv_transpose2d([[[[0, 0], [1, 0]]]], arange(1, 7).reshape(1, 1, 2, 3))
    let plane = try convTranspose2d(tensor([0, 0, 1, 0], [1, 1, 2, 2]), counting([1, 1, 2, 3]))
    #expect(try plane.floats == [0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0])
  }

  @Test func trap13AnEmptyBatchGivesAnEmptyBatch() throws {
    for layout in [TensorLayout.channelsFirst, .channelsLast] {
      let first = layout == .channelsFirst
      let conv = try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 2, layout: layout)
      #expect(try conv(.zeros(first ? [0, 2, 5] : [0, 5, 2])).shape == (first ? [0, 3, 4] : [0, 4, 3]))
      let up = try ConvTranspose1d(
        inChannels: 2, outChannels: 3, kernelSize: 2, stride: 2, paddingMode: .circular, layout: layout)
      #expect(try up(.zeros(first ? [0, 2, 5] : [0, 5, 2])).shape == (first ? [0, 3, 10] : [0, 10, 3]))
    }
  }

  @Test func trap14AnInputOfLengthZeroIsRefused() throws {
    let conv = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, padding: 2)
    let up = try ConvTranspose2d(inChannels: 1, outChannels: 1, kernelSize: 4)
    for text in [refusal { _ = try conv(.zeros([1, 1, 0])) }, refusal { _ = try up(.zeros([1, 1, 0, 4])) }] {
      #expect(text.contains("at least 1 position on axis 0"), "\(text)")
    }
  }

  @Test func trap15ZeroChannelsAreRefused() throws {
    for channels in [(0, 3), (3, 0), (0, 0), (-1, 1)] {
      _ = refusal { _ = try Conv1d(inChannels: channels.0, outChannels: channels.1, kernelSize: 1) }
      _ = refusal { _ = try ConvTranspose1d(inChannels: channels.0, outChannels: channels.1, kernelSize: 1) }
    }
    _ = refusal { _ = try conv1d(.zeros([1, 0, 5]), .zeros([2, 0, 1])) }
    _ = refusal { _ = try convTranspose1d(.zeros([1, 0, 5]), .zeros([0, 2, 1])) }
  }

  @Test func trap16TheBatchAxisMayBeMissingAndNoOther() throws {
    let generator = Generator(seed: 16)
    let layers: [(ConvolutionLayer, TensorShape)] = [
      (
        try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 3, padding: .same, generator: generator),
        [2, 9]
      ),
      (try ConvTranspose2d(inChannels: 2, outChannels: 3, kernelSize: 3, generator: generator), [2, 4, 5]),
      (
        try Conv3d(inChannels: 2, outChannels: 3, kernelSize: 2, layout: .channelsLast, generator: generator),
        [3, 4, 5, 2]
      ),
    ]
    for (layer, shape) in layers {
      let x = try counting(shape)
      let single = try layer(x)
      #expect(single.rank == shape.rank)
      #expect(try layer(x.unsqueezed(0)).select(axis: 0, 0).floats == single.floats)
      for other in [[2], shape.dropLast(), [1, 1] + shape] {
        let text = refusal { _ = try layer(.zeros(TensorShape(Array(other)))) }
        #expect(text.contains("dimensions") && text.contains("without batch"), "\(text)")
      }
    }
  }
}
