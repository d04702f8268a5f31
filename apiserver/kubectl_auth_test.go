package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// kubectlStep is a command of kubectl: its exit code, and what it prints.
type kubectlStep struct {
	args string
	code int
	want []string
}

func (k *kubectl) steps(t *testing.T, steps []kubectlStep) {
	t.Helper()
	for _, s := range steps {
		out, code := k.do(t, strings.Fields(s.args)...)
		if code != s.code {
			t.Errorf("kubectl %s: exit code %d, want %d:\n%s", s.args, code, s.code, out)
		}
		for _, want := range s.want {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("kubectl %s: no %q in\n%s", s.args, want, out)
			}
		}
	}
}

// do runs a command, and returns what it printed and its exit code. One of them ends the process when the
// answer is no, so it needs one of its own.
func (k *kubectl) do(t *testing.T, args ...string) (string, int) {
	t.Helper()
	if slices.Contains(args, "can-i") {
		return k.exec(t, args...)
	}
	out, err := k.try(t, "", args...)
	if err != nil {
		return out + err.Error(), 1
	}
	return out, 0
}

// settled tries a command until it ends with the code: authorizers learn of roles by watches.
func (k *kubectl) settled(t *testing.T, code int, args ...string) {
	t.Helper()
	eventuallyNil(t, "kubectl "+strings.Join(args, " "), func() error {
		if out, got := k.do(t, args...); got != code {
			return fmt.Errorf("exit code %d: %s", got, out)
		}
		return nil
	})
}

// TestKubectlAuth: who am I, what may I do, and roles that give no more than one has (S31, S32, S33).
func TestKubectlAuth(t *testing.T) {
	clients := newAuthority(t)
	_, server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.AuthorizationModes = []string{"Node", "RBAC"}
		o.Authentication.ClientCAFile = clients.file
	})
	k := newKubectl(t, server)
	t.Run("whoami", func(t *testing.T) { testWhoami(t, k) })
	t.Run("can-i", func(t *testing.T) { testCanI(t, k) })
	t.Run("reconcile", func(t *testing.T) { testReconcile(t, k) })
	t.Run("escalation", func(t *testing.T) { testKubectlEscalation(t, k) })
	t.Run("tokens", func(t *testing.T) { testCreateToken(t, k) })
	t.Run("certificates", func(t *testing.T) { testCertificates(t, k) })
}

func testWhoami(t *testing.T, k *kubectl) {
	k.steps(t, []kubectlStep{
		{args: "auth whoami", want: []string{`(?m)^ATTRIBUTE +VALUE`, `(?m)^Username +admin$`, `(?m)^Groups +\[system:masters system:authenticated\]$`}},
		{args: "auth whoami -o jsonpath={.status.userInfo.username}", want: []string{`^admin$`}},
		{args: "auth whoami --as alice --as-group crew --as-uid 7 --as-user-extra scopes=a", want: []string{`(?m)^Username +alice`, `(?m)^UID +7`, `\[crew system:authenticated\]`, `(?m)^Extra: scopes +\[a\]`}},
		{args: "auth whoami --token nonsense", code: 1, want: []string{`Unauthorized`}},
	})
}

