package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule says what the packages of a folder may import.
type rule struct {
	folder string
	// own are the other folders of the project that may be reached, directly
	// or not.
	own []string
	// direct are the modules that may be imported directly, besides those in
	// everywhere. A name that ends in /... stands for all modules under it.
	direct []string
	// never are packages that must not be reached, not even through others,
	// with all that is under them.
	never []string
}

// everywhere are modules that any folder may import.
var everywhere = []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/klog/v2", "k8s.io/utils", "golang.org/x/sync", "golang.org/x/sys", "sigs.k8s.io/yaml", "github.com/spf13/pflag"}

// Packages that are the mark of one part.
var (
	serving = []string{"k8s.io/kube-aggregator", "k8s.io/apiextensions-apiserver/pkg/apiserver", "k8s.io/apiserver/pkg/server", "go.etcd.io/etcd/server/v3"}
	nodes   = []string{"github.com/containerd/containerd/v2", "github.com/vishvananda/netlink", "sigs.k8s.io/knftables", "github.com/coredns/coredns", "k8s.io/cri-api"}
	loops   = []string{"sigs.k8s.io/controller-runtime"}
)

var rules = []rule{
	{
		folder: "apis",
		direct: []string{"k8s.io/component-helpers"}, // what a pod requests
		never:  slices.Concat(serving, nodes, loops, []string{"k8s.io/client-go", "k8s.io/apiserver"}),
	},
	{
		folder: "apiserver", own: []string{"apis"},
		direct: []string{
			"k8s.io/apiserver", "k8s.io/client-go", "k8s.io/component-base", "k8s.io/component-helpers", "k8s.io/kube-openapi",
			"k8s.io/kube-aggregator", "k8s.io/apiextensions-apiserver", "k8s.io/dynamic-resource-allocation", "k8s.io/pod-security-admission", "k8s.io/streaming",
			"sigs.k8s.io/structured-merge-diff/v6", "go.etcd.io/...", "go.uber.org/zap", "github.com/go-jose/go-jose/v4",
			"github.com/google/uuid", "github.com/munnerz/goautoneg", "k8s.io/metrics", "github.com/prometheus/client_model", "github.com/prometheus/common", "github.com/google/cel-go",
		},
		never: slices.Concat(nodes, loops),
	},
	{
		folder: "controllers", own: []string{"apis/quota", "apis/pod", "apis/resource"},
		direct: []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "k8s.io/component-helpers", "k8s.io/endpointslice", "github.com/robfig/cron/v3", "k8s.io/metrics", "k8s.io/dynamic-resource-allocation"},
		never:  slices.Concat(serving, nodes),
	},
	{
		folder: "scheduler",
		direct: []string{
			"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "k8s.io/component-helpers", "k8s.io/kube-scheduler", "k8s.io/dynamic-resource-allocation",
		},
		never: slices.Concat(serving, nodes, []string{"k8s.io/apiserver/pkg/registry", "k8s.io/apiserver/pkg/storage", "k8s.io/apiserver/pkg/endpoints"}),
	},
	{
		folder: "nodeagent",
		direct: []string{
			"k8s.io/client-go", "k8s.io/cri-api", "k8s.io/cri-client", "k8s.io/cri-streaming", "k8s.io/kubelet", "k8s.io/component-base",
			"k8s.io/component-helpers", "k8s.io/apiserver", // the authentication and authorization of its own API
			"github.com/containerd/...", "github.com/opencontainers/...", "github.com/distribution/reference", "google.golang.org/grpc",
			"google.golang.org/protobuf", "sigs.k8s.io/knftables", "github.com/vishvananda/...", "github.com/coredns/...", "github.com/miekg/dns", "github.com/prometheus/...",
		},
		never: slices.Concat([]string{"k8s.io/kube-aggregator", "go.etcd.io/etcd/server/v3"}, loops),
	},
	{
		folder: "cluster", own: []string{"apis", "apiserver", "controllers", "scheduler", "nodeagent", "config"},
		direct: []string{"k8s.io/client-go", "k8s.io/apiserver", "k8s.io/component-base", "github.com/vishvananda/netlink", "github.com/fsnotify/fsnotify", "go.etcd.io/...", "sigs.k8s.io/controller-runtime"},
	},
	{
		folder: "cmd/coracle", own: []string{"apis", "apiserver", "controllers", "scheduler", "nodeagent", "cluster", "config"},
		direct: []string{"github.com/spf13/cobra", "google.golang.org/grpc", "k8s.io/kubectl", "k8s.io/component-base", "k8s.io/client-go", "k8s.io/cli-runtime"},
	},
	{ // small, because it imports little
		folder: "cmd/coracle-shim",
		direct: []string{"github.com/containerd/...", "github.com/opencontainers/...", "google.golang.org/protobuf"},
		never:  slices.Concat(serving, loops, []string{"k8s.io/client-go"}),
	},
}

// parts meet only through the Kubernetes API.
var parts = []string{"apiserver", "controllers", "scheduler", "nodeagent"}

// direct is what parts of the project name directly: cmd names cluster alone.
var direct = map[string][]string{"cmd/coracle": {"cluster"}}

