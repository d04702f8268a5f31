package pod

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// checkProbes checks the probes and hooks of a container that goes on running.
func (c *checker) checkProbes(path *field.Path, ctr *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if l := ctr.Lifecycle; l != nil {
		for _, h := range []struct {
			name    string
			handler *corev1.LifecycleHandler
		}{{"postStart", l.PostStart}, {"preStop", l.PreStop}} {
			if h.handler != nil {
				errs = append(errs, c.checkHandler(path.Child("lifecycle", h.name), handler{
					exec: h.handler.Exec, http: h.handler.HTTPGet, tcp: h.handler.TCPSocket, sleep: h.handler.Sleep,
				})...)
			}
		}
		if l.StopSignal != nil && c.spec.OS == nil {
			errs = append(errs, field.Forbidden(path.Child("lifecycle", "stopSignal"), "may not be set for containers with empty `spec.os.name`"))
		}
	}
	errs = append(errs, c.checkProbe(path.Child("livenessProbe"), ctr.LivenessProbe, true)...)
	errs = append(errs, c.checkProbe(path.Child("readinessProbe"), ctr.ReadinessProbe, false)...)
	if p := ctr.ReadinessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		errs = append(errs, field.Invalid(path.Child("readinessProbe", "terminationGracePeriodSeconds"), p.TerminationGracePeriodSeconds,
			"must not be set for readinessProbes"))
	}
	return append(errs, c.checkProbe(path.Child("startupProbe"), ctr.StartupProbe, true)...)
}

// checkProbe: a probe whose failure restarts the container succeeds at once or not at all.
func (c *checker) checkProbe(path *field.Path, p *corev1.Probe, once bool) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := c.checkHandler(path, handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC})
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		errs = append(errs, resource.NotNegative(path.Child(n.name), n.value)...)
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0"))
	}
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	return errs
}

// handler is a probe's or a hook's action, of which there must be exactly one.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func (c *checker) checkHandler(path *field.Path, h handler) field.ErrorList {
	var errs field.ErrorList
	found := 0
	action := func(name string, set bool, check func(*field.Path) field.ErrorList) {
		if !set {
			return
		}
		if found++; found > 1 {
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 handler type"))
			return
		}
		errs = append(errs, check(path.Child(name))...)
	}
	action("exec", h.exec != nil, func(at *field.Path) field.ErrorList {
		if len(h.exec.Command) == 0 {
			return field.ErrorList{field.Required(at.Child("command"), "")}
		}
		return nil
	})
	action("httpGet", h.http != nil, func(at *field.Path) field.ErrorList { return checkHTTPGet(at, h.http) })
	action("tcpSocket", h.tcp != nil, func(at *field.Path) field.ErrorList { return CheckPort(at.Child("port"), h.tcp.Port) })
	action("grpc", h.grpc != nil, func(at *field.Path) field.ErrorList { return resource.PortNumber(at.Child("port"), h.grpc.Port) })
	action("sleep", h.sleep != nil, func(at *field.Path) field.ErrorList {
		period := resource.Deref(c.spec.TerminationGracePeriodSeconds)
		if h.sleep.Seconds < 0 || h.sleep.Seconds > period {
			return field.ErrorList{field.Invalid(at, h.sleep.Seconds,
				fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d). ", period))}
		}
		return nil
	})
	if found == 0 {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func checkHTTPGet(path *field.Path, h *corev1.HTTPGetAction) field.ErrorList {
	errs := resource.NotEmpty(path.Child("path"), h.Path)
	errs = append(errs, CheckPort(path.Child("port"), h.Port)...)
	errs = append(errs, resource.Supported(path.Child("scheme"), h.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for _, header := range h.HTTPHeaders {
		errs = append(errs, resource.Messages(path.Child("httpHeaders"), header.Name, utilvalidation.IsHTTPHeaderName(header.Name))...)
	}
	return errs
}

// CheckPort checks a port that is given by number or by name.
func CheckPort(path *field.Path, port intstr.IntOrString) field.ErrorList {
	if port.Type == intstr.String {
		return resource.Messages(path, port.StrVal, utilvalidation.IsValidPortName(port.StrVal))
	}
	return resource.PortNumber(path, port.IntVal)
}
