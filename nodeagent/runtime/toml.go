package runtime

import (
	"bytes"
	"fmt"
	"text/template"

	"coracle.dev/coracle/nodeagent/runtime/sandbox"
)

const (
	sandboxPlugin = "io.containerd.sandbox.controller.v1." + sandbox.ID
	// pauseImage is what the stock handler runs: the holder, in an image.
	pauseImage = "coracle.dev/pause:1"
)

// configTemplate is containerd's configuration. What is not said is upstream's
// default, among them the sysctls that let a pod bind low ports and ping.
var configTemplate = template.Must(template.New("containerd").Parse(`# Made by coracle at each start; changes are overwritten.
version = 3
root = '{{.Root}}'
state = '{{.State}}'
oom_score = {{.OOMScore}}
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.grpc.v1.healthcheck-tcp']
required_plugins = ['io.containerd.grpc.v1.cri', '{{.SandboxPlugin}}']

[grpc]
  address = '{{.Socket}}'

[ttrpc]
  address = '{{.Socket}}.ttrpc'

[debug]
  level = '{{.LogLevel}}'

[plugins.'io.containerd.metadata.v1.bolt']
  no_sync = {{.NoSync}}

[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '{{.SocketDir}}'

[plugins.'{{.SandboxPlugin}}']
  holder = '{{.Holder}}'
  shim = '{{.Shim}}'
  socket_dir = '{{.SocketDir}}'
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

[plugins.'io.containerd.grpc.v1.cri']
  disable_tcp_service = true
  stream_server_address = '127.0.0.1'
  stream_server_port = '0'

[plugins.'io.containerd.cri.v1.images']
  snapshotter = '{{.Snapshotter}}'
  discard_unpacked_layers = true
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '{{.PauseImage}}'
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = '{{.Registries}}'

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {{.RestrictOOM}}
  netns_mounts_under_state_dir = true
  device_ownership_from_security_context = true
  max_container_log_line_size = {{.LogLineSize}}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  stats_collect_period = '10s'
  ignore_deprecation_warnings = ['io.containerd.deprecation/cgroup-v1']
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['{{.Helpers}}']
    conf_dir = '{{.CNI}}'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = '{{.DefaultHandler}}'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'{{.DefaultHandler}}']
    runtime_type = 'io.containerd.runc.v2'
    sandboxer = '{{.Sandboxer}}'
    disable_pause_image_pull = true
    pod_annotations = ['coracle.dev/*']
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'{{.DefaultHandler}}'.options]
      BinaryName = '{{.Runc}}'
      Root = '{{.RuncRoot}}'
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'{{.StockHandler}}']
    runtime_type = 'io.containerd.runc.v2'
    sandboxer = 'podsandbox'
    pod_annotations = ['coracle.dev/*']
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'{{.StockHandler}}'.options]
      BinaryName = '{{.Runc}}'
      Root = '{{.RuncRoot}}'
      SystemdCgroup = false
`))

// renderConfig is containerd's configuration for c on a host like h.
func renderConfig(c Config, h host) ([]byte, error) {
	// Far below the score of any container, so that containers go first when
	// memory runs out. Lowering a score takes a capability.
	score := 0
	if h.sysResource {
		score = -999
	}
	var b bytes.Buffer
	err := configTemplate.Execute(&b, map[string]any{
		"Root": c.persistentDir(), "State": c.stateDir(), "Socket": c.socket(), "LogLevel": c.LogLevel,
		"OOMScore": score, "RestrictOOM": !h.sysResource, "NoSync": c.AsyncMetadata,
		"SandboxPlugin": sandboxPlugin, "Sandboxer": sandbox.ID, "SocketDir": c.socketDir(),
		"Holder": c.helper(holderName), "Shim": c.helper(shimName), "Runc": c.helper(runcName),
		"RuncRoot": c.runcDir(), "Helpers": c.helperDir(), "CNI": c.CNIConfDir, "Registries": c.RegistryConfigDir,
		"Snapshotter": h.snapshotter, "PauseImage": pauseImage, "LogLineSize": c.MaxLogLineSize,
		"DefaultHandler": DefaultHandler, "StockHandler": StockHandler,
	})
	if err != nil {
		return nil, fmt.Errorf("writing containerd's configuration: %w", err)
	}
	return b.Bytes(), nil
}
