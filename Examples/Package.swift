// swift-tools-version: 6.2
import PackageDescription

// Five programs that use Toeplitz as any package would. `traits: []` leaves the command-line tool and its dependency out.
let package = Package(
  name: "Examples",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "Toeplitz", path: "..", traits: [])],
  targets: [
    program("Vocode", "ToeplitzModels"),
    program("Classify", "ToeplitzModels"),
    program("CustomModel", "Toeplitz"),
    program("SharedONNX", "ToeplitzONNX"),
    program("Denoise", "ToeplitzModels"),
  ],
  swiftLanguageModes: [.v6]
)

func program(_ name: String, _ product: String) -> Target {
  .executableTarget(name: name, dependencies: [.product(name: product, package: "Toeplitz")])
}
