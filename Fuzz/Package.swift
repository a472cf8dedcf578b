// swift-tools-version: 6.2
import PackageDescription

// A package of its own: the fuzzer's run time must not get into the product.
let package = Package(
  name: "Fuzz",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "Toeplitz", path: "..", traits: [])],
  targets: [
    .executableTarget(
      name: "Fuzz",
      dependencies: [
        .product(name: "Toeplitz", package: "Toeplitz"), .product(name: "ToeplitzGraph", package: "Toeplitz"),
        .product(name: "ToeplitzONNX", package: "Toeplitz"), .product(name: "ToeplitzModels", package: "Toeplitz"),
        .product(name: "ToeplitzTraining", package: "Toeplitz"),
      ],
      swiftSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])],
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])])
  ],
  swiftLanguageModes: [.v6]
)
