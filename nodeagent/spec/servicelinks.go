package spec

import (
	"net"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The service that every pod learns of, wherever it lives and whatever its
// enableServiceLinks says.
const (
	apiServiceNamespace = "default"
	apiServiceName      = "kubernetes"
)

// EnvVar is a variable with its final value.
type EnvVar struct{ Name, Value string }

// ServiceEnv lists the docker-link style variables for the services that a
// pod of this namespace sees, in a stable order. Services without a cluster
// address contribute nothing.
func ServiceEnv(services []*corev1.Service, namespace string, enableServiceLinks bool) []EnvVar {
	visible := map[string]*corev1.Service{}
	for _, s := range services {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		switch {
		case s.Namespace == namespace && enableServiceLinks:
			visible[s.Name] = s
		case s.Namespace == apiServiceNamespace && s.Name == apiServiceName:
			if _, taken := visible[s.Name]; !taken {
				visible[s.Name] = s
			}
		}
	}
	names := make([]string, 0, len(visible))
	for name := range visible {
		names = append(names, name)
	}
	sort.Strings(names)
	var out []EnvVar
	for _, name := range names {
		out = append(out, serviceVars(visible[name])...)
	}
	return out
}

func serviceVars(s *corev1.Service) []EnvVar {
	prefix := envName(s.Name)
	ports := s.Spec.Ports
	out := []EnvVar{
		{prefix + "_SERVICE_HOST", s.Spec.ClusterIP},
		{prefix + "_SERVICE_PORT", strconv.Itoa(int(ports[0].Port))},
	}
	for _, p := range ports {
		if p.Name != "" {
			out = append(out, EnvVar{prefix + "_SERVICE_PORT_" + envName(p.Name), strconv.Itoa(int(p.Port))})
		}
	}
	for i, p := range ports {
		protocol := string(corev1.ProtocolTCP)
		if p.Protocol != "" {
			protocol = string(p.Protocol)
		}
		port := strconv.Itoa(int(p.Port))
		link := strings.ToLower(protocol) + "://" + net.JoinHostPort(s.Spec.ClusterIP, port)
		if i == 0 {
			out = append(out, EnvVar{prefix + "_PORT", link})
		}
		portPrefix := prefix + "_PORT_" + port + "_" + strings.ToUpper(protocol)
		out = append(out,
			EnvVar{portPrefix, link},
			EnvVar{portPrefix + "_PROTO", strings.ToLower(protocol)},
			EnvVar{portPrefix + "_PORT", port},
			EnvVar{portPrefix + "_ADDR", s.Spec.ClusterIP})
	}
	return out
}

func envName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