func testCanI(t *testing.T, k *kubectl) {
	k.steps(t, []kubectlStep{
		{args: "auth can-i create pods --as carol", code: 1, want: []string{`^no`}},
		{args: "create namespace sea"},
		{args: "create rolebinding carol --clusterrole=view --user=carol -n sea", want: []string{"rolebinding.rbac.authorization.k8s.io/carol created"}},
	})
	k.settled(t, 0, "auth", "can-i", "get", "pods", "--as", "carol", "-n", "sea")
	k.steps(t, []kubectlStep{
		{args: "auth can-i get pods --subresource=log --as carol -n sea", want: []string{`^yes`}},
		{args: "auth can-i get pods --subresource=exec --as carol -n sea", code: 1, want: []string{`^no`}},
		{args: "auth can-i get pods --as carol -A", code: 1, want: []string{`^no`}},
		{args: "auth can-i get /version --as carol", want: []string{`^yes`}},
		{args: "auth can-i get /metrics --as carol", code: 1, want: []string{`^no`}},
		{args: "auth can-i list deployments.apps --as carol -n sea -q"},
		{args: "auth can-i * *", want: []string{`^yes`}},
		{args: "auth can-i --list --as carol -n sea", want: []string{`(?m)^Resources +Non-Resource URLs +Resource Names +Verbs$`, `(?m)^selfsubjectreviews.authentication.k8s.io +\[\] +\[\] +\[create\]`, `(?m)^configmaps +\[\] +\[\] +\[get list watch\]`, `\[/livez\] +\[\] +\[get\]`}},
		{args: "get secrets -n sea --as carol", code: 1, want: []string{`Error from server \(Forbidden\): secrets is forbidden: User "carol" cannot list resource "secrets" in API group "" in the namespace "sea"`}},
		{args: "get pods -n sea --as carol", want: []string{"No resources found in sea namespace."}},
		// Impersonation is itself something that one may or may not do.
		{args: "create clusterrolebinding sa-viewer --clusterrole=view --serviceaccount=sea:robot", want: []string{"created"}},
	})
}

