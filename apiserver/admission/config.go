package admission

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	apiserverapi "k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	apiserverv1alpha1 "k8s.io/apiserver/pkg/apis/apiserver/v1alpha1"

	"coracle.dev/coracle/apiserver/admission/resourcequota"
)

var configScheme = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{apiserverapi.AddToScheme, apiserverv1.AddToScheme, apiserverv1alpha1.AddToScheme} {
		utilruntime.Must(add(configScheme))
	}
}

// readConfig reads an AdmissionConfiguration; without a file, plugins have their defaults.
func readConfig(plugins []string, file string) (admission.ConfigProvider, error) {
	c, err := admission.ReadAdmissionConfiguration(plugins, file, configScheme)
	if err != nil {
		return nil, fmt.Errorf("reading --admission-control-config-file: %w", err)
	}
	return c, nil
}

// quotaInitializer says what objects count for in quotas.
type quotaInitializer struct{}

// Initialize implements admission.PluginInitializer.
func (quotaInitializer) Initialize(p admission.Interface) {
	if w, ok := p.(initializer.WantsQuotaConfiguration); ok {
		w.SetQuotaConfiguration(resourcequota.Configuration())
	}
}
