package apiserver

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestDefaultsAreValid(t *testing.T) {
	if errs := NewOptions().Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for flags, want := range map[string]string{
		"--secure-port=70000":                 "--secure-port 70000",
		"--tls-cert-file=a":                   "--tls-private-key-file",
		"--proxy-client-key-file=a":           "--proxy-client-cert-file",
		"--authorization-mode=RBAC,Magic":     `"Magic" is unknown`,
		"--authorization-mode=RBAC,RBAC":      `"RBAC" twice`,
		"--service-cluster-ip-range=10.0.0.0": "--service-cluster-ip-range",
		"--service-node-port-range=x-9":       "--service-node-port-range",
		"--event-ttl=0s":                      "--event-ttl",
		"--request-timeout=0s":                "--request-timeout",
		"--max-requests-inflight=-1":          "--max-requests-inflight",
		"--etcd-data-dir=":                    "--etcd-data-dir",
		"--authorization-mode=ABAC":           "--authorization-policy-file",
		"--authorization-policy-file=p":       "--authorization-mode=ABAC",
		"--authorization-mode=Webhook":        "--authorization-webhook-config-file",
		"--authorization-mode=":               "--authorization-mode is empty",
		"--oidc-client-id=c":                  "--oidc-issuer-url and --oidc-client-id must be specified together",

		"--authorization-config=c --authorization-mode=RBAC":                                                    "--authorization-config excludes",
		"--authentication-config=c --oidc-issuer-url=https://i --oidc-client-id=c":                              "--authentication-config and --oidc-* exclude each other",
		"--authorization-mode=Webhook --authorization-webhook-config-file=c --authorization-webhook-version=v2": `--authorization-webhook-version "v2"`,
		"--authentication-token-webhook-config-file=c --authentication-token-webhook-version=v2":                `--authentication-token-webhook-version "v2"`,
		"--etcd-servers=http://e:1 --etcd-keyfile=k":                                                            "--etcd-certfile",
	} {
		o := NewOptions()
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		o.AddFlags(fs)
		if err := fs.Parse(strings.Fields(flags)); err != nil {
			t.Errorf("%s: %v", flags, err)
			continue
		}
		if err := errors.Join(o.Validate()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something about %s", flags, err, want)
		}
	}
}
