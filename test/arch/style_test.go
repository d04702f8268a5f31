package arch

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFile     = 600 // lines
	maxFunction = 80
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestSizes leaves out tests, generated code and functions that only hold a
// table.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || s.generated() {
			continue
		}
		if n := s.lines - tables(s); n > maxFile {
			t.Errorf("%s has %d lines besides its tables, more than %d", s.path, n, maxFile)
		}
		for _, d := range s.ast.Decls {
			f, is := d.(*ast.FuncDecl)
			if !is || f.Body == nil {
				continue
			}
			if n := length(s, f) - inner(s, f.Body); n > maxFunction {
				t.Errorf("%s: %s has %d lines besides its tables, more than %d", s.at(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

func length(s *source, n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// tables is the number of lines within composite literals of a file.
func tables(s *source) int { return inner(s, s.ast) }

// inner is the number of lines within the outermost composite literals that
// hold no function of some length.
func inner(s *source, in ast.Node) (lines int) {
	ast.Inspect(in, func(n ast.Node) bool {
		c, is := n.(*ast.CompositeLit)
		if !is || code(s, c) {
			return true
		}
		lines += max(0, length(s, c)-2)
		return false
	})
	return lines
}

// code tells whether a literal holds functions of more than a few lines.
func code(s *source, c *ast.CompositeLit) (found bool) {
	ast.Inspect(c, func(n ast.Node) bool {
		if f, is := n.(*ast.FuncLit); is && length(s, f) > 5 {
			found = true
		}
		return !found
	})
	return found
}

// TestPackageComments: every package says what it is.
func TestPackageComments(t *testing.T) {
	type state struct{ code, comment bool }
	found := map[string]*state{}
	for _, s := range sources(t) {
		key := s.folder()
		if s.test() && strings.HasSuffix(s.ast.Name.Name, "_test") {
			continue
		}
		if found[key] == nil {
			found[key] = &state{}
		}
		found[key].code = found[key].code || !s.test()
		if s.ast.Doc != nil && !s.test() {
			found[key].comment = true
		}
	}
	for folder, st := range found {
		if st.code && !st.comment {
			t.Errorf("package %s has no comment", folder)
		}
	}
}

// vague are names that say nothing of what is in a package.
var vague = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base"}

func TestPackageNames(t *testing.T) {
	for _, s := range sources(t) {
		if name := path.Base(s.folder()); slices.Contains(vague, name) || slices.Contains(vague, s.ast.Name.Name) {
			t.Errorf("%s: the name %s says nothing of what is in the package", s.path, name)
		}
	}
}

// TestNoSkips: a test that is skipped tests nothing.
func TestNoSkips(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			sel, is := call.Fun.(*ast.SelectorExpr)
			if !is || sel.Sel.Name != "Skip" && sel.Sel.Name != "Skipf" && sel.Sel.Name != "SkipNow" {
				return true
			}
			if x, is := sel.X.(*ast.Ident); is && slices.Contains([]string{"t", "b", "tb", "f"}, x.Name) {
				t.Errorf("%s skips", s.at(call.Pos()))
			}
			return true
		})
	}
}

var (
	note   = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	tagged = regexp.MustCompile(`\bTODO\(#\d+\)`)
)

// TestNotes: what is left to do names its issue.
func TestNotes(t *testing.T) {
	for _, s := range sources(t) {
		if under(s.folder(), "test/arch") {
			continue
		}
		for _, group := range s.ast.Comments {
			for _, c := range group.List {
				if note.MatchString(c.Text) && !tagged.MatchString(c.Text) {
					t.Errorf("%s: %s", s.at(c.Pos()), fmt.Sprintf("%.60s", c.Text))
				}
			}
		}
	}
}
