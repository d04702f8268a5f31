package apiserver

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Validate returns everything that is wrong with the options.
func (o *Options) Validate() []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.SecurePort < 0 || o.SecurePort > 65535 {
		fail("--secure-port %d is not a port: use 1 to 65535, or 0 for a free one", o.SecurePort)
	}
	if (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == "") {
		fail("--tls-cert-file and --tls-private-key-file go together: give both or neither")
	}
	if (o.ProxyClientCertFile == "") != (o.ProxyClientKeyFile == "") {
		fail("--proxy-client-cert-file and --proxy-client-key-file go together: give both or neither")
	}
	if _, err := netip.ParsePrefix(o.ServiceClusterIPRange); err != nil {
		fail("--service-cluster-ip-range %q is not a CIDR: %v", o.ServiceClusterIPRange, err)
	}
	if r, err := utilnet.ParsePortRange(o.ServiceNodePortRange); err != nil || r.Size < 1 {
		fail("--service-node-port-range %q is not a range such as 30000-32767", o.ServiceNodePortRange)
	}
	if o.MaxRequestsInFlight < 0 || o.MaxMutatingRequestsInFlight < 0 {
		fail("--max-requests-inflight and --max-mutating-requests-inflight must not be negative")
	}
	if o.MinRequestTimeout < 0 {
		fail("--min-request-timeout must not be negative")
	}
	if o.RequestTimeout <= 0 {
		fail("--request-timeout must be more than 0")
	}
	if o.EventTTL < time.Second {
		fail("--event-ttl %s is too short: use a second or more", o.EventTTL)
	}
	errs = append(errs, o.Operation.validate()...)
	errs = append(errs, o.Authentication.validate()...)
	errs = append(errs, o.validateAuthorization()...)
	return append(errs, o.Etcd.validate()...)
}

func (o *EtcdOptions) validate() []error {
	var errs []error
	if len(o.Servers) == 0 && o.DataDir == "" {
		errs = append(errs, errors.New("--etcd-data-dir is empty: name a directory, or an external etcd by --etcd-servers"))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		errs = append(errs, errors.New("--etcd-certfile and --etcd-keyfile go together: give both or neither"))
	}
	return errs
}
