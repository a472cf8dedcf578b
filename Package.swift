// swift-tools-version: 6.2
import PackageDescription

// The targets in layer order: a target may depend only on targets above it.
// `Scripts/check-imports.py` compares this table with the imports in the sources.

/// What a target is for; decides its path, its products and its settings.
enum Kind {
  /// C inner loops. `-O3` also in debug builds, or a debug build would be unusably slow.
  case kernels
  /// C functions in front of Open MPI. Empty unless the trait is on.
  case mpi
  /// A Swift library layer.
  case library
  /// The command-line tool.
  case command
  /// Code shared by tests, never shipped.
  case testSupport
  /// Tests of one layer.
  case test
}

struct Layer {
  var kind: Kind
  var name: String
  var uses: [String] = []
  var products: [Target.Dependency] = []
  var resources: [Resource] = []
}

/// The command-line tool, and with it swift-argument-parser.
///
/// On unless a package that uses the library says `traits: []`, and so fetches no other package.
let toolTrait = "Tool"

/// Training on several processes, and with it Open MPI, whose headers and library must be installed.
let mpiTrait = "MPI"

let layers: [Layer] = [
  Layer(kind: .kernels, name: "CToeplitzKernels"),
  Layer(kind: .mpi, name: "CToeplitzMPI"),
  Layer(kind: .library, name: "ToeplitzTensor"),
  Layer(kind: .library, name: "ToeplitzOps", uses: ["ToeplitzTensor"]),
  Layer(kind: .library, name: "ToeplitzGraph", uses: ["ToeplitzTensor", "ToeplitzOps"]),
  Layer(
    kind: .library, name: "ToeplitzCPU",
    uses: ["ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "CToeplitzKernels"]),
  Layer(kind: .library, name: "ToeplitzCheckpoint", uses: ["ToeplitzTensor"]),
  Layer(kind: .library, name: "ToeplitzImage", uses: ["ToeplitzTensor", "ToeplitzCheckpoint"]),
  Layer(
    kind: .library, name: "ToeplitzNN",
    uses: ["ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCheckpoint"]),
  Layer(
    kind: .library, name: "Toeplitz",
    uses: ["ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzCheckpoint", "ToeplitzNN"]),
  Layer(
    kind: .library, name: "ToeplitzONNX",
    uses: [
      "ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzCheckpoint", "ToeplitzImage",
      "ToeplitzNN", "Toeplitz",
    ]),
  Layer(
    kind: .library, name: "ToeplitzModels",
    uses: [
      "CToeplitzKernels", "ToeplitzTensor", "ToeplitzOps", "ToeplitzCPU", "ToeplitzCheckpoint", "ToeplitzImage",
      "ToeplitzNN", "Toeplitz",
    ]),
  Layer(
    kind: .library, name: "ToeplitzTraining",
    uses: [
      "CToeplitzMPI", "ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzCheckpoint",
      "ToeplitzImage",
      "ToeplitzNN", "Toeplitz", "ToeplitzModels",
    ]),
  Layer(
    kind: .command, name: "ToeplitzCommand",
    uses: [
      "ToeplitzTensor", "Toeplitz", "ToeplitzGraph", "ToeplitzImage", "ToeplitzONNX", "ToeplitzModels",
      "ToeplitzTraining",
    ],
    products: [
      .product(name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: [toolTrait]))
    ],
    resources: [.copy("Resources/vocoder")]),
  Layer(
    kind: .testSupport, name: "ToeplitzTestSupport",
    uses: ["ToeplitzTensor", "ToeplitzOps", "ToeplitzCPU", "ToeplitzCheckpoint"]),
  Layer(kind: .test, name: "ToeplitzTensorTests", uses: ["ToeplitzTensor", "ToeplitzTestSupport"]),
  Layer(
    kind: .test, name: "ToeplitzOpsTests",
    uses: [
      "CToeplitzKernels", "ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzCheckpoint",
      "ToeplitzTestSupport",
    ]),
  Layer(
    kind: .test, name: "ToeplitzCheckpointTests",
    uses: ["ToeplitzTensor", "ToeplitzCheckpoint", "ToeplitzTestSupport"]),
  Layer(
    kind: .test, name: "ToeplitzImageTests",
    uses: ["ToeplitzTensor", "ToeplitzCheckpoint", "ToeplitzImage", "ToeplitzTestSupport"]),
  Layer(
    kind: .test, name: "ToeplitzGraphTests",
    uses: [
      "ToeplitzTensor", "ToeplitzOps", "ToeplitzCPU", "ToeplitzCheckpoint", "ToeplitzGraph", "ToeplitzONNX",
      "ToeplitzTestSupport",
    ]),
  Layer(
    kind: .test, name: "ToeplitzONNXTests",
    uses: [
      "ToeplitzTensor", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzCheckpoint", "ToeplitzNN",
      "ToeplitzONNX",
      "ToeplitzTestSupport",
    ]),
  Layer(
    kind: .test, name: "ToeplitzNNTests",
    uses: [
      "Toeplitz", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzNN", "ToeplitzTraining",
      "ToeplitzTestSupport",
    ]),
  Layer(
    kind: .test, name: "ToeplitzModelsTests",
    uses: ["Toeplitz", "ToeplitzCPU", "ToeplitzModels", "ToeplitzONNX", "ToeplitzTestSupport"]),
  Layer(
    kind: .test, name: "ToeplitzTrainingTests",
    uses: [
      "Toeplitz", "ToeplitzOps", "ToeplitzGraph", "ToeplitzCPU", "ToeplitzNN", "ToeplitzModels", "ToeplitzTraining",
      "ToeplitzTestSupport",
    ]),
  Layer(
    kind: .test, name: "ToeplitzCommandTests",
    uses: [
      "Toeplitz", "ToeplitzImage", "ToeplitzModels", "ToeplitzONNX", "ToeplitzCommand", "ToeplitzTestSupport",
    ]),
]

func target(_ layer: Layer) -> Target {
  let dependencies = layer.uses.map { Target.Dependency.target(name: $0) } + layer.products
  switch layer.kind {
  case .kernels:
    return .target(name: layer.name, cSettings: [.unsafeFlags(["-O3"])])
  case .mpi:
    return .target(
      name: layer.name, cSettings: [.define("TOEPLITZ_MPI", .when(traits: [mpiTrait]))],
      linkerSettings: [.linkedLibrary("mpi", .when(traits: [mpiTrait]))])
  case .library:
    return .target(name: layer.name, dependencies: dependencies, resources: layer.resources)
  case .command:
    return .executableTarget(
      name: layer.name, dependencies: dependencies, resources: layer.resources)
  case .testSupport:
    return .target(name: layer.name, dependencies: dependencies, path: "Tests/\(layer.name)")
  case .test:
    return .testTarget(name: layer.name, dependencies: dependencies)
  }
}

let package = Package(
  name: "Toeplitz",
  platforms: [.macOS(.v15), .iOS(.v18)],
  products: [
    .library(name: "Toeplitz", targets: ["Toeplitz"]),
    .library(name: "ToeplitzGraph", targets: ["ToeplitzGraph"]),
    .library(name: "ToeplitzONNX", targets: ["ToeplitzONNX"]),
    .library(name: "ToeplitzModels", targets: ["ToeplitzModels"]),
    .library(name: "ToeplitzTraining", targets: ["ToeplitzTraining"]),
    .executable(name: "toeplitz", targets: ["ToeplitzCommand"]),
  ],
  traits: [
    .trait(name: toolTrait, description: "The command-line tool `toeplitz`."),
    .trait(name: mpiTrait, description: "Training on several processes with Open MPI."),
    .default(enabledTraits: [toolTrait]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: layers.map(target),
  swiftLanguageModes: [.v6]
)
