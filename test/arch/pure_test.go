package arch

import (
	"go/ast"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pure are folders all of whose files are held to what plan.go files are.
var pure = []string{"scheduler/snapshot", "scheduler/framework", "scheduler/plugin", "scheduler/queue"}

// impure are packages that a pure file does not import.
var impure = []string{
	"context", "net", "net/http", "os", "os/exec", "math/rand", "k8s.io/utils/clock",
	"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "google.golang.org/grpc",
}

// data are packages below those that hold no more than types.
var data = []string{"k8s.io/client-go/applyconfigurations"}

// clock are the functions of package time that tell or wait for the time.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// TestPure: what decides is a function of what it is given.
func TestPure(t *testing.T) {
	found := 0
	for _, s := range sources(t) {
		if s.test() || filepath.Base(s.path) != "plan.go" && !slices.ContainsFunc(pure, func(f string) bool { return under(s.folder(), f) }) {
			continue
		}
		found++
		for _, path := range s.imports() {
			if slices.ContainsFunc(data, func(d string) bool { return under(path, d) }) {
				continue
			}
			if slices.ContainsFunc(impure, func(i string) bool { return path == i || strings.Contains(i, ".") && under(path, i) }) {
				t.Errorf("%s imports %s: it is to be pure", s.path, path)
			}
		}
		for _, call := range selectors(s, "time", clock...) {
			t.Errorf("%s asks the clock: it is to be told the time", call)
		}
	}
	if found == 0 {
		t.Error("found nothing that is to be pure")
	}
}

// TestNoSleep: waiting is for an event or a timer that ctx can end.
func TestNoSleep(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, call := range selectors(s, "time", "Sleep") {
			t.Errorf("%s sleeps", call)
		}
	}
}

// selectors finds the uses of names of an imported package.
func selectors(s *source, path string, names ...string) (out []string) {
	imports := s.imports()
	ast.Inspect(s.ast, func(n ast.Node) bool {
		sel, is := n.(*ast.SelectorExpr)
		if !is || !slices.Contains(names, sel.Sel.Name) {
			return true
		}
		if x, is := sel.X.(*ast.Ident); is && imports[x.Name] == path {
			out = append(out, s.at(sel.Pos()))
		}
		return true
	})
	return out
}
