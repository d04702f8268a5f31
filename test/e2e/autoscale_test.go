package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// autoscaled is a server that burns CPU while the file /tmp/load exists.
const autoscaled = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: php-apache}
spec:
  selector: {matchLabels: {app: php-apache}}
  template:
    metadata: {labels: {app: php-apache}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "while sleep 0.1; do while [ -e /tmp/load ]; do :; done; done"]
        resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}
`

func TestS15Autoscale(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(autoscaled)
	pod := n.awaitReady("app=php-apache", 1)[0].Name
	n.kubectl("autoscale", "deployment", "php-apache", "--cpu-percent=90", "--min=1", "--max=3")
	n.kubectl("patch", "hpa", "php-apache", "-p", `{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}}}`)
	n.eventually("the metric to be known", func() (bool, string) {
		out := n.kubectl("get", "hpa", "php-apache")
		return strings.Contains(out, "%/90%") && !strings.Contains(out, "<unknown>"), out
	})
	n.exec(pod, "touch", "/tmp/load")
	replicas := func() string {
		return n.kubectl("get", "deployment", "php-apache", "-o", "jsonpath={.spec.replicas}")
	}
	n.eventually("the load to make it larger", func() (bool, string) {
		r := replicas()
		if r > "3" {
			t.Fatalf("%s replicas, at most 3 were asked for", r)
		}
		return r > "1", n.kubectl("get", "hpa") + n.kubectl("describe", "hpa")
	})
	n.awaitEvent("php-apache", "SuccessfulRescale")
	n.exec(pod, "rm", "/tmp/load")
	n.eventually("the end of the load to make it small again", func() (bool, string) {
		return replicas() == "1", n.kubectl("get", "hpa")
	})
	// Written by the old version of the API, it is the same object in the new one.
	n.apply(`
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: old}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}
  minReplicas: 2
  maxReplicas: 5
  targetCPUUtilizationPercentage: 90
`)
	n.awaitEvent("old", "FailedGetScale")
	if out := n.kubectl("get", "hpa.v2.autoscaling", "old", "-o", "jsonpath={.spec.metrics[0].resource.target.averageUtilization}"); out != "90" {
		t.Errorf("in v2 the target is %q", out)
	}
}

// measured is a Deployment whose pods say of themselves what their file /www/metrics says.
const measured = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080", prometheus.io/path: /metrics}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "mkdir /www && echo 'waiting_%[1]s 30' > /www/metrics && httpd -f -p 8080 -h /www"]
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 1m, memory: 1Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  minReplicas: 1
  maxReplicas: 2
  metrics: [%[2]s]
---`

// TestS15Metrics has a metric of each type above its target.
func TestS15Metrics(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	metrics := map[string]string{
		"memory":    `{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1}}}`,
		"container": `{type: ContainerResource, containerResource: {name: memory, container: main, target: {type: Utilization, averageUtilization: 1}}}`,
		"pods":      `{type: Pods, pods: {metric: {name: waiting_pods}, target: {type: AverageValue, averageValue: 10}}}`,
		"object":    `{type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: object}, metric: {name: waiting_object}, target: {type: Value, value: 10}}}`,
		"external":  `{type: External, external: {metric: {name: waiting_external}, target: {type: AverageValue, averageValue: 10}}}`,
	}
	var manifests strings.Builder
	for name, metric := range metrics {
		fmt.Fprintf(&manifests, measured, name, metric)
	}
	n.apply(manifests.String())
	for name := range metrics {
		n.eventually("the metric "+name+" to make it larger", func() (bool, string) {
			out := n.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}")
			if out == "2" {
				return true, ""
			}
			return false, out + n.kubectl("describe", "hpa", name)
		})
	}
}
