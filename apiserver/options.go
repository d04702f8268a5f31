package apiserver

import (
	"net"
	"time"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
)

// Options are the settings of an API server, as flags give them. NewOptions sets the defaults.
type Options struct {
	// BindAddress and SecurePort are where TLS is served; port 0 takes a free one.
	BindAddress net.IP
	SecurePort  int
	// AdvertiseAddress is how the members of the cluster reach this server; unset means BindAddress,
	// or the address of the default route where that is no particular one.
	AdvertiseAddress net.IP
	ExternalHostname string

	// TLSCertFile and TLSPrivateKeyFile are the serving certificate. Without them the server makes a
	// self-signed one for this run.
	TLSCertFile, TLSPrivateKeyFile string

	Authentication AuthenticationOptions
	// AuthorizationModes are asked in turn: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny.
	AuthorizationModes []string
	Authorization      AuthorizationOptions

	// ServiceClusterIPRange and ServiceNodePortRange are what services get addresses and ports of.
	ServiceClusterIPRange, ServiceNodePortRange string

	Etcd    EtcdOptions
	Kubelet KubeletOptions

	// ProxyClientCertFile and ProxyClientKeyFile identify this server to aggregated API servers.
	ProxyClientCertFile, ProxyClientKeyFile string

	EnableAdmissionPlugins, DisableAdmissionPlugins []string
	FeatureGates                                    map[string]bool

	MaxRequestsInFlight, MaxMutatingRequestsInFlight int
	RequestTimeout                                   time.Duration
	MinRequestTimeout                                int
	EventTTL                                         time.Duration
	// ShutdownDelay is how long the server goes on serving, not ready, after it is told to end.
	ShutdownDelay time.Duration
	Profiling     bool
	Operation     OperationOptions
}

// EtcdOptions say where the data is.
type EtcdOptions struct {
	// Servers are an external cluster; without any, a server is embedded with its data in DataDir.
	Servers                   []string
	CAFile, CertFile, KeyFile string
	Prefix                    string
	CompactionInterval        time.Duration
	DataDir                   string
	QuotaBytes                int64
	// UnsafeNoFsync loses acknowledged writes when the machine fails. For tests.
	UnsafeNoFsync bool
	WatchCache    bool
}

// KubeletOptions say how node agents are reached for logs, exec and the like.
type KubeletOptions struct {
	ClientCertFile, ClientKeyFile, CAFile string
	PreferredAddressTypes                 []string
}

// NewOptions returns the defaults, which are those of kube-apiserver unless the flag says otherwise.
func NewOptions() *Options {
	return &Options{
		BindAddress:           net.IPv4zero,
		SecurePort:            6443,
		Authentication:        newAuthenticationOptions(),
		AuthorizationModes:    []string{"Node", "RBAC"},
		Authorization:         newAuthorizationOptions(),
		ServiceClusterIPRange: "10.96.0.0/16",
		ServiceNodePortRange:  "30000-32767",
		Etcd:                  EtcdOptions{DataDir: "/var/lib/coracle/etcd", Prefix: "/registry", CompactionInterval: 5 * time.Minute, WatchCache: true},
		Kubelet:               KubeletOptions{PreferredAddressTypes: []string{"InternalIP", "Hostname", "ExternalIP"}},
		MaxRequestsInFlight:   400, MaxMutatingRequestsInFlight: 200,
		RequestTimeout: time.Minute, MinRequestTimeout: 1800,
		EventTTL:  time.Hour,
		Profiling: true,
		Operation: newOperationOptions(),
	}
}

