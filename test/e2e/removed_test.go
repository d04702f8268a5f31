package e2e

import (
	"strings"
	"testing"
)

// A manifest of the time before selectors were required.
const oldDeployment = `
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: tomcat-deploy}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: app-demo, tier: frontend}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: tomcat-demo, image: "workload:v2", imagePullPolicy: IfNotPresent, args: [serve], ports: [{containerPort: 8080}]}
`

const oldDaemonSet = `
apiVersion: extensions/v1beta1
kind: DaemonSet
metadata: {name: agent}
spec:
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: "workload:v2", imagePullPolicy: IfNotPresent, args: [serve]}
`

func TestS43RemovedGroups(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(oldDeployment)
	n.apply(oldDaemonSet)
	n.kubectl("rollout", "status", "deployment/tomcat-deploy", "--timeout=80s")
	n.kubectl("rollout", "status", "deployment.v1beta1.extensions/tomcat-deploy", "--timeout=80s")
	n.awaitReady("app=agent", 1)
	out := n.kubectl("get", "deployment", "tomcat-deploy", "-o", "jsonpath={.apiVersion} {.spec.selector.matchLabels.tier} {.spec.strategy.rollingUpdate.maxUnavailable} {.metadata.labels.app}")
	if want := "apps/v1 frontend 1 app-demo"; out != want {
		t.Errorf("it is shown as %q, want %q", out, want)
	}
	if out := n.kubectl("get", "all"); strings.Count(out, "deployment.apps/tomcat-deploy") != 1 || strings.Contains(out, "extensions") {
		t.Errorf("kubectl get all:\n%s", out)
	}
	n.kubectl("scale", "deployment/tomcat-deploy", "--replicas=2")
	n.awaitReady("app=app-demo", 2)
	n.apply(strings.Replace(oldDeployment, "workload:v2", "workload:v3", 1))
	n.kubectl("rollout", "status", "deployment/tomcat-deploy", "--timeout=80s")
	n.kubectl("delete", "deployments.v1beta1.extensions/tomcat-deploy", "daemonset/agent")
	n.eventually("the pods to be gone", func() (bool, string) {
		out := n.kubectl("get", "pods", "-o", "name")
		return out == "", out
	})
}
