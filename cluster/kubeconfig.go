package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Identities by which clients of the API server are known, and the groups that give them rights.
var identities = map[string]leaf{
	"admin":              {commonName: "kubernetes-admin", groups: []string{"system:masters"}},
	"controller-manager": {commonName: "system:kube-controller-manager"},
	"scheduler":          {commonName: "system:kube-scheduler"},
}

// Kubeconfig is the path of an identity's kubeconfig: "admin", "controller-manager", "scheduler" or
// "agent".
func (c *Config) Kubeconfig(identity string) string {
	return c.Path("kubeconfig", identity+".yaml")
}

// ensureKubeconfigs writes a kubeconfig for every identity, with a certificate of its own.
func ensureKubeconfigs(c *Config, p *PKI, now time.Time) error {
	all := map[string]leaf{"agent": {commonName: "system:node:" + c.NodeName, groups: []string{"system:nodes"}}}
	for name, l := range identities {
		all[name] = l
	}
	for name, l := range all {
		if err := ensureKubeconfig(c, p, name, l, now); err != nil {
			return fmt.Errorf("writing kubeconfig %s: %w", name, err)
		}
	}
	return nil
}

func ensureKubeconfig(c *Config, p *PKI, name string, l leaf, now time.Time) error {
	if err := p.ensureLeaf(name, p.ca, l, now); err != nil {
		return err
	}
	cert, err := os.ReadFile(p.File(name + ".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(p.File(name + ".key"))
	if err != nil {
		return err
	}
	context := c.Context()
	kc := clientcmdapi.NewConfig()
	kc.Clusters[context] = &clientcmdapi.Cluster{
		Server:                   fmt.Sprintf("https://127.0.0.1:%d", c.SecurePort),
		CertificateAuthorityData: p.CAPEM(),
	}
	user := context
	if name != "admin" {
		user = name
	}
	kc.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	kc.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: user}
	kc.CurrentContext = context
	data, err := clientcmd.Write(*kc)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(c.Kubeconfig(name)); err == nil && string(old) == string(data) {
		return nil
	}
	return writeFile(c.Kubeconfig(name), data, 0o600)
}

// UserKubeconfig is the file that kubectl of the calling user reads first.
func UserKubeconfig() string { return clientcmd.NewDefaultPathOptions().GetDefaultFilename() }

// MergeKubeconfig puts the cluster's context into the user's kubeconfig and makes it the current
// one. Everything else in the file stays.
func MergeKubeconfig(c *Config, path string) error {
	ours, err := clientcmd.LoadFromFile(c.Kubeconfig("admin"))
	if err != nil {
		return err
	}
	return editKubeconfig(path, func(user *clientcmdapi.Config) {
		context := c.Context()
		user.Clusters[context] = ours.Clusters[context]
		user.AuthInfos[context] = ours.AuthInfos[context]
		user.Contexts[context] = ours.Contexts[context]
		user.CurrentContext = context
	})
}

// unmergeKubeconfig takes the cluster's context out of the user's kubeconfig.
func unmergeKubeconfig(c *Config, path string) error {
	return editKubeconfig(path, func(user *clientcmdapi.Config) {
		context := c.Context()
		delete(user.Clusters, context)
		delete(user.AuthInfos, context)
		delete(user.Contexts, context)
		if user.CurrentContext == context {
			user.CurrentContext = ""
		}
	})
}

func editKubeconfig(path string, edit func(*clientcmdapi.Config)) error {
	user := clientcmdapi.NewConfig()
	if data, err := os.ReadFile(path); err == nil {
		if user, err = clientcmd.Load(data); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	} else if !os.IsNotExist(err) {
		return err
	}
	before, err := clientcmd.Write(*user)
	if err != nil {
		return err
	}
	edit(user)
	data, err := clientcmd.Write(*user)
	if err != nil || string(data) == string(before) {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	return writeFile(real, data, 0o600)
}
