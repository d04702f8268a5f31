// Package crd holds the project's own custom resource definitions, which hack/generate.sh makes of the
// types in apis. It owns nothing else.
package crd

import _ "embed"

// SimulatedNodePools is the definition of simulation.coracle.dev SimulatedNodePool, in YAML.
//
//go:embed simulation.coracle.dev_simulatednodepools.yaml
var SimulatedNodePools []byte
