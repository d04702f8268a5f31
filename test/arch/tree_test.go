package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module is the path of the project's module.
const module = "coracle.dev/coracle"

// root is the project's folder.
var root = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
})

func rootDir(t *testing.T) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatalf("finding the module: %v", err)
	}
	return dir
}

// source is a Go file of the project.
type source struct {
	path  string // from the root, with slashes
	text  []byte
	ast   *ast.File
	fset  *token.FileSet
	lines int
}

func (s *source) folder() string { return filepath.ToSlash(filepath.Dir(s.path)) }
func (s *source) test() bool     { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) generated() bool {
	return ast.IsGenerated(s.ast) || strings.HasPrefix(filepath.Base(s.path), "zz_generated")
}

// imports are the paths that a file imports, by the name that it uses.
func (s *source) imports() map[string]string {
	out := map[string]string{}
	for _, spec := range s.ast.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		out[name] = path
	}
	return out
}

// at is a position as editors understand it.
func (s *source) at(p token.Pos) string {
	pos := s.fset.Position(p)
	return s.path + ":" + itoa(pos.Line)
}

var load = sync.OnceValues(func() ([]*source, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	var out []*source
	fset := token.NewFileSet()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin" || ignored(dir, path)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, &source{path: filepath.ToSlash(rel), text: text, ast: file, fset: fset, lines: bytes.Count(text, []byte("\n"))})
		return nil
	})
	return out, err
})

// ignored tells whether git leaves a folder out of the project. Without git,
// everything is part of it.
func ignored(dir, path string) bool {
	c := exec.Command("git", "check-ignore", "-q", path)
	c.Dir = dir
	return c.Run() == nil
}

func sources(t *testing.T) []*source {
	t.Helper()
	out, err := load()
	if err != nil {
		t.Fatalf("reading the sources: %v", err)
	}
	if len(out) == 0 {
		t.Fatal("found no sources")
	}
	return out
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func (p *pkg) module() string {
	if p.Module == nil {
		return ""
	}
	return p.Module.Path
}

// folder is the package's folder from the root.
func (p *pkg) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

var list = sync.OnceValues(func() (map[string]*pkg, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	c := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Deps,Module", "./...")
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	text, err := c.Output()
	if err != nil {
		return nil, errors.New(stderr.String())
	}
	out := map[string]*pkg{}
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		p := &pkg{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		out[p.ImportPath] = p
	}
})

// packages are all packages of the project and all that they depend on.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	out, err := list()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	return out
}

// own are the packages of the project under a folder.
func own(all map[string]*pkg, folder string) (out []*pkg) {
	for _, p := range all {
		if p.module() == module && under(p.folder(), folder) {
			out = append(out, p)
		}
	}
	return out
}

func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