func TestImports(t *testing.T) {
	all := packages(t)
	for _, r := range rules {
		t.Run(r.folder, func(t *testing.T) {
			mine := own(all, r.folder)
			if len(mine) == 0 {
				t.Fatalf("there are no packages in %s", r.folder)
			}
			for _, p := range mine {
				checkDirect(t, all, r, p)
				checkReached(t, all, r, p)
			}
		})
	}
}

func checkDirect(t *testing.T, all map[string]*pkg, r rule, p *pkg) {
	t.Helper()
	for _, path := range p.Imports {
		q := all[path]
		if q == nil || q.Standard || q.module() == "" {
			continue
		}
		if q.module() == module {
			if only, limited := direct[r.folder]; limited && !under(q.folder(), r.folder) && !slices.ContainsFunc(only, func(f string) bool { return under(q.folder(), f) }) {
				t.Errorf("%s imports %s: %s may import only %v of the project", p.folder(), q.folder(), r.folder, only)
			}
			continue
		}
		if !slices.Contains(everywhere, q.module()) && !slices.ContainsFunc(r.direct, func(m string) bool { return covers(m, q.module()) }) {
			t.Errorf("%s imports %s: %s does not depend on the module %s", p.folder(), path, r.folder, q.module())
		}
	}
}

func checkReached(t *testing.T, all map[string]*pkg, r rule, p *pkg) {
	t.Helper()
	for _, path := range p.Deps {
		q := all[path]
		if q == nil || q.Standard {
			continue
		}
		if q.module() == module {
			if !under(q.folder(), r.folder) && !slices.ContainsFunc(r.own, func(f string) bool { return under(q.folder(), f) }) && !shared(q.folder()) {
				t.Errorf("%s reaches %s", p.folder(), q.folder())
			}
		} else if slices.ContainsFunc(r.never, func(n string) bool { return under(path, n) }) {
			t.Errorf("%s reaches %s", p.folder(), path)
		}
	}
}

// shared are folders that belong to no part.
func shared(folder string) bool { return under(folder, "internal") }

func covers(pattern, path string) bool {
	if prefix, all := strings.CutSuffix(pattern, "/..."); all {
		return under(path, prefix)
	}
	return pattern == path
}

// TestPartsDoNotMeet says again, by itself, what the parts are for.
func TestPartsDoNotMeet(t *testing.T) {
	all := packages(t)
	for _, part := range parts {
		for _, p := range own(all, part) {
			for _, other := range parts {
				if other == part {
					continue
				}
				for _, path := range p.Deps {
					if q := all[path]; q != nil && q.module() == module && under(q.folder(), other) {
						t.Errorf("%s reaches %s: the parts meet only through the Kubernetes API", p.folder(), q.folder())
					}
				}
			}
		}
	}
}

// TestSiblings: API groups share apis/resource and apis/pod alone, and
// controllers share controllers/internal, with apis/quota for the one that counts.
func TestSiblings(t *testing.T) {
	all := packages(t)
	for _, p := range own(all, "apis") {
		if p.folder() == "apis/catalog" {
			continue
		}
		for _, path := range p.Imports {
			if q := all[path]; q != nil && q.module() == module && q.folder() != "apis/resource" && q.folder() != "apis/pod" && !under(q.folder(), p.folder()) {
				t.Errorf("%s imports its sibling %s", p.folder(), q.folder())
			}
		}
	}
	for _, p := range own(all, "controllers") {
		if p.folder() == "controllers" {
			continue
		}
		for _, path := range p.Deps {
			q := all[path]
			if q == nil || q.module() != module || under(q.folder(), p.folder()) || under(q.folder(), "controllers/internal") || under(q.folder(), "apis") {
				continue // that apis is reached is for TestImports to judge
			}
			t.Errorf("%s reaches its sibling %s", p.folder(), q.folder())
		}
	}
}

// TestNoKubernetes: the module k8s.io/kubernetes is nobody's library.
func TestNoKubernetes(t *testing.T) {
	for path, p := range packages(t) {
		if under(path, "k8s.io/kubernetes") {
			t.Errorf("%s is imported", p.ImportPath)
		}
	}
	text, err := os.ReadFile(filepath.Join(rootDir(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "k8s.io/kubernetes ") {
		t.Error("go.mod requires k8s.io/kubernetes")
	}
}

// quoted finds paths in a text.
var quoted = regexp.MustCompile("`([a-z][a-z0-9]*(?:/[a-z0-9_.-]+)*)/?`")

// TestFolders: the folders that these tables and ARCHITECTURE.md name exist.
func TestFolders(t *testing.T) {
	dir := rootDir(t)
	exists := func(path string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(path)))
		return err == nil
	}
	named := slices.Concat(parts, pure, []string{"apis/resource", "apis/pod", "apis/catalog", "controllers/internal"})
	for _, r := range rules {
		named = append(named, r.folder)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		if top, _, _ := strings.Cut(m[1], "/"); strings.Contains(m[1], "/") && exists(top) {
			named = append(named, m[1])
		}
	}
	for _, path := range named {
		if !exists(path) {
			t.Errorf("there is no %s", path)
		}
	}
}