const reconciled = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: fisher}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: fisher}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fisher}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: fred}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: fisher, namespace: harbour}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
`

// testReconcile: what is missing is added, what is there besides stays, unless it shall go.
func testReconcile(t *testing.T, k *kubectl) {
	file := writeFile(t, "reconcile.yaml", reconciled)
	less := writeFile(t, "less.yaml", strings.Replace(reconciled, "- {apiGroups: [\"\"], resources: [pods], verbs: [get]}\n", "", 1))
	other := writeFile(t, "other.yaml", strings.Replace(reconciled, "kind: ClusterRole, name: fisher", "kind: ClusterRole, name: view", 1))
	rules := "get clusterrole fisher -o jsonpath={.rules[*].resources}"
	k.steps(t, []kubectlStep{
		{args: "auth reconcile -f " + file, want: []string{
			`clusterrole.rbac.authorization.k8s.io/fisher reconciled`, `reconciliation required create`, `missing rules added`,
			`clusterrolebinding.rbac.authorization.k8s.io/fisher reconciled`, `role.rbac.authorization.k8s.io/fisher reconciled`}},
		{args: "get namespace harbour", want: []string{"Active"}},
		{args: "auth reconcile -f " + less, want: []string{`clusterrole.rbac.authorization.k8s.io/fisher reconciled`}},
		{args: rules, want: []string{`\["configmaps"\] \["pods"\]`}},
		{args: "auth reconcile --remove-extra-permissions -f " + less, want: []string{`extra rules removed`}},
		{args: rules, want: []string{`^\["configmaps"\]$`}},
		{args: "auth reconcile -f " + other, want: []string{`reconciliation required recreate`}},
		{args: "get clusterrolebinding fisher -o jsonpath={.roleRef.name}", want: []string{`^view$`}},
		{args: "patch clusterrolebinding fisher -p {\"roleRef\":{\"name\":\"edit\"}}", code: 1, want: []string{"cannot change roleRef"}},
	})
}

// testKubectlEscalation: an administrator of a namespace grants what they have, and no more.
func testKubectlEscalation(t *testing.T, k *kubectl) {
	k.steps(t, []kubectlStep{
		{args: "create namespace port"},
		{args: "create rolebinding dave --clusterrole=admin --user=dave -n port"},
	})
	k.settled(t, 0, "auth", "can-i", "create", "roles", "--as", "dave", "-n", "port")
	const notHeld = `is attempting to grant RBAC permissions not currently held`
	k.steps(t, []kubectlStep{
		{args: "create role reader --verb=get --resource=pods -n port --as dave", want: []string{"created"}},
		{args: "create role nodes --verb=get --resource=nodes -n port --as dave", code: 1, want: []string{
			`roles.rbac.authorization.k8s.io "nodes" is forbidden: user "dave" \(groups=\["system:authenticated"\]\) ` + notHeld, `\{APIGroups:\[""\], Resources:\["nodes"\], Verbs:\["get"\]\}`}},
		{args: "create rolebinding erin --clusterrole=edit --user=erin -n port --as dave", want: []string{"created"}},
		{args: "create rolebinding erin-all --clusterrole=cluster-admin --user=erin -n port --as dave", code: 1, want: []string{notHeld}},
		{args: "create rolebinding nobody --clusterrole=missing --user=erin -n port --as dave", code: 1, want: []string{`clusterroles.rbac.authorization.k8s.io "missing" not found|clusterrole.rbac.authorization.k8s.io "missing" not found`}},
		{args: "create clusterrole more --verb=get --resource=pods --as dave", code: 1, want: []string{`User "dave" cannot create resource "clusterroles"`}},
		{args: "patch role reader -n port --as dave --type=json -p [{\"op\":\"add\",\"path\":\"/rules/0/verbs/-\",\"value\":\"conquer\"}]", code: 1, want: []string{notHeld, `"conquer"`}},
		// Who may escalate roles or bind one need not have what it gives.
		{args: "create role trusted --verb=escalate --resource=roles -n port", want: []string{"created"}},
		{args: "create rolebinding trusted --role=trusted --user=dave -n port", want: []string{"created"}},
		{args: "create clusterrole binder --verb=bind --resource=clusterroles --resource-name=cluster-admin", want: []string{"created"}},
		{args: "create rolebinding binder --clusterrole=binder --user=dave -n port", want: []string{"created"}},
	})
	k.settled(t, 0, "auth", "can-i", "escalate", "roles", "--as", "dave", "-n", "port")
	k.settled(t, 0, "auth", "can-i", "bind", "clusterroles/cluster-admin", "--as", "dave", "-n", "port")
	k.steps(t, []kubectlStep{
		{args: "create role nodes --verb=get --resource=nodes -n port --as dave", want: []string{"created"}},
		{args: "create rolebinding erin-all --clusterrole=cluster-admin --user=erin -n port --as dave", want: []string{"created"}},
	})
	k.settled(t, 0, "auth", "can-i", "delete", "secrets", "--as", "erin", "-n", "port")
	k.steps(t, []kubectlStep{{args: "auth can-i delete secrets --as erin -n default", code: 1}})
	// Who may impersonate may do what the other may.
	k.steps(t, []kubectlStep{
		{args: "create clusterrole actor --verb=impersonate --resource=users --resource-name=erin", want: []string{"created"}},
		{args: "create clusterrolebinding actor --clusterrole=actor --serviceaccount=port:actor", want: []string{"created"}},
		{args: "create serviceaccount actor -n port", want: []string{"created"}},
	})
	token, _ := k.do(t, "create", "token", "actor", "-n", "port")
	token = strings.TrimSpace(token)
	k.settled(t, 0, "--token", token, "--as", "erin", "get", "secrets", "-n", "port")
	k.steps(t, []kubectlStep{{args: "--token " + token + " --as carol get secrets -n port", code: 1, want: []string{`users "carol" is forbidden: User "system:serviceaccount:port:actor" cannot impersonate resource "users" in API group "" at the cluster scope`}}})
}

// testCreateToken: a token is its service account's, for its time and audience, until what it is bound to goes.
func testCreateToken(t *testing.T, k *kubectl) {
	k.steps(t, []kubectlStep{
		{args: "create serviceaccount robot", want: []string{"serviceaccount/robot created"}},
		{args: "create secret generic anchor", want: []string{"created"}},
		{args: "create token robot --duration=1m", code: 1, want: []string{`spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes`}},
		{args: "create token missing", code: 1, want: []string{`serviceaccounts "missing" not found`}},
	})
	create := func(args ...string) string {
		t.Helper()
		out, code := k.do(t, append([]string{"create", "token", "robot"}, args...)...)
		if code != 0 {
			t.Fatalf("kubectl create token robot %v: %s", args, out)
		}
		return strings.TrimSpace(out)
	}
	token := create("--duration=20m")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || !strings.Contains(string(payload), `"sub":"system:serviceaccount:default:robot"`) {
		t.Errorf("payload %s, %v", payload, err)
	}
	bound := create("--bound-object-kind=Secret", "--bound-object-name=anchor")
	k.steps(t, []kubectlStep{
		{args: "--token " + token + " auth whoami", want: []string{`(?m)^Username +system:serviceaccount:default:robot$`, `\[system:serviceaccounts system:serviceaccounts:default system:authenticated\]`, `(?m)^Extra: authentication.kubernetes.io/credential-id +\[JTI=`}},
		{args: "--token " + create("--audience=vault") + " auth whoami", code: 1, want: []string{"Unauthorized"}},
		{args: "--token " + token + " get pods", code: 1, want: []string{`User "system:serviceaccount:default:robot" cannot list resource "pods"`}},
		{args: "create rolebinding robot --clusterrole=view --serviceaccount=default:robot", want: []string{"created"}},
	})
	k.settled(t, 0, "--token", token, "get", "pods")
	k.steps(t, []kubectlStep{{args: "delete secret anchor", want: []string{"deleted"}}})
	k.settled(t, 1, "--token", bound, "auth", "whoami")
	unseen := create() // a token that was seen is remembered for ten seconds
	k.steps(t, []kubectlStep{{args: "delete serviceaccount robot", want: []string{"deleted"}}})
	k.settled(t, 1, "--token", unseen, "get", "pods")
}

func certificateRequest(t *testing.T, name, signer string, groups ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	request := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	return writeFile(t, "csr.yaml", fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec: {signerName: %s, usages: [client auth], request: %s}
`, name, signer, request))
}

