extension HiFiGANConfiguration {
  /// The largest of the published generators (V1).
  public static let v1 = HiFiGANConfiguration(
    resblock: "1", rates: [8, 8, 2, 2], kernels: [16, 16, 4, 4], channels: 512, blockKernels: [3, 7, 11],
    dilations: [[1, 3, 5], [1, 3, 5], [1, 3, 5]])
  /// V1 with a quarter of the channels.
  public static let v2 = HiFiGANConfiguration(
    resblock: "1", rates: [8, 8, 2, 2], kernels: [16, 16, 4, 4], channels: 128, blockKernels: [3, 7, 11],
    dilations: [[1, 3, 5], [1, 3, 5], [1, 3, 5]])
  /// The fastest of the published generators (V3).
  public static let v3 = HiFiGANConfiguration(
    resblock: "2", rates: [8, 8, 4], kernels: [16, 16, 8], channels: 256, blockKernels: [3, 5, 7],
    dilations: [[1, 2], [2, 6], [3, 12]])

  /// With the mel spectrogram that all three share: 80 bands up to 8 kHz at 22.05 kHz, 256 samples a frame.
  private init(
    resblock: String, rates: [Int], kernels: [Int], channels: Int, blockKernels: [Int], dilations: [[Int]]
  ) {
    self.resblock = resblock
    upsampleRates = rates
    upsampleKernelSizes = kernels
    upsampleInitialChannel = channels
    resblockKernelSizes = blockKernels
    resblockDilationSizes = dilations
    numMels = 80
    fftSize = 1024
    hopSize = 256
    windowSize = 1024
    samplingRate = 22_050
    minimumFrequency = 0
    maximumFrequency = 8000
  }
}