// AddFlags binds the options to flags.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.IPVar(&o.BindAddress, "bind-address", o.BindAddress, "Address on which TLS is served.")
	fs.IntVar(&o.SecurePort, "secure-port", o.SecurePort, "Port on which TLS is served; 0 takes a free one.")
	fs.IPVar(&o.AdvertiseAddress, "advertise-address", o.AdvertiseAddress, "Address by which the members of the cluster reach this server.")
	fs.StringVar(&o.ExternalHostname, "external-hostname", o.ExternalHostname, "Name to use in URLs that point to this server.")
	fs.StringVar(&o.TLSCertFile, "tls-cert-file", o.TLSCertFile, "Serving certificate, with its intermediates.")
	fs.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", o.TLSPrivateKeyFile, "Private key of the serving certificate.")
	fs.StringSliceVar(&o.AuthorizationModes, "authorization-mode", o.AuthorizationModes, "Ordered list of authorizers: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny.")
	fs.StringVar(&o.ServiceClusterIPRange, "service-cluster-ip-range", o.ServiceClusterIPRange, "CIDR from which services get their addresses.")
	fs.StringVar(&o.ServiceNodePortRange, "service-node-port-range", o.ServiceNodePortRange, "Range of ports for services of type NodePort.")
	fs.StringVar(&o.ProxyClientCertFile, "proxy-client-cert-file", o.ProxyClientCertFile, "Certificate that proves this server's identity to aggregated API servers.")
	fs.StringVar(&o.ProxyClientKeyFile, "proxy-client-key-file", o.ProxyClientKeyFile, "Private key of --proxy-client-cert-file.")
	fs.StringSliceVar(&o.EnableAdmissionPlugins, "enable-admission-plugins", o.EnableAdmissionPlugins, "Admission plugins to run besides the default ones.")
	fs.StringSliceVar(&o.DisableAdmissionPlugins, "disable-admission-plugins", o.DisableAdmissionPlugins, "Default admission plugins not to run.")
	fs.Var(cliflag.NewMapStringBool(&o.FeatureGates), "feature-gates", "Pairs of feature=true|false for alpha and beta features.")
	fs.IntVar(&o.MaxRequestsInFlight, "max-requests-inflight", o.MaxRequestsInFlight, "Reads that are served at a time.")
	fs.IntVar(&o.MaxMutatingRequestsInFlight, "max-mutating-requests-inflight", o.MaxMutatingRequestsInFlight, "Writes that are served at a time.")
	fs.DurationVar(&o.RequestTimeout, "request-timeout", o.RequestTimeout, "Longest time of a request that is not long-running.")
	fs.IntVar(&o.MinRequestTimeout, "min-request-timeout", o.MinRequestTimeout, "Shortest time, in seconds, after which a watch is ended.")
	fs.DurationVar(&o.EventTTL, "event-ttl", o.EventTTL, "How long events are kept.")
	fs.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", o.ShutdownDelay, "How long to go on serving, not ready, after the order to end.")
	fs.BoolVar(&o.Profiling, "profiling", o.Profiling, "Serve /debug/pprof.")
	o.Authentication.addFlags(fs)
	o.Authorization.addFlags(fs)
	o.Operation.addFlags(fs)
	o.Etcd.addFlags(fs)
	o.Kubelet.addFlags(fs)
}

func (o *EtcdOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.Servers, "etcd-servers", o.Servers, "URLs of an external etcd cluster; without any, a server is embedded.")
	fs.StringVar(&o.CAFile, "etcd-cafile", o.CAFile, "Authority of the etcd servers.")
	fs.StringVar(&o.CertFile, "etcd-certfile", o.CertFile, "Client certificate for etcd.")
	fs.StringVar(&o.KeyFile, "etcd-keyfile", o.KeyFile, "Private key of --etcd-certfile.")
	fs.StringVar(&o.Prefix, "etcd-prefix", o.Prefix, "Prefix of all keys in etcd.")
	fs.DurationVar(&o.CompactionInterval, "etcd-compaction-interval", o.CompactionInterval, "How long old revisions are kept.")
	fs.StringVar(&o.DataDir, "etcd-data-dir", o.DataDir, "Directory of the embedded etcd.")
	fs.Int64Var(&o.QuotaBytes, "etcd-quota-backend-bytes", o.QuotaBytes, "Size limit of the embedded etcd; 0 means 4 GiB.")
	fs.BoolVar(&o.UnsafeNoFsync, "etcd-unsafe-no-fsync", o.UnsafeNoFsync, "Do not wait for the disk: loses acknowledged writes when the machine fails. For tests.")
	fs.BoolVar(&o.WatchCache, "watch-cache", o.WatchCache, "Serve reads and watches from memory.")
}

func (o *KubeletOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.ClientCertFile, "kubelet-client-certificate", o.ClientCertFile, "Client certificate for node agents.")
	fs.StringVar(&o.ClientKeyFile, "kubelet-client-key", o.ClientKeyFile, "Private key of --kubelet-client-certificate.")
	fs.StringVar(&o.CAFile, "kubelet-certificate-authority", o.CAFile, "Authority of the node agents' serving certificates.")
	fs.StringSliceVar(&o.PreferredAddressTypes, "kubelet-preferred-address-types", o.PreferredAddressTypes, "Kinds of node addresses to try, in order.")
}
