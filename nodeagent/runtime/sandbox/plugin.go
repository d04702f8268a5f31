package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"golang.org/x/sys/unix"
)

const (
	// ID of the plugin, which is also the name of the sandboxer in the CRI
	// plugin's configuration.
	ID = "coracle"
	// criDirectory is the directory of the CRI plugin, beside ours.
	criDirectory = "io.containerd.grpc.v1.cri/sandboxes"
	// Namespace is where the CRI plugin keeps all that it has.
	Namespace = "k8s.io"
)

// Config is the plugin's section in containerd's configuration.
type Config struct {
	// Holder and Shim are the paths of the two programs.
	Holder string `toml:"holder"`
	Shim   string `toml:"shim"`
	// SocketDir is where shims listen. Short, since a socket's path is limited.
	SocketDir string `toml:"socket_dir"`
	// UnprivilegedPorts and UnprivilegedICMP let a pod's processes bind any port
	// and send pings without capabilities, as the CRI plugin's options of the
	// same names do for its own sandboxes.
	UnprivilegedPorts bool `toml:"enable_unprivileged_ports"`
	UnprivilegedICMP  bool `toml:"enable_unprivileged_icmp"`
}

func init() {
	registry.Register(&plugin.Registration{
		Type:     plugins.SandboxControllerPlugin,
		ID:       ID,
		Requires: []plugin.Type{plugins.SandboxStorePlugin},
		Config:   &Config{},
		InitFn:   initialise,
	})
}

func initialise(ic *plugin.InitContext) (any, error) {
	config := ic.Config.(*Config)
	if config.Holder == "" || config.Shim == "" || config.SocketDir == "" {
		return nil, fmt.Errorf("holder, shim and socket_dir must be set: %w", plugin.ErrSkipPlugin)
	}
	c := &Controller{
		config:       *config,
		root:         ic.Properties[plugins.PropertyRootDir],
		state:        ic.Properties[plugins.PropertyStateDir],
		grpcAddress:  ic.Properties[plugins.PropertyGRPCAddress],
		ttrpcAddress: ic.Properties[plugins.PropertyTTRPCAddress],
		sandboxes:    map[string]*instance{},
	}
	c.criRoot = filepath.Join(filepath.Dir(c.root), criDirectory)
	c.criState = filepath.Join(filepath.Dir(c.state), criDirectory)
	for _, dir := range []string{c.root, c.state, c.criRoot, c.criState, config.SocketDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the directories of sandboxes: %w", err)
		}
	}
	store, err := ic.GetSingle(plugins.SandboxStorePlugin)
	if err != nil {
		return nil, err
	}
	if err := c.adopt(ic.Context, store.(sandbox.Store)); err != nil {
		return nil, fmt.Errorf("taking up running sandboxes: %w", err)
	}
	return c, nil
}

// adopt takes up the sandboxes that an earlier containerd made, and removes what
// is left of those that are in no record any more.
func (c *Controller) adopt(ctx context.Context, store sandbox.Store) error {
	known, err := store.List(namespaces.WithNamespace(ctx, Namespace))
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, s := range known {
		live[s.ID] = true
	}
	if err := c.sweepNetworkNamespaces(known); err != nil {
		log.G(ctx).WithError(err).Warn("removing network namespaces that belong to no sandbox")
	}
	found := map[string]bool{}
	for _, dir := range []string{c.root, c.state} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			found[e.Name()] = true
		}
	}
	for id := range found {
		s, err := c.load(id)
		switch {
		case err == nil && live[id]:
			c.sandboxes[id] = s
			continue
		case err != nil && !errors.Is(err, os.ErrNotExist):
			log.G(ctx).WithError(err).WithField("sandbox", id).Warn("reading a sandbox's record")
		}
		if s == nil {
			s = &instance{id: id, socket: filepath.Join(c.config.SocketDir, id)}
		}
		if err := c.destroy(ctx, s); err != nil {
			log.G(ctx).WithError(err).WithField("sandbox", id).Warn("removing what is left of a sandbox")
		}
	}
	return nil
}

// sweepNetworkNamespaces removes those that the CRI plugin had made and not yet
// written down when it was killed.
func (c *Controller) sweepNetworkNamespaces(known []sandbox.Sandbox) error {
	dir := filepath.Join(filepath.Dir(c.criState), "netns")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if mentioned(known, path) {
			continue
		}
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", path, err))
			continue
		}
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// mentioned tells whether a path is in what the CRI plugin has stored of any
// sandbox, the form of which is its own.
func mentioned(known []sandbox.Sandbox, path string) bool {
	for _, s := range known {
		for _, extension := range s.Extensions {
			if bytes.Contains(extension.GetValue(), []byte(path)) {
				return true
			}
		}
	}
	return false
}
