package imagepolicy

import (
	"errors"
	"fmt"
	"io"
	"time"

	"sigs.k8s.io/yaml"
)

// Config is the plugin's configuration.
type Config struct {
	// KubeConfigFile names the server that is asked.
	KubeConfigFile string `json:"kubeConfigFile"`
	// AllowTTL and DenyTTL are for how many seconds answers are remembered; -1 is not at all.
	AllowTTL int64 `json:"allowTTL"`
	DenyTTL  int64 `json:"denyTTL"`
	// RetryBackoff is the first pause between tries, in milliseconds.
	RetryBackoff int64 `json:"retryBackoff"`
	// DefaultAllow admits pods when the server does not answer.
	DefaultAllow bool `json:"defaultAllow"`
}

// settings are a Config in which everything is settled.
type settings struct {
	kubeconfig                 string
	allowTTL, denyTTL, backoff time.Duration
	defaultAllow               bool
}

func read(r io.Reader) (settings, error) {
	if r == nil {
		return settings{}, errors.New("the plugin needs a configuration: name it in --admission-control-config-file")
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return settings{}, fmt.Errorf("reading configuration: %w", err)
	}
	var file struct {
		Config `json:"imagePolicy"`
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return settings{}, fmt.Errorf("reading configuration: %w", err)
	}
	return file.settle()
}

func (c Config) settle() (settings, error) {
	s := settings{kubeconfig: c.KubeConfigFile, defaultAllow: c.DefaultAllow}
	var errs [4]error
	if c.KubeConfigFile == "" {
		errs[0] = errors.New("imagePolicy.kubeConfigFile is empty")
	}
	s.allowTTL, errs[1] = settle("allowTTL", c.AllowTTL, time.Second, 5*time.Minute, time.Second, 30*time.Minute)
	s.denyTTL, errs[2] = settle("denyTTL", c.DenyTTL, time.Second, 30*time.Second, time.Second, 30*time.Minute)
	s.backoff, errs[3] = settle("retryBackoff", c.RetryBackoff, time.Millisecond, 500*time.Millisecond, time.Millisecond, 5*time.Minute)
	return s, errors.Join(errs[:]...)
}

// settle turns a number of units into a time: 0 is what is usual, and -1 nothing.
func settle(name string, n int64, unit, usual, least, most time.Duration) (time.Duration, error) {
	switch n {
	case 0:
		return usual, nil
	case -1:
		return 0, nil
	}
	if d := time.Duration(n); d < least/unit || d > most/unit {
		return 0, fmt.Errorf("imagePolicy.%s is %d: use %d to %d, in units of %s", name, n, least/unit, most/unit, unit)
	}
	return time.Duration(n) * unit, nil
}