// clientApprover names a resource that is not served, so that kubectl create clusterrole knows none.
const clientApprover = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: client-approver}
rules: [{apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: [kubernetes.io/*], verbs: [approve]}]
`

// testCertificates: who may write approvals may approve for the signers alone that they may approve for.
func testCertificates(t *testing.T, k *kubectl) {
	const signer = "kubernetes.io/kube-apiserver-client"
	k.steps(t, []kubectlStep{
		{args: "create -f " + certificateRequest(t, "grace", signer, "crew"), want: []string{"created"}},
		{args: "create -f " + certificateRequest(t, "mallory", signer, "system:masters"), code: 1, want: []string{
			`use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed`}},
		{args: "create clusterrole approver --verb=get,update,list --resource=certificatesigningrequests,certificatesigningrequests/approval", want: []string{"created"}},
		{args: "create clusterrolebinding approver --clusterrole=approver --user=judge", want: []string{"created"}},
	})
	k.settled(t, 0, "auth", "can-i", "update", "certificatesigningrequests", "--subresource=approval", "--as", "judge")
	k.steps(t, []kubectlStep{
		{args: "certificate approve grace --as judge", code: 1, want: []string{`user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"`}},
		{args: "create -f " + writeFile(t, "approver.yaml", clientApprover), want: []string{"created"}},
		{args: "create clusterrolebinding client-approver --clusterrole=client-approver --user=judge", want: []string{"created"}},
	})
	k.settled(t, 0, "certificate", "approve", "grace", "--as", "judge")
	k.steps(t, []kubectlStep{
		{args: "get csr grace", want: []string{`(?m)^grace .* kubernetes.io/kube-apiserver-client +admin +<none> +Approved`}},
		{args: "certificate deny grace --as judge", code: 1},
	})
}
