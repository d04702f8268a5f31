package abac

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
)

const (
	apiVersion = "abac.authorization.kubernetes.io/v1beta1"
	kind       = "Policy"
	all        = "*"
	// maxLine bounds the length of a line.
	maxLine = 1 << 20
)

// Policy is what a line of the file allows.
type Policy struct {
	// User and Group say whom the policy is for; where both are set, both must match.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Readonly allows get, list and watch alone.
	Readonly bool `json:"readonly,omitempty"`
	// APIGroup, Resource and Namespace must all match a request of a resource.
	APIGroup  string `json:"apiGroup,omitempty"`
	Resource  string `json:"resource,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// NonResourcePath matches other requests; a star at its end stands for anything.
	NonResourcePath string `json:"nonResourcePath,omitempty"`
}

// form is what tells the forms of a line apart. A line of v0 is a Policy, with neither.
type form struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Load reads a file of policies.
func Load(file string) ([]Policy, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	defer f.Close()
	policies, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("reading policies of %s: %w", file, err)
	}
	return policies, nil
}

func read(r io.Reader) ([]Policy, error) {
	var policies []Policy
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	for n := 1; scanner.Scan(); n++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		p, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		policies = append(policies, p)
	}
	return policies, scanner.Err()
}

func parse(text string) (Policy, error) {
	var f form
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return Policy{}, err
	}
	if f == (form{}) {
		var p Policy
		err := json.Unmarshal([]byte(text), &p)
		return p.fromV0(), err
	}
	if f.APIVersion != apiVersion || f.Kind != kind {
		return Policy{}, fmt.Errorf("apiVersion %q and kind %q are unknown: use %q and %q", f.APIVersion, f.Kind, apiVersion, kind)
	}
	var object struct {
		form
		Spec *Policy `json:"spec"`
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&object); err != nil {
		return Policy{}, err
	}
	if object.Spec == nil {
		return Policy{}, errors.New("spec is missing")
	}
	return object.Spec.everybody(), nil
}

// everybody: who is authenticated is in a group of that name, and a star means them, not anonymous users.
func (p Policy) everybody() Policy {
	if p.User == all || p.Group == all {
		p.User, p.Group = "", user.AllAuthenticated
	}
	return p
}

// fromV0: what a policy of v0 left open it allowed, and it knew of no groups of the API.
func (p Policy) fromV0() Policy {
	if p.User == "" && p.Group == "" {
		p.Group = all
	}
	p = p.everybody()
	if p.Namespace == "" && p.Resource == "" {
		p.NonResourcePath = all
	}
	if p.Namespace == "" {
		p.Namespace = all
	}
	if p.Resource == "" {
		p.Resource = all
	}
	p.APIGroup = all
	return p
}
