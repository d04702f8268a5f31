package main

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestAdaptSpec(t *testing.T) {
	s := &service{hostPID: true, bounding: map[string]bool{"CAP_CHOWN": true, "CAP_KILL": true}}
	foreign := specs.ArchMIPS
	for name, test := range map[string]struct{ spec, want string }{
		"nothing to change": {
			spec: `{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}},"linux":{"seccomp":{"architectures":["` + string(nativeArchitecture) + `"]}}}`,
		},
		"no seccomp and no capabilities": {spec: `{"process":{"args":["x"]},"linux":{"seccomp":null}}`},
		"capabilities": {
			spec: `{"ociVersion":"1","process":{"args":["x"],"capabilities":{"bounding":["CAP_SYS_RESOURCE","CAP_KILL"],"permitted":["CAP_CHOWN"]}}}`,
			want: `{"ociVersion":"1","process":{"args":["x"],"capabilities":{"bounding":["CAP_KILL"],"permitted":["CAP_CHOWN"]}}}`,
		},
		"architectures": {
			spec: `{"linux":{"namespaces":[],"seccomp":{"defaultAction":"a","architectures":["` + string(nativeArchitecture) + `","` + string(foreign) + `"]}}}`,
			want: `{"linux":{"namespaces":[],"seccomp":{"defaultAction":"a","architectures":["` + string(nativeArchitecture) + `"]}}}`,
		},
		"a profile for other architectures only": {
			spec: `{"linux":{"seccomp":{"architectures":["` + string(foreign) + `","SCMP_ARCH_MIPS64"]}}}`,
		},
		"architectures that the pod wants": {
			spec: `{"annotations":{"coracle.dev/seccomp-architectures":"all"},"linux":{"seccomp":{"architectures":["` + string(nativeArchitecture) + `","` + string(foreign) + `"]}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			adapted, err := s.adaptSpec([]byte(test.spec))
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if adapted != nil {
					t.Errorf("got %s, want no change", adapted)
				}
				return
			}
			var got, want any
			if err := json.Unmarshal(adapted, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("adapted (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := s.adaptSpec([]byte(`{"process":[]}`)); err == nil {
		t.Error("a specification that is none was taken")
	}
}

func TestProcessNamespace(t *testing.T) {
	for spec, want := range map[string]struct{ pod, host bool }{
		`{"linux":{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/self/ns/ipc"}]}}`: {true, true},
		`{"linux":{"namespaces":[{"type":"pid","path":"/proc/self/ns/pid"}]}}`:                {false, true},
		`{"linux":{"namespaces":[{"type":"pid","path":"/proc/self/ns/mnt"}]}}`:                {true, true},
		`{"linux":{"namespaces":[{"type":"ipc"}]}}`:                                           {false, true},
		`{}`: {false, true},
	} {
		_, inPod := (&service{}).adaptSpec([]byte(spec))
		_, onHost := (&service{hostPID: true}).adaptSpec([]byte(spec))
		if (inPod == nil) != want.pod || (onHost == nil) != want.host {
			t.Errorf("%s: in a pod %v, on the host %v", spec, inPod, onHost)
		}
	}
}

func TestBoundingSet(t *testing.T) {
	if set := boundingSet(); !set["CAP_SYS_ADMIN"] {
		t.Errorf("root has no CAP_SYS_ADMIN in its bounding set: %v", set)
	}
}
