#!/usr/bin/env bash
# Fetches the native CPU library of ONNX Runtime GenAI 0.15.2 for Linux x64 into .genai/, for tests and benchmarks.
# npm checks the package against the hash that its registry names; the hash of the library is checked here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=com.github.asus4.onnxruntime-genai@0.4.9 # holds the official build
member=package/Plugins/Linux/x64/libonnxruntime-genai.so
sha256=d346e51d9386f174fbab2fd67c499258e79575f2c3a31f537764542d7e0b59bc
library=.genai/libonnxruntime-genai.so

matches() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "There is no such library for $(uname -sm)." >&2
  exit 1
fi
matches "$library" && exit 0
command -v npm > /dev/null || { echo "npm is not installed; it fetches the library." >&2; exit 1; }

mkdir -p .genai
work=$(mktemp -d -p .genai)
trap 'rm -rf "$work"' EXIT
archive=$(npm pack --silent --pack-destination "$work" "$package")
tar -xzf "$work/$archive" -C "$work" "$member"
matches "$work/$member" || { echo "$package holds another library than expected." >&2; exit 1; }
mv "$work/$member" "$library" # in one step, so that no half of a file is ever found
echo "Fetched $library"
