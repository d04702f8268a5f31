package runtime

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const (
	// StockHandler is the runtime handler of pods that the sandbox controller does
	// not support.
	StockHandler = "stock"
	// DefaultHandler is the name of the default runtime handler; a pod need not
	// name it.
	DefaultHandler = "coracle"
	// CNIPlugin is the name of the CNI stub, for the type in a network configuration.
	CNIPlugin = "coracle-cni"

	defaultLogLineSize = 16 << 10
	// Limits that a socket's path puts on ours: 107 bytes, where the name of a
	// shim's socket takes 64.
	maximumSocketDir = 42
	maximumRunDir    = 107 - len("/containerd.sock.ttrpc")
)

// Config says where a runtime lives. RootDir and RunDir must be set.
type Config struct {
	// RootDir holds what lasts: images, snapshots, records, the unpacked helpers.
	// It must not be mounted noexec.
	RootDir string
	// RunDir holds sockets, and what is of no use after a reboot. Its path is
	// limited to 85 bytes.
	RunDir string
	// CNIConfDir is where the network configuration is; by default RootDir/cni.
	CNIConfDir string
	// RegistryConfigDir has per registry a directory with a hosts.toml; by default
	// RootDir/registries.
	RegistryConfigDir string
	// Snapshotter is "overlayfs" or "native"; empty takes overlayfs where the
	// kernel and the file system of RootDir can do it.
	Snapshotter string
	// LogLevel of containerd; "warn" if empty.
	LogLevel string
	// MaxLogLineSize is where a container's log lines are split, in bytes; 16 KiB
	// if zero.
	MaxLogLineSize int
	// AsyncMetadata makes containerd not wait for its records to reach the disk.
	// A crash of the machine can then lose the newest, or all of them.
	AsyncMetadata bool
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	for name, dir := range map[string]*string{"RootDir": &c.RootDir, "RunDir": &c.RunDir} {
		if !filepath.IsAbs(*dir) {
			errs = append(errs, fmt.Errorf("%s %q must be an absolute path", name, *dir))
		}
		*dir = filepath.Clean(*dir)
		if strings.ContainsAny(*dir, "'\"\\\n") {
			errs = append(errs, fmt.Errorf("%s %q must not have quotes, backslashes or line breaks", name, *dir))
		}
	}
	if len(c.RunDir) > maximumRunDir {
		errs = append(errs, fmt.Errorf("RunDir %q is too long for a socket's path: at most %d bytes", c.RunDir, maximumRunDir))
	}
	if c.CNIConfDir == "" {
		c.CNIConfDir = filepath.Join(c.RootDir, "cni")
	}
	if c.RegistryConfigDir == "" {
		c.RegistryConfigDir = filepath.Join(c.RootDir, "registries")
	}
	if c.LogLevel == "" {
		c.LogLevel = "warn"
	}
	if c.MaxLogLineSize == 0 {
		c.MaxLogLineSize = defaultLogLineSize
	}
	switch c.Snapshotter {
	case "", "overlayfs", "native":
	default:
		errs = append(errs, fmt.Errorf("snapshotter %q is not one of overlayfs and native", c.Snapshotter))
	}
	return c, errors.Join(errs...)
}

func (c Config) socket() string          { return filepath.Join(c.RunDir, "containerd.sock") }
func (c Config) recordFile() string      { return filepath.Join(c.RunDir, "containerd.json") }
func (c Config) lockFile() string        { return filepath.Join(c.RunDir, "containerd.lock") }
func (c Config) stateDir() string        { return filepath.Join(c.RunDir, "containerd") }
func (c Config) runcDir() string         { return filepath.Join(c.RunDir, "runc") }
func (c Config) persistentDir() string   { return filepath.Join(c.RootDir, "containerd") }
func (c Config) helperDir() string       { return filepath.Join(c.RootDir, "helpers") }
func (c Config) helper(n string) string  { return filepath.Join(c.helperDir(), n) }
func (c Config) configFile() string      { return filepath.Join(c.RootDir, "containerd.toml") }
func (c Config) logFile() string         { return filepath.Join(c.RootDir, "containerd.log") }
func (c Config) sandboxRootDir() string  { return filepath.Join(c.persistentDir(), sandboxPlugin) }
func (c Config) sandboxStateDir() string { return filepath.Join(c.stateDir(), sandboxPlugin) }

// socketDir is where shims listen. If RunDir's path is too long for that, it is a
// short one beside, made from a hash of RunDir.
func (c Config) socketDir() string {
	if dir := filepath.Join(c.RunDir, "s"); len(dir) <= maximumSocketDir {
		return dir
	}
	return "/run/coracle-shims-" + hash([]byte(c.RunDir))[:12]
}
