package network

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ConfList is the network configuration that the container runtime reads.
type ConfList struct {
	// Name of the network; a result that the runtime caches is filed under it.
	Name string
	// PluginType is the file name of the CNI stub in the runtime's bin_dir.
	PluginType string
	// Socket is where Serve listens.
	Socket string
}

// WriteConfList writes 10-coracle.conflist into the runtime's conf_dir, which it
// makes if missing. A file that is right already is not touched, so that the
// runtime does not load it again. CNI 1.0.0 is asked for, since 1.1.0 makes the
// runtime start the stub for each status query.
func WriteConfList(dir string, l ConfList) error {
	data, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       l.Name,
		"plugins": []any{map[string]any{
			"type":         l.PluginType,
			"socket":       l.Socket,
			"capabilities": map[string]bool{"portMappings": true},
		}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the network configuration: %w", err)
	}
	path := filepath.Join(dir, "10-coracle.conflist")
	if had, err := os.ReadFile(path); err == nil && string(had) == string(data)+"\n" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of network configurations: %w", err)
	}
	// The runtime watches the folder for names that end in .conflist.
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the network configuration: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing the network configuration: %w", err)
	}
	return nil
}
