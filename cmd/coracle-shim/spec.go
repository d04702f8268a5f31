package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/containerd/containerd/v2/pkg/cap"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// architecturesAnnotation on a pod, with the value "all", keeps the seccomp
// profile's foreign architectures, so that for instance 32-bit programs run on
// amd64. They are left out otherwise, since they treble the time that it takes
// to compile the filter, which is most of the time that a container takes to start.
const architecturesAnnotation = "coracle.dev/seccomp-architectures"

var nativeArchitecture = map[string]specs.Arch{
	"amd64":   specs.ArchX86_64,
	"arm64":   specs.ArchAARCH64,
	"ppc64le": specs.ArchPPC64LE,
	"riscv64": specs.ArchRISCV64,
	"s390x":   specs.ArchS390X,
}[runtime.GOARCH]

// object is a JSON object of which we read and change some fields and pass on
// the others as they are.
type object map[string]json.RawMessage

// adaptFile rewrites a bundle's config.json to what this host can do.
func (s *service) adaptFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the container's specification: %w", err)
	}
	adapted, err := s.adaptSpec(data)
	if err != nil {
		return err
	}
	if adapted == nil {
		return nil
	}
	if err := os.WriteFile(path, adapted, 0o600); err != nil {
		return fmt.Errorf("writing the container's specification: %w", err)
	}
	return nil
}

// adaptSpec returns nil if there is nothing to change.
func (s *service) adaptSpec(data []byte) ([]byte, error) {
	var spec object
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("decoding the container's specification: %w", err)
	}
	if err := s.checkProcesses(spec); err != nil {
		return nil, err
	}
	capabilities, err := change(spec, "process", s.dropCapabilities)
	if err != nil {
		return nil, err
	}
	architectures := false
	if !keepArchitectures(spec) {
		if architectures, err = change(spec, "linux", narrowSeccomp); err != nil {
			return nil, err
		}
	}
	if !capabilities && !architectures {
		return nil, nil
	}
	return json.Marshal(spec)
}

// checkProcesses refuses a container that shares the pod's process namespace in a
// pod that has none: the holder is in the host's, so it would see the host's
// processes. Whoever asked for the pod must have asked for it alike.
func (s *service) checkProcesses(spec object) error {
	if s.hostPID {
		return nil
	}
	var linux specs.Linux
	if raw, ok := spec["linux"]; ok {
		if err := json.Unmarshal(raw, &linux); err != nil {
			return fmt.Errorf("decoding linux of the specification: %w", err)
		}
	}
	host, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return fmt.Errorf("reading our process namespace: %w", err)
	}
	for _, n := range linux.Namespaces {
		if n.Type != specs.PIDNamespace {
			continue
		}
		if n.Path == "" {
			return nil
		}
		if theirs, err := os.Readlink(n.Path); err != nil || theirs != host {
			return nil
		}
	}
	return errors.New("the container asks for a process namespace that is shared in the pod, but the pod does not")
}

func (s *service) adaptProcess(data []byte) ([]byte, error) {
	var process object
	if err := json.Unmarshal(data, &process); err != nil {
		return nil, fmt.Errorf("decoding the process's specification: %w", err)
	}
	changed, err := s.dropCapabilities(process)
	if err != nil || !changed {
		return data, err
	}
	return json.Marshal(process)
}

// dropCapabilities leaves out what is not in our bounding set, which runc would
// refuse to start: a privileged container gets what there is to be had.
func (s *service) dropCapabilities(process object) (bool, error) {
	if s.bounding == nil {
		return false, nil
	}
	return change(process, "capabilities", func(sets object) (bool, error) {
		changed := false
		for name, raw := range sets {
			var set []string
			if err := json.Unmarshal(raw, &set); err != nil {
				return false, fmt.Errorf("decoding %s capabilities: %w", name, err)
			}
			kept := slices.DeleteFunc(slices.Clone(set), func(c string) bool { return !s.bounding[c] })
			if len(kept) == len(set) {
				continue
			}
			encoded, err := json.Marshal(kept)
			if err != nil {
				return false, err
			}
			sets[name], changed = encoded, true
		}
		return changed, nil
	})
}

func narrowSeccomp(linux object) (bool, error) {
	return change(linux, "seccomp", func(seccomp object) (bool, error) {
		var architectures []specs.Arch
		if raw, ok := seccomp["architectures"]; ok {
			if err := json.Unmarshal(raw, &architectures); err != nil {
				return false, fmt.Errorf("decoding the architectures of the seccomp profile: %w", err)
			}
		}
		if len(architectures) < 2 || !slices.Contains(architectures, nativeArchitecture) {
			return false, nil
		}
		encoded, err := json.Marshal([]specs.Arch{nativeArchitecture})
		seccomp["architectures"] = encoded
		return true, err
	})
}

func keepArchitectures(spec object) bool {
	var annotations map[string]string
	if json.Unmarshal(spec["annotations"], &annotations) != nil {
		return false
	}
	return annotations[architecturesAnnotation] == "all"
}

// change applies f to the object that a key holds, if it holds one.
func change(parent object, key string, f func(object) (bool, error)) (bool, error) {
	raw, ok := parent[key]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	var child object
	if err := json.Unmarshal(raw, &child); err != nil {
		return false, fmt.Errorf("decoding %s of the specification: %w", key, err)
	}
	changed, err := f(child)
	if err != nil || !changed {
		return false, err
	}
	parent[key], err = json.Marshal(child)
	return true, err
}

// boundingSet is nil if it cannot be found out, and then nothing is dropped.
func boundingSet() map[string]bool {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return nil
	}
	defer status.Close()
	sets, err := cap.ParseProcPIDStatus(status)
	if err != nil {
		return nil
	}
	names, _ := cap.FromBitmap(sets[cap.Bounding])
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}
