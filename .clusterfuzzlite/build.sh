#!/bin/bash -eu
# One fuzzer a target of fuzz/targets.py, with its seeds and the dictionary.
# ClusterFuzzLite finds harnesses by their names, and takes each as one file without arguments.
pip3 install ".[codecs]"
python3 fuzz/dictionary.py
python3 - <<'PYTHON'
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, ".")
from fuzz.targets import TARGETS

for name, target in TARGETS.items():
    plain = name.replace("-", "_")
    Path(f"fuzz/fuzz_{plain}.py").write_text(
        f'import sys\n\nsys.argv.insert(1, "{name}")\nimport fuzz.atheris_target  # noqa: F401\n'
    )
    with zipfile.ZipFile(f"{plain}.zip", "w") as corpus:
        for number, data in enumerate(target.seeds()):
            corpus.writestr(str(number), data)
    Path(f"{plain}.zip").rename(Path(f"fuzz_{plain}_seed_corpus.zip"))
PYTHON
for harness in fuzz/fuzz_*.py; do
  name=$(basename "$harness" .py)
  PYTHONPATH=. compile_python_fuzzer "$harness" --paths . --collect-submodules nnpack
  cp fuzz/nnpack.dict "$OUT/$name.dict"
  cp "${name}_seed_corpus.zip" "$OUT/"
done
