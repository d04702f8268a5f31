package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// CNI's error codes, of its specification; from 100 on they are the plugin's own.
const (
	codeIncompatible    = 1
	codeUnknown         = 3
	codeEnvironment     = 4
	codeDecoding        = 6
	codeConfiguration   = 7
	codeTryAgain        = 11
	codeNotReady        = 50
	codeAttach          = 100
	codeDetach          = 101
	codeCheck           = 102
	codeUnknownCommand  = codeEnvironment
	currentVersion      = "1.1.0"
	maximumRequestBytes = 1 << 20
)

// supportedVersions of CNI differ for us in commands, not in the result.
var supportedVersions = []string{"1.0.0", currentVersion}

// request is a CNI call as the stub hands it on.
type request struct {
	Command, ContainerID, NetNS, IfName, Args string
	Config                                    []byte
}

// pluginConfig is what we read of the plugin's configuration.
type pluginConfig struct {
	CNIVersion    string `json:"cniVersion"`
	RuntimeConfig struct {
		PortMappings []portMapping `json:"portMappings"`
	} `json:"runtimeConfig"`
	// ValidAttachments comes with GC and names all that the runtime knows.
	ValidAttachments []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	} `json:"cni.dev/valid-attachments"`
}

type cniError struct {
	CNIVersion string `json:"cniVersion,omitempty"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details,omitempty"`
}

func (e *cniError) Error() string { return e.Msg }

func fail(code int, err error) *cniError { return &cniError{Code: code, Msg: err.Error()} }

type (
	cniResult struct {
		CNIVersion string         `json:"cniVersion"`
		Interfaces []cniInterface `json:"interfaces"`
		IPs        []cniIP        `json:"ips"`
		Routes     []cniRoute     `json:"routes"`
		DNS        struct{}       `json:"dns"`
	}
	cniInterface struct {
		Name    string `json:"name"`
		Mac     string `json:"mac"`
		Sandbox string `json:"sandbox,omitempty"`
	}
	cniIP struct {
		Interface int    `json:"interface"`
		Address   string `json:"address"`
		Gateway   string `json:"gateway"`
	}
	cniRoute struct {
		Dst string `json:"dst"`
		GW  string `json:"gw"`
	}
	cniVersions struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}
)

// call carries out a CNI command. The answer is nil where CNI wants no output.
func (n *Network) call(ctx context.Context, r request) (any, *cniError) {
	if r.Command == "VERSION" {
		return cniVersions{currentVersion, supportedVersions}, nil
	}
	var config pluginConfig
	if err := json.Unmarshal(r.Config, &config); err != nil {
		return nil, fail(codeDecoding, fmt.Errorf("decoding the network configuration: %w", err))
	}
	answer, failure := n.dispatch(ctx, r, config)
	if failure != nil {
		failure.CNIVersion = config.CNIVersion
	}
	return answer, failure
}

func (n *Network) dispatch(ctx context.Context, r request, config pluginConfig) (any, *cniError) {
	if config.CNIVersion != "1.0.0" && config.CNIVersion != currentVersion {
		return nil, fail(codeIncompatible, fmt.Errorf("CNI version %q is not one of %v", config.CNIVersion, supportedVersions))
	}
	switch r.Command {
	case "ADD":
		return n.cniAdd(ctx, r, config)
	case "DEL":
		if failure := r.checkOwner(); failure != nil {
			return nil, failure
		}
		if err := n.detach(ctx, attachment{r.ContainerID, r.IfName}); err != nil {
			return nil, fail(codeDetach, err)
		}
		return nil, nil
	case "CHECK":
		return nil, n.cniCheck(r)
	case "STATUS":
		if _, err := n.host.LinkByName(n.config.Interface); err != nil {
			return nil, fail(codeNotReady, fmt.Errorf("finding device %s: %w", n.config.Interface, err))
		}
		return nil, nil
	case "GC":
		return nil, n.cniGC(ctx, config)
	}
	return nil, fail(codeUnknownCommand, fmt.Errorf("unknown CNI_COMMAND %q", r.Command))
}

func (n *Network) cniAdd(ctx context.Context, r request, config pluginConfig) (any, *cniError) {
	if failure := r.checkOwner(); failure != nil {
		return nil, failure
	}
	if r.NetNS == "" {
		return nil, fail(codeEnvironment, errors.New("CNI_NETNS is empty"))
	}
	ports := config.RuntimeConfig.PortMappings
	for _, p := range ports {
		if err := p.validate(); err != nil {
			return nil, fail(codeConfiguration, err)
		}
	}
	a, err := n.attach(ctx, allocation{
		ContainerID: r.ContainerID, IfName: r.IfName, NetNS: r.NetNS, Pod: podName(r.Args), Ports: ports,
	})
	switch {
	case errors.Is(err, errExhausted):
		return nil, fail(codeTryAgain, err)
	case err != nil:
		return nil, fail(codeAttach, err)
	}
	gateway := n.Gateway().String()
	return cniResult{
		CNIVersion: config.CNIVersion,
		Interfaces: []cniInterface{
			{Name: n.config.linkName(a.Address), Mac: hostEndMAC.String()},
			{Name: a.IfName, Mac: podMAC(a.Address).String(), Sandbox: a.NetNS},
		},
		IPs:    []cniIP{{Interface: 1, Address: a.Address.String() + "/32", Gateway: gateway}},
		Routes: []cniRoute{{Dst: "0.0.0.0/0", GW: gateway}},
	}, nil
}

func (n *Network) cniCheck(r request) *cniError {
	if failure := r.checkOwner(); failure != nil {
		return failure
	}
	a, ok := n.pool.lookup(attachment{r.ContainerID, r.IfName})
	if !ok {
		return fail(codeUnknown, fmt.Errorf("container %s has no interface %s", r.ContainerID, r.IfName))
	}
	if err := n.verify(a); err != nil {
		return fail(codeCheck, err)
	}
	return nil
}

func (n *Network) cniGC(ctx context.Context, config pluginConfig) *cniError {
	valid := map[attachment]bool{}
	for _, v := range config.ValidAttachments {
		valid[attachment{v.ContainerID, v.IfName}] = true
	}
	var errs []error
	for _, a := range n.pool.list() {
		if !valid[a.key()] {
			errs = append(errs, n.detach(ctx, a.key()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fail(codeDetach, err)
	}
	return nil
}

func (r request) checkOwner() *cniError {
	switch {
	case r.ContainerID == "":
		return fail(codeEnvironment, errors.New("CNI_CONTAINERID is empty"))
	case r.IfName == "" || len(r.IfName) > 15 || strings.ContainsAny(r.IfName, "/: \t"):
		return fail(codeEnvironment, fmt.Errorf("CNI_IFNAME %q is not a name for an interface", r.IfName))
	}
	return nil
}

func (p portMapping) validate() error {
	switch protocol := strings.ToLower(p.Protocol); {
	case protocol != "tcp" && protocol != "udp" && protocol != "sctp":
		return fmt.Errorf("port mapping has unknown protocol %q", p.Protocol)
	case p.HostPort < 1 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535:
		return fmt.Errorf("port mapping %d to %d is out of range", p.HostPort, p.ContainerPort)
	}
	return nil
}

// podName finds namespace/name in CNI_ARGS, for logs and messages.
func podName(args string) string {
	var namespace, name string
	for pair := range strings.SplitSeq(args, ";") {
		switch k, v, _ := strings.Cut(pair, "="); k {
		case "K8S_POD_NAMESPACE":
			namespace = v
		case "K8S_POD_NAME":
			name = v
		}
	}
	if name == "" {
		return ""
	}
	return namespace + "/" + name
}
