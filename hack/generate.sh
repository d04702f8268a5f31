#!/usr/bin/env bash
# Makes all generated files anew, with the tools that go.mod pins.
set -euo pipefail
cd "$(dirname "$0")/.."
hack/openapi.sh
