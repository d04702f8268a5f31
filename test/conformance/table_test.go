package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is one line of a table.
type row struct{ requirement, folder, test string }

// lines returns what a file has, without empty lines; nothing if there is no such file.
func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func rows(t *testing.T, path string) []row {
	t.Helper()
	var out []row
	for _, line := range lines(t, path) {
		f := strings.Split(line, "\t")
		if len(f) != 3 || f[0] == "" || f[1] == "" || f[2] == "" {
			t.Errorf("%s: %q has not three columns: requirement, folder, test", path, line)
			continue
		}
		out = append(out, row{f[0], f[1], f[2]})
	}
	return out
}

// tables returns the SIGs that have a table or a list of what is missing.
func tables(t *testing.T) []string {
	t.Helper()
	var sigs []string
	for _, pattern := range []string{"sig-*.tsv", "sig-*.missing"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			sigs = append(sigs, strings.TrimSuffix(f, filepath.Ext(f)))
		}
	}
	slices.Sort(sigs)
	return slices.Compact(sigs)
}

// TestEveryRequirementHasARow compares the tables with what is required.
func TestEveryRequirementHasARow(t *testing.T) {
	required := map[string][]string{}
	for _, line := range lines(t, "testdata/required.tsv") {
		sig, name, _ := strings.Cut(line, "\t")
		required[sig] = append(required[sig], name)
	}
	for _, sig := range tables(t) {
		t.Run(sig, func(t *testing.T) {
			if len(required[sig]) == 0 {
				t.Fatalf("testdata/required.tsv has no requirement of %s", sig)
			}
			missing := lines(t, sig+".missing")
			listed := slices.Clone(missing)
			for _, r := range rows(t, sig+".tsv") {
				listed = append(listed, r.requirement)
			}
			slices.Sort(required[sig])
			slices.Sort(listed)
			if diff := cmp.Diff(required[sig], listed); diff != "" {
				t.Errorf("the rows of %s.tsv and %s.missing are not what is required (-required +listed):\n%s", sig, sig, diff)
			}
			t.Logf("%d of %d requirements have a test", len(required[sig])-len(missing), len(required[sig]))
		})
	}
}

// source is what the test files of a folder have.
type source struct{ functions, literals map[string]bool }

func parse(t *testing.T, folder string) source {
	t.Helper()
	s := source{map[string]bool{}, map[string]bool{}}
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				s.functions[n.Name.Name] = n.Recv == nil
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil {
					s.literals[text] = true
				}
			}
			return true
		})
	}
	return s
}

// TestNamedTestsExist: the functions are there, and so are the names of their subtests, as literals.
func TestNamedTestsExist(t *testing.T) {
	parsed := map[string]source{}
	for _, sig := range tables(t) {
		for _, r := range rows(t, sig+".tsv") {
			if _, ok := parsed[r.folder]; !ok {
				parsed[r.folder] = parse(t, r.folder)
			}
			function, subtest, nested := strings.Cut(r.test, "/")
			if !strings.HasPrefix(function, "Test") || !parsed[r.folder].functions[function] {
				t.Errorf("%s.tsv: %s: there is no test %s in %s", sig, r.requirement, function, r.folder)
			} else if nested && !parsed[r.folder].literals[subtest] {
				t.Errorf("%s.tsv: %s: the tests in %s have no subtest %q", sig, r.requirement, r.folder, subtest)
			}
		}
	}
}
