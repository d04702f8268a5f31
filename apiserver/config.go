package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/common"
	utilsnet "k8s.io/utils/net"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apiserver/auth/nodeauthz"
	"coracle.dev/coracle/apiserver/auth/rbac"
	"coracle.dev/coracle/apiserver/componentstatus"
	"coracle.dev/coracle/apiserver/transport"
)

// loopback is the user as which the server calls itself.
var loopback = &user.DefaultInfo{
	Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated},
}

// Config is what the options refer to, read and checked, and the parts that exist before there is
// storage. Its fields may be changed until Complete.
type Config struct {
	options *Options
	up      chan struct{} // closed when the server serves

	Scheme *runtime.Scheme
	Codecs serializer.CodecFactory

	// Advertise is the address by which members of the cluster reach this server; ServiceIP is that
	// of the service default/kubernetes.
	Advertise, ServiceIP net.IP
	ServiceRange         net.IPNet
	NodePorts            utilnet.PortRange

	ServingCert dynamiccertificates.CertKeyContentProvider
	// ClientCA and RequestHeaderCA are nil if nobody is trusted by them.
	ClientCA, RequestHeaderCA dynamiccertificates.CAContentProvider

	// Transport and what is made of it work once the server runs.
	Transport *transport.Server
	Loopback  *rest.Config
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory

	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	RuleResolver  authorizer.RuleResolver
	Admission     admission.Interface
	// RequestHeader is nil where no front proxy is trusted; Roles is nil where everything is allowed.
	RequestHeader *authenticatorfactory.RequestHeaderConfig
	Roles         *rbac.Resolver
	// bootstrapRoles makes the roles that every cluster with RBAC has.
	bootstrapRoles bool
	// Nodes is nil unless the authorization mode Node is on.
	Nodes  *nodeauthz.Graph
	Tokens Tokens
	// follow are what keeps up with configuration files while the server runs.
	follow []func(context.Context)

	// ComponentChecks, if set, names components besides etcd that kubectl get componentstatuses shows.
	ComponentChecks func() map[string]componentstatus.Check

	// OpenAPIDefinitions, if set, are what the OpenAPI documents of the built-in resources are built
	// of; otherwise the prebuilt ones are served. For the generator of those.
	OpenAPIDefinitions common.GetOpenAPIDefinitions
}

// CompletedConfig is a Config that New can use.
type CompletedConfig struct{ *Config }

// Config reads the files that the options name.
func (o *Options) Config(ctx context.Context) (*Config, error) {
	if err := errors.Join(o.Validate()...); err != nil {
		return nil, err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(o.FeatureGates); err != nil {
		return nil, fmt.Errorf("setting feature gates: %w", err)
	}
	c := &Config{options: o, up: make(chan struct{}), Scheme: catalog.NewScheme(), Transport: &transport.Server{}}
	c.Codecs = serializer.NewCodecFactory(c.Scheme)
	if err := errors.Join(c.readAddresses(), c.readCertificates()); err != nil {
		return nil, err
	}
	c.Loopback = c.Transport.ClientConfig(loopback)
	client, err := kubernetes.NewForConfig(c.Loopback)
	if err != nil {
		return nil, fmt.Errorf("making in-process client: %w", err)
	}
	c.Client = client
	c.Informers = informers.NewSharedInformerFactory(client, 10*time.Minute)
	return c, c.secure(ctx)
}

// Complete fills in what was left open.
func (c *Config) Complete() CompletedConfig {
	if c.Authenticator == nil {
		c.Authenticator = authenticator.RequestFunc(inProcess)
	}
	return CompletedConfig{c}
}

func (c *Config) readAddresses() error {
	o := c.options
	_, cidr, err := net.ParseCIDR(o.ServiceClusterIPRange)
	if err != nil {
		return fmt.Errorf("reading --service-cluster-ip-range: %w", err)
	}
	c.ServiceRange = *cidr
	if c.ServiceIP, err = utilsnet.GetIndexedIP(cidr, 1); err != nil {
		return fmt.Errorf("taking the first address of %s: %w", cidr, err)
	}
	ports, err := utilnet.ParsePortRange(o.ServiceNodePortRange)
	if err != nil {
		return fmt.Errorf("reading --service-node-port-range: %w", err)
	}
	c.NodePorts = *ports
	c.Advertise = o.AdvertiseAddress
	if len(c.Advertise) == 0 || c.Advertise.IsUnspecified() {
		// A machine without a default route serves itself alone.
		if c.Advertise, err = utilnet.ResolveBindAddress(o.BindAddress); err != nil {
			c.Advertise = net.IPv4(127, 0, 0, 1)
		}
	}
	return nil
}

func (c *Config) readCertificates() error {
	o := c.options
	var err error
	if o.TLSCertFile != "" {
		c.ServingCert, err = dynamiccertificates.NewDynamicServingContentFromFiles("serving-cert", o.TLSCertFile, o.TLSPrivateKeyFile)
	} else {
		c.ServingCert, err = selfSigned(c.Advertise, c.ServiceIP, o.BindAddress)
	}
	if err != nil {
		return fmt.Errorf("reading serving certificate: %w", err)
	}
	if o.Authentication.ClientCAFile != "" {
		c.ClientCA, err = dynamiccertificates.NewDynamicCAContentFromFile("client-ca", o.Authentication.ClientCAFile)
		if err != nil {
			return fmt.Errorf("reading --client-ca-file: %w", err)
		}
	}
	if o.Authentication.RequestHeaderClientCAFile != "" {
		c.RequestHeaderCA, err = dynamiccertificates.NewDynamicCAContentFromFile("request-header", o.Authentication.RequestHeaderClientCAFile)
		if err != nil {
			return fmt.Errorf("reading --requestheader-client-ca-file: %w", err)
		}
	}
	return nil
}

// selfSigned makes a serving certificate that clients can only trust by knowing it.
func selfSigned(ips ...net.IP) (dynamiccertificates.CertKeyContentProvider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "coracle-apiserver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: append(ips, net.IPv4(127, 0, 0, 1), net.IPv6loopback),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return dynamiccertificates.NewStaticCertKeyContent("self-signed",
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}
