package catalog

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

const oldTemplate = `
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}`

// TestRemovedVersions reads manifests of removed versions: they become the current kind, with the
// defaults of the old version, and are written as they were read.
func TestRemovedVersions(t *testing.T) {
	codecs := serializer.NewCodecFactory(NewScheme())
	for _, c := range []struct {
		name, in string
		current  schema.GroupVersion
		want     string // fields of the current version
		back     string // further fields of the old version
	}{
		{"extensions Deployment", "apiVersion: extensions/v1beta1\nkind: Deployment\nspec:\n  rollbackTo: {revision: 3}" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"metadata":{"labels":{"app":"web"},"annotations":{"deprecated.deployment.rollback.to":"3"}},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},
			  "strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":1}},"revisionHistoryLimit":2147483647,"progressDeadlineSeconds":2147483647}}`,
			`{"spec":{"rollbackTo":{"revision":3}}}`},
		{"apps/v1beta1 Deployment", "apiVersion: apps/v1beta1\nkind: Deployment\nspec:" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"metadata":{"labels":{"app":"web"}},"spec":{"selector":{"matchLabels":{"app":"web"}},
			  "strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"}},"revisionHistoryLimit":2,"progressDeadlineSeconds":600}}`, ""},
		{"apps/v1beta2 Deployment", "apiVersion: apps/v1beta2\nkind: Deployment\nspec:\n  selector: {matchLabels: {app: web}}" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"spec":{"revisionHistoryLimit":10,"template":{"spec":{"restartPolicy":"Always"}}}}`, ""},
		{"apps/v1beta1 StatefulSet", "apiVersion: apps/v1beta1\nkind: StatefulSet\nspec:\n  serviceName: s" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"spec":{"selector":{"matchLabels":{"app":"web"}},"updateStrategy":{"type":"OnDelete"},"podManagementPolicy":"OrderedReady"}}`, ""},
		{"extensions DaemonSet", "apiVersion: extensions/v1beta1\nkind: DaemonSet\nspec:\n  templateGeneration: 7" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"metadata":{"annotations":{"deprecated.daemonset.template.generation":"7"}},"spec":{"selector":{"matchLabels":{"app":"web"}},"updateStrategy":{"type":"OnDelete"},"revisionHistoryLimit":10}}`,
			`{"spec":{"templateGeneration":7}}`},
		{"extensions ReplicaSet", "apiVersion: extensions/v1beta1\nkind: ReplicaSet\nspec:" + oldTemplate, schema.GroupVersion{Group: "apps", Version: "v1"},
			`{"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}}}}`, ""},
		{"extensions Ingress", `
apiVersion: extensions/v1beta1
kind: Ingress
spec:
  backend: {serviceName: all, servicePort: http}
  rules: [{host: a.example, http: {paths: [{path: /x, backend: {serviceName: x, servicePort: 80}}]}}]`, schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"},
			`{"spec":{"defaultBackend":{"service":{"name":"all","port":{"name":"http"}}},"rules":[{"host":"a.example","http":{"paths":[
			  {"path":"/x","pathType":"ImplementationSpecific","backend":{"service":{"name":"x","port":{"number":80}}}}]}}]}}`,
			`{"spec":{"backend":{"serviceName":"all","servicePort":"http"},"rules":[{"host":"a.example","http":{"paths":[{"path":"/x","pathType":"ImplementationSpecific","backend":{"serviceName":"x","servicePort":80}}]}}]}}`},
		{"networking.k8s.io/v1beta1 Ingress", `
apiVersion: networking.k8s.io/v1beta1
kind: Ingress
spec: {backend: {serviceName: all, servicePort: 80}}`, schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"},
			`{"spec":{"defaultBackend":{"service":{"name":"all","port":{"number":80}}}}}`, `{"spec":{"backend":{"serviceName":"all","servicePort":80}}}`},
		{"extensions NetworkPolicy", "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nspec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}", schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"},
			`{"spec":{"policyTypes":["Ingress"],"ingress":[{"ports":[{"port":80,"protocol":"TCP"}]}]}}`, ""},
		{"batch/v1beta1 CronJob", "apiVersion: batch/v1beta1\nkind: CronJob\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i}], restartPolicy: Never}}}}}", schema.GroupVersion{Group: "batch", Version: "v1"},
			`{"spec":{"concurrencyPolicy":"Allow","suspend":false,"successfulJobsHistoryLimit":3,"failedJobsHistoryLimit":1}}`, ""},
		{"autoscaling/v2beta2", "apiVersion: autoscaling/v2beta2\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}", schema.GroupVersion{Group: "autoscaling", Version: "v2"},
			`{"spec":{"minReplicas":1,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]}}`, ""},
		{"policy/v1beta1", "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nspec: {minAvailable: 1, selector: {}}", schema.GroupVersion{Group: "policy", Version: "v1"},
			`{"spec":{"selector":{"matchExpressions":[{"key":"pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match","operator":"Exists"}]}}}`, `{"spec":{"selector":{}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj, gvk, err := codecs.UniversalDeserializer().Decode([]byte(c.in), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			NewScheme().Default(obj)
			contains(t, encodeTo(t, codecs, c.current, obj), c.want)
			hub, err := runtime.Decode(codecs.UniversalDecoder(c.current), encodeTo(t, codecs, c.current, obj))
			if err != nil {
				t.Fatal(err)
			}
			old := encodeTo(t, codecs, gvk.GroupVersion(), hub)
			contains(t, old, c.back)
			if bytes.Contains(old, []byte(`"deprecated.`)) {
				t.Errorf("the old version shows both its field and the annotation that stands for it: %s", old)
			}
		})
	}
}

// encodeTo writes obj in a version of any group that it is served in.
func encodeTo(t *testing.T, codecs serializer.CodecFactory, gv schema.GroupVersion, obj runtime.Object) []byte {
	t.Helper()
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	s := NewScheme()
	gvks, _, err := s.ObjectKinds(obj)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := s.ConvertToVersion(obj, schema.GroupVersion{Group: gvks[0].Group, Version: runtime.APIVersionInternal})
	if err != nil {
		t.Fatal(err)
	}
	b, err := runtime.Encode(codecs.EncoderForVersion(info.Serializer, gv), hub)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// contains compares those fields of got that want has.
func contains(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w map[string]any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, restrict(g, w)); len(w) > 0 && diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, ok, _ := unstructured.NestedString(g, "kind"); !ok {
		t.Errorf("it has no kind: %s", got)
	}
}

func restrict(got, want any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(w) == 0 {
			return got
		}
		out := map[string]any{}
		for k := range w {
			if v, ok := g[k]; ok {
				out[k] = restrict(v, w[k])
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		out := make([]any, len(g))
		for i := range g {
			out[i] = restrict(g[i], w[i])
		}
		return out
	}
	return got
}
